"""``vidsim judgments next``: the triplets that are worth judging next."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from vidsim.cli import show
from vidsim.cli.judgments.source import JudgmentsSource, SplitOption, load_split
from vidsim.cli.options import Json, Root
from vidsim.cli.output import check_out, write_out
from vidsim.cli.root import DEFAULT_ROOT
from vidsim.cli.spaces import find_space
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy import ndarray

    from vidsim.rsm import RSM
    from vidsim.triplets import Triplets


def next_batch(
    source: JudgmentsSource,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="What predicts the choices: ENCODER:LAYER, a similarity matrix of the store by name, or a file.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Write the batch, one triplet a row, to this .csv file.", show_default=False)
    ],
    number: Annotated[int, typer.Option("--number", "-n", min=1, help="Triplets in the batch.")] = 220,
    temperature: Annotated[
        float | None,
        typer.Option(help="Above 0: how far similarities must differ for a clear choice; fitted to the judgments."),
    ] = None,
    uncertainty_weight: Annotated[
        float,
        typer.Option(min=0, max=1, help="What counts: 0 thin coverage alone, best for a human RSM; 1 uncertainty."),
    ] = 0.25,
    split: SplitOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the candidates, and of the choice between equals.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that --out names.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Choose the next triplets: where a model is least certain and pairs are judged least, none judged before."""
    if temperature is not None and not temperature > 0:
        raise VidsimError(f"--temperature {temperature:g}: expected a number above 0")
    check_out(out, (".csv",), force=force)
    start = time.perf_counter()
    judgments, ids = load_split(source, root, split)
    rsm = find_space(model, root).rsm(judgments.ids if ids is None else ids)
    table, answer = choose(
        rsm,
        judgments.triplets,
        number,
        temperature=temperature,
        uncertainty_weight=uncertainty_weight,
        seed=seed,
    )
    _write(table, out, force)
    answer = {"model": model, **answer, "seed": seed, "out": str(out), "seconds": round(time.perf_counter() - start, 3)}
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def choose(
    rsm: "RSM",
    judged: "Triplets",
    number: int,
    *,
    temperature: float | None,
    uncertainty_weight: float,
    seed: int,
) -> "tuple[pa.Table, dict[str, Any]]":
    """Choose a batch and describe it.

    Parameters
    ----------
    rsm : RSM
        The model's similarities of the stimuli to choose from.
    judged : Triplets
        What was judged.
    number : int
        Triplets wanted.
    temperature, uncertainty_weight, seed
        As for `vidsim.analysis.active.next_triplets`.

    Returns
    -------
    pyarrow.Table
        Columns ``stim1`` to ``stim3`` (ids), ``probability_odd1`` to ``3``, ``entropy`` (0 to 1) and ``judgments``, the
        least that any of its pairs was judged before the batch; in the order chosen.
    dict
        What ``--json`` prints about it.

    Raises
    ------
    VidsimError
        If too few triplets are left, or a number is out of range.
    """
    import numpy as np
    import pyarrow as pa

    from vidsim.analysis.active import (
        fit_temperature,
        judged_counts,
        next_triplets,
        odd_probabilities,
        uncertainty_of,
    )
    from vidsim.analysis.quality import plain

    heat = fit_temperature(rsm, judged, seed=seed) if temperature is None else temperature
    rows = next_triplets(rsm, judged, number, temperature=heat, uncertainty_weight=uncertainty_weight, seed=seed)
    predicted = odd_probabilities(rsm, rows, heat)
    uncertainty = uncertainty_of(predicted)
    pairs = _pairs(rows, len(rsm))
    before = judged_counts(rsm, judged)
    names = np.array(rsm.ids, object)
    columns = {f"stim{place + 1}": pa.array(names[rows[:, place]], pa.string()) for place in range(3)}
    columns |= {f"probability_odd{place + 1}": pa.array(predicted[:, place]) for place in range(3)}
    columns |= {"entropy": pa.array(uncertainty), "judgments": pa.array(before[pairs].min(axis=1))}
    in_batch = np.unique(pairs)
    facts = {
        "triplets": len(rows),
        "stimuli": len(rsm),
        "judged": len(judged),
        "temperature": float(heat),
        "temperature_fitted": temperature is None,
        "uncertainty_weight": uncertainty_weight,
        "entropy": float(uncertainty.mean()),
        "pairs": len(in_batch),
        "pairs_new": int((before[in_batch] == 0).sum()),
        "pairs_unjudged": int((before == 0).sum()),
    }
    return pa.table(columns), plain(facts)


def _pairs(rows: "ndarray", n: int) -> "ndarray":
    """Return the numbers of the three pairs of each triplet."""
    import numpy as np

    from vidsim.triplets import pair_index

    i, j, k = rows.T
    return np.stack([pair_index(i, j, n), pair_index(i, k, n), pair_index(j, k, n)], axis=1)


def _write(table: "pa.Table", out: Path, force: bool) -> None:
    from pyarrow import csv

    def write(file: BinaryIO) -> None:
        csv.write_csv(table, file)

    write_out(out, write, force=force)


def _tell(answer: dict[str, Any]) -> None:
    heat = answer["temperature"]
    typer.echo(
        f"{show.printable(answer['out'])}: {answer['triplets']:,} triplets of {answer['stimuli']:,} stimuli, "
        f"mean entropy {answer['entropy']:.3f} of 1; {answer['pairs']:,} pairs, of them {answer['pairs_new']:,} of the "
        f"{answer['pairs_unjudged']:,} never judged"
    )
    if heat is None:
        typer.echo(
            "the model predicts the judgments no better than chance, so all triplets are equally uncertain", err=True
        )
    else:
        typer.echo(f"temperature {heat:.4g}{', fitted to the judgments' if answer['temperature_fitted'] else ''}")
