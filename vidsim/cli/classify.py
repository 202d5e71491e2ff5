"""``vidsim classify``: action recognition by a linear classifier of frozen embeddings."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import Json, Root
from vidsim.cli.output import check_out, write_out
from vidsim.cli.root import DEFAULT_ROOT
from vidsim.cli.seen import seen_in_training, warn_seen
from vidsim.cli.spaces import Space, find_space
from vidsim.cli.words import EmbeddingsOption, names_of
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from vidsim.analysis.classify import Classification, Labelled
    from vidsim.data.ucf101 import ActionSplit, ActionVideo


def classify(
    encoders: EmbeddingsOption,
    splits: Annotated[
        Path,
        typer.Option(
            help="Folder with classInd.txt, trainlist01.txt and testlist01.txt, as ucfTrainTestlist of UCF101 has.",
            show_default=False,
        ),
    ],
    split_number: Annotated[int, typer.Option(min=1, max=99, help="Which of the lists.")] = 1,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Classifiers, each with its penalty chosen on other videos.")
    ] = 3,
    resamples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Bootstrap resamples of test groups, for intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="First seed; also that of the resamples.")] = 0,
    csv: Annotated[
        Path | None, typer.Option(help="Write accuracies, also of each class, to this .csv file.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that --csv names.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Recognise actions from embeddings: train a linear classifier, test it, and compare encoders with the first."""
    start = time.perf_counter()
    check_out(csv, (".csv",), force=force, option="--csv")
    answer = recognise(names_of(encoders), splits, split_number, range(seed, seed + seeds), resamples, root)
    answer["csv"] = None if csv is None else str(csv)
    if csv is not None:
        table = _csv(answer)
        write_out(csv, lambda file: file.write(table), force=force, option="--csv")
    answer["seconds"] = round(time.perf_counter() - start, 3)
    warn_seen(answer["encoders"], answer["test"])
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def recognise(
    encoders: list[str], splits: Path, split_number: int, seeds: range, resamples: int, root: str
) -> dict[str, Any]:
    """Train and test linear classifiers of actions.

    Parameters
    ----------
    encoders : list of str
        Encoders, ``ENCODER:LAYER``, or files of embeddings; all are compared with the first.
    splits : Path
        Folder with the lists.
    split_number : int
        Which of them.
    seeds : range
        One classifier each.
    resamples : int
        Of the bootstrap over test groups.
    root : str
        Artefact root.

    Returns
    -------
    dict
        What ``vidsim classify --json`` prints.

    Raises
    ------
    VidsimError
        If lists cannot be read or learnt, or an encoder or a video's embedding is not there.
    """
    from vidsim.analysis.quality import plain
    from vidsim.data.ucf101 import locate, read_split
    from vidsim.report.seen import SEEN

    split = read_split(expand(splits), split_number)
    _refuse_unlearnable(split)
    spaces = [find_space(name, root) for name in encoders]
    full = [space.name for space in spaces]
    twice = next((name for name in full if full.count(name) > 1), None)
    if twice is not None:
        raise VidsimError(f"{twice!r} was given more than once; expected different encoders")
    measured = _measure(spaces, split, split_number, seeds, resamples)
    for space, found in zip(spaces, measured["encoders"], strict=True):
        test = locate(split.test, space.ids, f"in {space.name!r}")
        found[SEEN] = seen_in_training(found["encoder"], found["layer"], test, root)
    return plain({
        "splits": str(splits),
        "split_number": split_number,
        "protocol": "default",
        **_facts(split),
        "seeds": list(seeds),
        "resamples": resamples,
        **measured,
    })  # fmt: skip


def _refuse_unlearnable(split: "ActionSplit") -> None:
    """Refuse a split of one class, or with classes to test that have no training videos."""
    known = {video.action for video in split.train}
    if len(known) < 2:
        raise VidsimError(f"all training videos are of class {next(iter(known))!r}; expected two classes or more")
    new = dict.fromkeys(video.action for video in split.test if video.action not in known)
    if new:
        raise VidsimError(
            f"class {next(iter(new))!r} has videos in the test list and none in the training list ({len(new)} such "
            f"class{'es' * (len(new) > 1)}); expected both of each"
        )


def _learnt(split: "ActionSplit") -> list[str]:
    """Return the classes that have training videos, in order."""
    known = {video.action for video in split.train}
    return [action for action in split.actions if action in known]


def _facts(split: "ActionSplit") -> dict[str, Any]:
    actions = _learnt(split)
    shared = {video.group for video in split.train} & {video.group for video in split.test}
    return {
        "classes": len(actions),
        "chance": 1 / len(actions),
        "train": len(split.train),
        "test": len(split.test),
        "test_groups": len({video.group for video in split.test}),
        "groups_on_both_sides": len(shared),
    }


def _measure(spaces: list[Space], split: "ActionSplit", number: int, seeds: range, resamples: int) -> dict[str, Any]:
    from vidsim.analysis.classify import classify, compare
    from vidsim.cli.judgments.counter import counter
    from vidsim.report.classify import FIRST, published_top1

    # every encoder is looked up before the first is fitted: a fit takes minutes
    data = [(_labelled(space, split.train, split), _labelled(space, split.test, split)) for space in spaces]
    actions = _learnt(split)
    found: list[Classification] = []
    answers: list[dict[str, Any]] = []
    for space, (train, test) in zip(spaces, data, strict=True):
        with counter(space.name) as progress:
            one = classify(train, test, len(actions), seeds=seeds, progress=progress)
        found.append(one)
        encoder, _, layer = space.name.partition(":")
        answers.append({
            "encoder": encoder,
            "layer": layer or None,
            "dims": int(train.matrix.shape[1]),
            **_accuracy(one, 1, resamples, seeds[0]),
            **(_accuracy(one, FIRST, resamples, seeds[0]) if len(actions) > FIRST else {}),
            "penalties": list(one.penalties),
            "per_class": dict(zip(actions, one.of_classes(len(actions)).tolist(), strict=True)),
            "published": published_top1(encoder, split=number, actions=len(actions)),
        })  # fmt: skip
    comparisons = [
        {
            "first": spaces[0].name,
            "second": space.name,
            **vars(compare(found[0], one, resamples=resamples, seed=seeds[0])),
        }
        for space, one in zip(spaces[1:], found[1:], strict=True)
    ]
    return {"encoders": answers, "comparisons": comparisons}


def _labelled(space: Space, videos: "tuple[ActionVideo, ...]", split: "ActionSplit") -> "Labelled":
    import numpy as np

    from vidsim.analysis.classify import Labelled
    from vidsim.data.ucf101 import locate

    place = {action: number for number, action in enumerate(_learnt(split))}
    embeddings = space.embeddings(locate(videos, space.ids, f"in {space.name!r}"))
    labels = np.array([place[video.action] for video in videos])
    groups = np.unique([video.group for video in videos], return_inverse=True)[1].reshape(-1)
    return Labelled(embeddings.matrix, labels, groups)


def _accuracy(found: "Classification", within: int, resamples: int, seed: int) -> dict[str, Any]:
    values = found.accuracies(within)
    name = f"top{within}"
    return {
        name: float(values.mean()),
        f"{name}_sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        f"{name}_seeds": values.tolist(),
        f"{name}_interval": found.interval(within=within, resamples=resamples, seed=seed),
    }


def _csv(answer: dict[str, Any]) -> bytes:
    from vidsim.report.classify import FIRST, name_of
    from vidsim.report.csv_rows import csv_of

    rows: list[list[object]] = [["encoder", "measure", "class", "value", "sd", "low", "high", "p"]]
    for found in answer["encoders"]:
        name = name_of(found)
        for measure in ("top1", f"top{FIRST}"):
            if measure in found:
                cells = (found[measure], found[f"{measure}_sd"], *found[f"{measure}_interval"])
                rows.append([name, measure, None, *cells, None])
        rows.extend([name, "top1", action, value, *[None] * 4] for action, value in found["per_class"].items())
    for found in answer["comparisons"]:
        what = f"{found['second']} - {found['first']}"
        rows.append([what, "top1", None, found["difference"], None, *found["interval"], found["p_value"]])
    return csv_of(rows)


def _tell(answer: dict[str, Any]) -> None:
    from vidsim.report.classify import DIFFERENCES, TABLE, difference_rows, notes, table_rows

    show.table(("encoder", *TABLE), table_rows(answer), right=TABLE)
    if answer["comparisons"]:
        show.table(("difference", *DIFFERENCES), difference_rows(answer), right=DIFFERENCES)
    for note in notes(answer):
        typer.echo(note)
    if answer["csv"]:
        typer.echo(show.printable(answer["csv"]))
