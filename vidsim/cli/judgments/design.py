"""``vidsim judgments design``: triplets that cover every pair, as a ready experiment."""

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsim.cli import show
from vidsim.cli.options import Json
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = (".csv", ".parquet")


class Method(StrEnum):
    """How pairs are covered."""

    optimal = "optimal"
    greedy = "greedy"


Stimuli = Annotated[
    str,
    typer.Option(
        help="How many stimuli, or a file of their ids: a text with one id a line, or a .csv, .tsv or .parquet table "
        "with a column id.",
        show_default=False,
    ),
]
MethodOption = Annotated[
    Method, typer.Option("--method", help="optimal: the fewest triplets; greedy: the paper's Algorithm 1.")
]
Repeats = Annotated[int, typer.Option(min=1, help="How often each triplet is shown, each time to somebody else.")]
Catch = Annotated[
    int, typer.Option(min=0, help="Catch trials per set, beside the real ones: a stimulus twice and another one.")
]
SetSize = Annotated[int, typer.Option(min=1, help="Real trials per set.")]
SetsPerParticipant = Annotated[int, typer.Option(min=1, help="Sets that one participant judges.")]
Multiple = Annotated[
    int | None,
    typer.Option(min=1, help="Add random triplets until their number is a multiple of this; the paper's is 220."),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all that is drawn at random.")]
Out = Annotated[
    Path | None, typer.Option(help="Write the plan, one row per trial, to this .csv or .parquet file; by default none.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file that --out names.")]


def design(
    stimuli: Stimuli,
    method: MethodOption = Method.optimal,
    repeats: Repeats = 1,
    catch: Catch = 0,
    set_size: SetSize = 20,
    sets_per_participant: SetsPerParticipant = 11,
    multiple: Multiple = None,
    seed: Seed = 0,
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Choose triplets so that every pair of stimuli is judged, say what they cost, and write the plan of trials."""
    from vidsim.data.design import Layout, check_catch, check_cover, cover, fill, greedy_cover, ids_of, plan, schoenheim

    start = time.perf_counter()
    if out is not None:
        _check(out, force)
    ids = ids_of(stimuli)
    n = len(ids)
    minimum = schoenheim(n)
    layout = Layout(repeats, catch, set_size, sets_per_participant)
    check_catch(layout, n)
    covering = cover(n, seed) if method is Method.optimal else greedy_cover(n, seed)
    rows = fill(covering, n, multiple, seed) if multiple else covering
    pairs = check_cover(rows, n)
    if out is not None:
        _write(plan(rows, ids, layout, seed), out, force)
    cost = layout.cost(len(rows))
    if json:
        show.emit(
            {
                "stimuli": n,
                "method": method.value,
                "triplets": len(covering),
                "minimum": minimum,
                "added": len(rows) - len(covering),
                "pairs_covered": pairs,
                "repeats": repeats,
                "trials": cost.trials,
                "catch_trials": cost.catch_trials,
                "sets": cost.sets,
                "participants": cost.participants,
                "set_size": set_size,
                "sets_per_participant": sets_per_participant,
                "seed": seed,
                "out": None if out is None else str(out),
                "seconds": round(time.perf_counter() - start, 3),
            }
        )
        return
    table: list[tuple[str, ...]] = []
    for times in sorted({1, 2, 3, repeats}):
        costs = Layout(times, catch, set_size, sets_per_participant).cost(len(rows))
        numbers = (len(covering), minimum, len(rows) - len(covering), times)
        numbers = (*numbers, costs.trials, costs.catch_trials, costs.sets, costs.participants)
        table.append((method.value, *(f"{number:,}" for number in numbers)))
    headers = ("triplets", "minimum", "added", "repeats", "trials", "catch trials", "sets", "participants")
    show.table(("method", *headers), table, right=headers)
    typer.echo(f"{n:,} stimuli, all {pairs:,} pairs covered")
    if out is not None:
        shown = cost.trials + cost.catch_trials
        typer.echo(f"{show.printable(str(out))}: {shown:,} trials for {cost.participants:,} participants")


def _check(out: Path, force: bool) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise VidsimError(f"--out {str(out)!r}: expected a name that ends in {' or '.join(SUFFIXES)}")
    try:
        taken = out.is_dir() or (out.exists() and not force)
        folder = out.parent.is_dir()
    except OSError as error:
        raise VidsimError(f"--out {str(out)!r}: {error.strerror}") from error
    if taken:
        hint = "give another name" if out.is_dir() else "--force replaces it, or give another name"
        raise VidsimError(f"--out {str(out)!r} exists already; {hint}")
    if not folder:
        raise VidsimError(f"--out {str(out)!r}: no folder {str(out.parent)!r}; make it first")
    if not os.access(out.parent, os.W_OK):
        raise VidsimError(f"--out {str(out)!r}: permission denied to write in {str(out.parent)!r}")


def _write(table: "pa.Table", out: Path, force: bool) -> None:
    from pyarrow import csv, parquet

    place = out.resolve()  # a link stays, what it leads to is replaced
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            if out.suffix.lower() == ".csv":
                csv.write_csv(table, file)
            else:
                parquet.write_table(table, file)
            file.flush()
            os.fsync(file.fileno())
        _check(out, force)  # somebody may have written it meanwhile
        partial.replace(place)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise VidsimError(f"--out {str(out)!r}: cannot be written: {reason}; nothing was changed") from error
    finally:
        partial.unlink(missing_ok=True)
