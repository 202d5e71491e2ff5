"""``vidsim probe``: how well ratings of stimuli can be predicted from embeddings."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import Captions, Json, Root
from vidsim.cli.output import FIGURE, check_out, form_of, write_out
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.seen import seen_by_space, warn_seen
from vidsim.cli.spaces import CaptionsOption, find_space
from vidsim.cli.stored import is_path, stimuli_of
from vidsim.cli.words import EmbeddingsOption, names_of
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from vidsim.analysis.probe import Probe
    from vidsim.data.ratings import Ratings
    from vidsim.embeddings import Embeddings

CSV = ("attribute", "space", "r", "low", "high", "penalty", "fitted", "tested",
       "difference", "difference_low", "difference_high", "p", "p_corrected")  # fmt: skip


def probe(
    encoders: EmbeddingsOption,
    stimuli: Annotated[
        str,
        typer.Option(
            "--stimuli",
            metavar="SOURCE",
            help="Rated stimuli in the store by name; or a table (.csv, .tsv, .parquet) with a column id, perhaps "
            "split, and one column a rating.",
            show_default=False,
        ),
    ],
    ratings: Annotated[
        list[str] | None,
        typer.Option("--ratings", metavar="COLUMN...", help="What to predict; all ratings by default."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="test: fit to train and predict test, the default where both are rated; val: the same within train; "
            "all, train or another: cross-validation among these.",
            show_default=False,
        ),
    ] = None,
    captions: CaptionsOption = Captions.mean,
    folds: Annotated[int, typer.Option(min=2, max=1000, help="Folds of the cross-validation.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, max=10_000, help="Random ways to deal the folds.")] = 10,
    resamples: Annotated[
        int, typer.Option(min=0, max=100_000, help="Bootstrap resamples of the stimuli, for intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and resamples.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw bars to this .png or .svg file.", show_default=False)] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the numbers to this .csv file.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that --plot or --csv name.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Predict ratings, such as intimacy or valence, from embeddings by ridge regression."""
    start = time.perf_counter()
    check_out(plot, FIGURE, force=force, option="--plot")
    check_out(csv, (".csv",), force=force, option="--csv")
    names, wanted = names_of(encoders), _words(ratings or [])
    rated = find_ratings(stimuli, root)
    ids, held_out, part = parts(rated, split, stimuli)
    chosen, skipped, left_out = choose(rated, wanted, ids, held_out, folds)

    from vidsim.analysis.probe import probe as measure
    from vidsim.report.seen import SEEN

    spaces: dict[str, Embeddings] = {}
    for name in names:
        space = find_space(name, root, captions.value)
        spaces[space.name] = space.embeddings(chosen.ids)
    known = set(chosen.ids)
    predicted = [name for name in held_out if name in known]
    how: dict[str, Any] = {"folds": folds, "repeats": repeats, "resamples": resamples, "seed": seed}
    found = measure(spaces, chosen, held_out=predicted, **how)
    predicted = predicted or chosen.ids  # each in its turn, in cross-validation
    seen = {name: seen_by_space(name, predicted, root) for name in spaces}
    if plot is not None:
        from vidsim.report.probe import probe_plot

        image = probe_plot(found, form_of(plot))
        write_out(plot, lambda file: file.write(image), force=force, option="--plot")
    if csv is not None:
        table = _csv(found)
        write_out(csv, lambda file: file.write(table), force=force, option="--csv")
    answer: dict[str, Any] = {
        "stimuli": stimuli,
        "split": part,
        "captions": captions.value,
        "protocol": "default",
        "left_out": left_out,
        "skipped": skipped,
        **describe(found),
        "plot": None if plot is None else str(plot),
        "csv": None if csv is None else str(csv),
        "seconds": round(time.perf_counter() - start, 3),
    }
    for space in answer["spaces"]:
        space[SEEN] = seen[space["space"]]
    warn_seen([{"encoder": name, SEEN: one} for name, one in seen.items()], len(predicted))
    show.emit(answer) if json else _tell(found, answer)


def find_ratings(source: str, root: str) -> "Ratings":
    """Find ratings: those of stimuli in the store come first, ``./name`` is always a file.

    Parameters
    ----------
    source : str
        A name in the store, a table, or a folder in the layout of the Social-OOO release.
    root : str
        Artefact root.

    Returns
    -------
    Ratings
        Of all its stimuli.

    Raises
    ------
    VidsimError
        If there are no such stimuli, or they have no ratings.
    """
    from vidsim.data.ratings import Ratings, read_ratings
    from vidsim.errors import NoStore
    from vidsim.store import Store

    path = expand(source)
    found = None
    if not is_path(source):
        try:
            store = Store(root_of(root))
            stimuli = stimuli_of(store, source)
            if stimuli is None and not path.exists():
                _ = store.stimuli[source]  # says which there are
        except NoStore as error:
            if not path.exists():
                raise VidsimError(f"no file {source!r}, and {error}") from None
            stimuli = None
        found = None if stimuli is None else Ratings.of(stimuli)
    found = found or read_ratings(path)
    if not found.attributes:
        raise VidsimError(f"the stimuli of {source!r} have no ratings; expected columns of numbers, such as intimacy")
    return found


def parts(ratings: "Ratings", split: str | None, source: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Tell which stimuli are looked at, and which of them are held out.

    Parameters
    ----------
    ratings : Ratings
        The ratings, with splits.
    split : str, optional
        Name of a split, ``val`` for the paper's validation part of ``train``, or ``all``; by default ``test`` where
        both ``train`` and ``test`` are rated, else ``all``.
    source : str
        Named in errors.

    Returns
    -------
    tuple of tuple of str, tuple of str, and str
        All stimuli; those to predict from fits to the others, none for cross-validation; and the name of the split.

    Raises
    ------
    VidsimError
        If there is no such split, or none to fit.
    """
    import numpy as np

    from vidsim.data.splits import validation_split

    known = {name for name in ratings.split if name}
    rated = np.flatnonzero(np.isfinite(ratings.values).any(axis=1))
    having = {ratings.split[int(row)] for row in rated}
    split = split or ("test" if {"train", "test"} <= having else "all")

    def of(name: str) -> tuple[str, ...]:
        return tuple(stimulus for stimulus, own in zip(ratings.ids, ratings.split, strict=True) if own == name)

    listed = ", ".join(sorted(known)) or "none"
    if split == "all" and split not in known:
        return ratings.ids, (), split
    if split not in known and not (split == "val" and "train" in known):
        raise VidsimError(f"the stimuli of {source!r} have no split {split!r}; there are: {listed}")
    if split not in {"test", "val"}:
        return of(split), (), split
    if "train" not in known:
        raise VidsimError(f"the stimuli of {source!r} have no split 'train' to fit to; there are: {listed}")
    fitted, held_out = (of("train"), of(split)) if split in known else validation_split(of("train"))
    chosen = {*fitted, *held_out}
    return tuple(name for name in ratings.ids if name in chosen), tuple(held_out), split


def choose(
    ratings: "Ratings", wanted: Sequence[str], ids: Sequence[str], held_out: Sequence[str], folds: int
) -> "tuple[Ratings, dict[str, str], int]":
    """Choose what can be predicted.

    Parameters
    ----------
    ratings : Ratings
        All ratings.
    wanted : sequence of str
        Attributes; all that can be predicted if empty.
    ids, held_out : sequence of str
        Stimuli looked at, and those of them that are held out.
    folds : int
        Of the cross-validation.

    Returns
    -------
    tuple of Ratings, dict of str to str, and int
        Ratings of the stimuli that have one; attributes that were not asked for and cannot be predicted, with the
        reason; and how many stimuli have no rating.

    Raises
    ------
    VidsimError
        If an attribute is missing or cannot be predicted.
    """
    import numpy as np

    from vidsim.analysis.probe import unusable

    chosen = ratings.take(ids, wanted or ratings.ordered())
    skipped = unusable(chosen, held_out, folds)
    if skipped and (wanted or len(skipped) == len(chosen.attributes)):
        name, why = next(iter(skipped.items()))
        raise VidsimError(f"{name!r} cannot be predicted: {why}")
    left = chosen.take(ids, [name for name in chosen.attributes if name not in skipped])
    kept = [ids[int(row)] for row in np.flatnonzero(np.isfinite(left.values).any(axis=1))]
    return left.take(kept, left.attributes), skipped, len(ids) - len(kept)


def describe(found: "Probe") -> dict[str, Any]:
    """Put probes in the form that ``--json`` prints.

    Parameters
    ----------
    found : Probe
        The numbers.

    Returns
    -------
    dict
        ``rated``, ``validation``, ``folds``, ``repeats``, ``resamples``, ``seed``, ``attributes`` and ``spaces``: each
        with ``space``, ``dimensions``, ``scores`` and ``gains``, as `Score` and `Gain` name their parts.
    """
    from vidsim.analysis.quality import plain

    return plain(
        {
            "rated": found.stimuli,
            "validation": "k-fold" if found.folds else "held-out",
            "folds": found.folds,
            "repeats": found.repeats,
            "resamples": found.resamples,
            "seed": found.seed,
            "attributes": found.attributes,
            "spaces": [
                {
                    "space": space.space,
                    "dimensions": space.dimensions,
                    "scores": [vars(score) for score in space.scores],
                    "gains": [vars(gain) for gain in space.gains],
                }
                for space in found.spaces
            ],
        }
    )


def _words(given: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.strip() for word in given for name in word.split(",") if name.strip()))


def _csv(found: "Probe") -> bytes:
    from vidsim.analysis.quality import plain
    from vidsim.report.csv_rows import csv_of

    rows: list[Sequence[object]] = [CSV]
    for k, attribute in enumerate(found.attributes):
        for space in found.spaces:
            score = space.scores[k]
            row = [attribute, space.space, score.r, *score.interval, score.penalty, score.fitted, score.tested]
            for gain in space.gains[k : k + 1]:  # the first space has none
                row += [gain.value, *gain.interval, gain.p, gain.p_corrected]
            cells = plain(row)
            rows.append([*cells, *[None] * (len(CSV) - len(cells))])
    return csv_of(rows)


def _tell(found: "Probe", answer: dict[str, Any]) -> None:
    from vidsim.report.probe import HEADER, scheme, table_rows

    columns = len(HEADER) if len(found.spaces) > 1 else 4
    show.table(HEADER[:columns], [row[:columns] for row in table_rows(found)], right=HEADER[2:])
    missing = f", {answer['left_out']:,} without ratings left out" if answer["left_out"] else ""
    typer.echo(f"split {answer['split']}: {found.stimuli:,} rated stimuli{missing}; {scheme(found)}")
    for name, why in answer["skipped"].items():
        typer.echo(show.printable(f"{name} was skipped: {why}"))
    if found.resamples:
        typer.echo(f"intervals by bootstrap over stimuli ({found.resamples:,} resamples)")
    first, differences = answer["spaces"][0]["space"], len(found.attributes) * (len(found.spaces) - 1)
    if differences:
        typer.echo(
            f"differences are from {show.printable(first)}; p corrected for {differences} differences (max-statistic)"
        )
    for out in (answer["plot"], answer["csv"]):
        if out:
            typer.echo(show.printable(out))
