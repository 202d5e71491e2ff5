"""``vidsim partition``: what models explain of human distances, each alone and together."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.judgments.source import ContextName, ContextOption, SplitOption, load_split, split_ids
from vidsim.cli.options import Captions, Json, Root
from vidsim.cli.output import FIGURE, check_out, form_of, write_out
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.seen import seen_by_space, warn_seen
from vidsim.cli.spaces import CaptionsOption, Similarity, SimilarityOption, find_space
from vidsim.cli.stored import is_path, stimuli_of
from vidsim.errors import VidsimError
from vidsim.report.text import span

if TYPE_CHECKING:
    from vidsim.analysis.partition import Change, Partition, Share
    from vidsim.rsm import RSM

SHOWN = 20
"""Most parts printed."""

FOLDS, REPEATS = 5, 20
"""Of the cross-validation, unless said."""


def partition(
    predictors: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Two to eight: ENCODER:LAYER, ENCODER (its default layer), a similarity matrix by name, or a file.",
            show_default=False,
        ),
    ],
    judgments: Annotated[
        str,
        typer.Option(
            "--judgments",
            metavar="SOURCE",
            help="Judgments, or a similarity matrix of people, in the store by name; or a file or folder of judgments.",
            show_default=False,
        ),
    ],
    after: Annotated[
        str | None,
        typer.Option(
            "--after",
            metavar="MODEL",
            help="A second partition with this model in place of the first, such as a fine-tuned one, and changes.",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = None,
    context: ContextOption = ContextName.within,
    captions: CaptionsOption = Captions.mean,
    similarity: SimilarityOption = Similarity.cosine,
    cv: Annotated[
        bool, typer.Option("--cv", help="Also R2 on stimuli that the fit has not seen, by cross-validation.")
    ] = False,
    folds: Annotated[
        int | None,
        typer.Option(min=2, max=1000, show_default=str(FOLDS), help="Folds of the stimuli, with --cv."),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, show_default=str(REPEATS), help="Random ways to deal the folds, with --cv."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, max=100_000, help="Bootstrap resamples of the stimuli, for intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of resamples, folds and halves.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw stacked bars to this .png or .svg file.", show_default=False)
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write R2 and parts to this .csv file.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that --plot or --csv name.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Partition the variance of human distances among models: unique and shared parts, with intervals."""
    start = time.perf_counter()
    check_out(plot, FIGURE, force=force, option="--plot")
    check_out(csv, (".csv",), force=force, option="--csv")
    if not 2 <= len(predictors) <= 8:
        raise VidsimError(f"{len(predictors)} models were given; expected 2 to 8, to tell apart what each explains")
    for option, value in (("--folds", folds), ("--repeats", repeats)):
        if value is not None and not cv:
            raise VidsimError(f"{option} is of the cross-validation; give --cv, or leave {option} out")
    human, reliability = _human(judgments, root, split, context.value, seed)
    from vidsim.analysis.partition import change, partition, shared_pairs
    from vidsim.report.seen import SEEN

    spaces = [find_space(name, root, captions.value) for name in [*predictors, *([after] if after else [])]]
    names = [space.name for space in spaces]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise VidsimError(f"{twice!r} was given more than once; expected different models")
    models = {space.name: space.rsm(human.ids, similarity.value) for space in spaces}
    human = shared_pairs(human, models)
    how: dict[str, Any] = {
        "resamples": resamples,
        "folds": (folds or FOLDS) if cv else 0,
        "repeats": repeats or REPEATS,
        "seed": seed,
    }
    found = [partition(human, {name: models[name] for name in names[: len(predictors)]}, **how)]
    changes = None
    if after:
        other = [names[-1], *names[1 : len(predictors)]]
        found.append(partition(human, {name: models[name] for name in other}, **how))
        changes = change(*found)
    seen = {name: seen_by_space(name, found[0].sample.ids, root) for name in names}
    answer = {
        "judgments": judgments,
        "split": split,
        "context": context.value,
        "captions": captions.value,
        "similarity": similarity.value,
        "protocol": "default",
        **describe(found[0]),
        "after": describe(found[1]) if after else None,
        "change": None if changes is None else dict(zip(("r2", "parts"), map(_changed, changes), strict=True)),
        "reliability": reliability,
        SEEN: seen,
        "resamples": resamples,
        "folds": how["folds"],
        "repeats": how["repeats"] if cv else 0,
        "seed": seed,
        "plot": None if plot is None else str(plot),
        "csv": None if csv is None else str(csv),
    }
    if plot is not None:
        from vidsim.report.partition import partition_plot

        image = partition_plot(found, ceiling=reliability, form=form_of(plot))
        write_out(plot, lambda file: file.write(image), force=force, option="--plot")
    if csv is not None:
        table = _csv(answer)
        write_out(csv, lambda file: file.write(table), force=force, option="--csv")
    from vidsim.analysis.quality import plain

    answer = plain({**answer, "seconds": round(time.perf_counter() - start, 3)})
    warn_seen([{"encoder": name, SEEN: one} for name, one in seen.items()], found[0].stimuli)
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def describe(found: "Partition") -> dict[str, Any]:
    """Put a partition in the form that ``--json`` prints.

    Parameters
    ----------
    found : Partition
        The partition.

    Returns
    -------
    dict
        ``predictors``, ``stimuli``, ``pairs``, ``total`` and its ``interval``, ``held_out``, and ``r2`` and ``parts``:
        lists of dicts with ``predictors``, ``value``, ``interval`` and ``held_out``.
    """
    total = found.total
    return {
        "predictors": list(found.predictors),
        "stimuli": found.stimuli,
        "pairs": found.pairs,
        "total": total.value,
        "interval": total.interval,
        "held_out": total.held_out,
        "r2": [_share(share) for share in found.r2],
        "parts": [_share(share) for share in found.parts],
    }


def _share(share: "Share") -> dict[str, Any]:
    return {**vars(share), "predictors": list(share.predictors)}


def _changed(changes: "tuple[Change, ...]") -> list[dict[str, Any]]:
    return [{**vars(c), "before": list(c.before), "after": list(c.after)} for c in changes]


def _human(source: str, root: str, split: str | None, context: str, seed: int) -> "tuple[RSM, float | None]":
    """Find people's similarities and, where there are trials, how reliable these are."""
    stored = None if is_path(source) else _stored_matrix(source, root, split)
    if stored is not None:
        return stored, None
    from vidsim.analysis.reliability import reliability

    judgments, ids = load_split(source, root, split)
    triplets = judgments.triplets if ids is None else judgments.triplets.restrict(ids)
    human = triplets.rsm(context)
    try:
        known = reliability(triplets, context=context, resamples=0, seed=seed).spearman_brown
    except VidsimError:  # too few pairs were judged twice
        return human, None
    return human, known if known == known else None


def _stored_matrix(name: str, root: str, split: str | None) -> "RSM | None":
    from vidsim.errors import NoStore
    from vidsim.rsm import RSM
    from vidsim.store import Store

    try:
        store = Store(root_of(root))
    except NoStore:
        return None
    table = store.rsms.get(name)
    if table is None or name in store.judgments:
        return None
    human = RSM.from_table(table)
    if split is None:
        return human
    ids = split_ids(stimuli_of(store, name), split, name)
    return human.take([stimulus for stimulus in ids if stimulus in human.position])


def _csv(answer: dict[str, Any]) -> bytes:
    from vidsim.analysis.quality import plain
    from vidsim.report.csv_rows import csv_of

    rows: list[list[object]] = [["model", "kind", "predictors", "value", "low", "high", "held_out"]]
    for found in (answer, answer["after"]):
        for kind in ("r2", "parts") if found else ():
            for share in plain(found[kind]):
                what = (found["predictors"][0], kind.removesuffix("s"), " + ".join(share["predictors"]))
                rows.append([*what, share["value"], *share["interval"], share["held_out"]])
    for kind in ("r2", "parts") if answer["change"] else ():
        for changed in plain(answer["change"][kind]):
            what = f"{' + '.join(changed['after'])} - {' + '.join(changed['before'])}"
            rows.append(["change", kind.removesuffix("s"), what, changed["value"], *changed["interval"], None])
    return csv_of(rows)


def _tell(answer: dict[str, Any]) -> None:
    for found in (answer, answer["after"]):
        if found:
            _tell_one(found, answer["folds"])
    if answer["change"]:
        rows = [
            (_part(change["after"], len(answer["predictors"])), f"{change['value']:+.4f}", span(change["interval"], 4))
            for change in answer["change"]["parts"][:SHOWN]
        ]
        total = answer["change"]["r2"][-1]
        rows.append(("total", f"{total['value']:+.4f}", span(total["interval"], 4)))
        show.table(("change", "R2", "95 %"), rows, right=("R2", "95 %"))
    typer.echo(
        f"{answer['pairs']:,} pairs of {answer['stimuli']:,} stimuli; linear regression, intervals by bootstrap over "
        f"stimuli ({answer['resamples']:,} resamples)"
    )
    if answer["folds"]:
        typer.echo(
            f"held out: {answer['folds']} folds of the stimuli, dealt {answer['repeats']} times; a fit sees pairs "
            "within the other folds and predicts pairs within its own"
        )
    if answer["reliability"] is not None:
        typer.echo(f"reliability of people r_SB {answer['reliability']:.3f}: compare it with the total")
    for out in (answer["plot"], answer["csv"]):
        if out:
            typer.echo(show.printable(out))


def _tell_one(found: dict[str, Any], folds: int) -> None:
    models = found["predictors"]
    parts = found["parts"]
    chosen = sorted(sorted(range(len(parts)), key=lambda k: -abs(parts[k]["value"]))[:SHOWN])
    rows = [(_part(parts[k]["predictors"], len(models)), *_cells(parts[k], folds)) for k in chosen]
    rows.append(("total", *_cells(found["r2"][-1], folds)))
    alone = [(f"{share['predictors'][0]} by itself", *_cells(share, folds)) for share in found["r2"][: len(models)]]
    headers = ("R2", "95 %", *(["held out"] if folds else []))
    show.table(("part", *headers), [*rows, *alone], right=headers)
    if len(chosen) < len(parts):
        typer.echo(f"{len(parts) - len(chosen)} smaller parts are in --json and --csv")


def _part(members: list[str], models: int) -> str:
    if len(members) == 1:
        return f"only {members[0]}"
    if len(members) == models:
        return "shared by both" if models == 2 else "shared by all"
    return " + ".join(members)


def _cells(share: dict[str, Any], folds: int) -> tuple[str, ...]:
    held_out = () if not folds else (f"{share['held_out']:.4f}",)
    return (f"{share['value']:.4f}", span(share["interval"], 4), *held_out)
