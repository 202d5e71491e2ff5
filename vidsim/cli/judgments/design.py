"""``vidsim judgments design``: triplets that cover every pair, as a ready experiment."""

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from vidsim.cli import show
from vidsim.cli.options import Json
from vidsim.cli.output import check_out, write_out

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
    check_out(out, SUFFIXES, force=force)
    ids = ids_of(stimuli)
    n = len(ids)
    minimum = schoenheim(n)
    layout = Layout(repeats, catch, set_size, sets_per_participant)
    check_catch(layout, n)
    covering = cover(n, seed) if method is Method.optimal else greedy_cover(n, seed)
    rows = fill(covering, n, multiple, seed) if multiple else covering
    pairs = check_cover(rows, n)
    if out is not None:
        table = plan(rows, ids, layout, seed)
        write_out(out, lambda file: _write(table, out, file), force=force)
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
    costs_of: list[tuple[str, ...]] = []
    for times in sorted({1, 2, 3, repeats}):
        costs = Layout(times, catch, set_size, sets_per_participant).cost(len(rows))
        numbers = (len(covering), minimum, len(rows) - len(covering), times)
        numbers = (*numbers, costs.trials, costs.catch_trials, costs.sets, costs.participants)
        costs_of.append((method.value, *(f"{number:,}" for number in numbers)))
    headers = ("triplets", "minimum", "added", "repeats", "trials", "catch trials", "sets", "participants")
    show.table(("method", *headers), costs_of, right=headers)
    typer.echo(f"{n:,} stimuli, all {pairs:,} pairs covered")
    if out is not None:
        shown = cost.trials + cost.catch_trials
        typer.echo(f"{show.printable(str(out))}: {shown:,} trials for {cost.participants:,} participants")


def _write(table: "pa.Table", out: Path, file: BinaryIO) -> None:
    from pyarrow import csv, parquet

    if out.suffix.lower() == ".csv":
        csv.write_csv(table, file)
    else:
        parquet.write_table(table, file)
