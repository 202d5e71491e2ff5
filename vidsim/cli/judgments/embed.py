"""``vidsim judgments embed``: a low-dimensional embedding fitted to the trials themselves."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from vidsim.cli import show
from vidsim.cli.judgments.counter import counter
from vidsim.cli.judgments.names import check_name
from vidsim.cli.judgments.source import JudgmentsSource, SplitOption, load_split
from vidsim.cli.options import Json, Root
from vidsim.cli.output import check_out, write_out
from vidsim.cli.output_folder import refuse_closed
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.analysis.ordinal import CrossValidation, OrdinalEmbedding
    from vidsim.embeddings import Embeddings

SUFFIXES = (".npz", ".csv", ".parquet")
MOST_DIMS = 1000


def embed(
    source: JudgmentsSource,
    dims: Annotated[
        str,
        typer.Option(metavar="D|auto", help="Dimensions; several, separated by commas, or auto: choose among them."),
    ] = "auto",
    nonnegative: Annotated[bool, typer.Option("--nonnegative", help="Keep coordinates at 0 or above.")] = False,
    l1: Annotated[
        float | None,
        typer.Option(min=0, help="Penalty on the sum of coordinates, with --nonnegative; chosen where none is given."),
    ] = None,
    l2: Annotated[
        float | None, typer.Option(min=0, help="Penalty on the sum of squares; chosen where none is given.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, max=1000, help="Folds of the trials, for cross-validation.")] = 5,
    restarts: Annotated[int, typer.Option(min=1, max=1000, help="Random starts of each fit.")] = 1,
    split: SplitOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and starts.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Write the embedding to this .npz, .csv or .parquet file.", show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Keep the human RSM that the embedding predicts in the store, by name.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what --out or --name names.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Fit an embedding to the trials, and say how well it predicts trials held out: the reach for seen stimuli."""
    start = time.perf_counter()
    # read when numpy is imported; the matrices are small, and threads would only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    tried_dims = _dims(dims)
    check_out(out, SUFFIXES, force=force)
    place = root_of(root)
    if name is not None:
        check_name(name, place, "rsms", force=force)
        if "://" not in place:
            refuse_closed(Path(place, "store"), f"the similarities cannot be kept under {place!r}")
    judgments, ids = load_split(source, root, split)
    from vidsim.analysis.ordinal import candidates, cross_validate, denoised_rsm, fit

    triplets = judgments.triplets if ids is None else judgments.triplets.restrict(ids)
    tried = candidates(tried_dims, nonnegative=nonnegative, l1=l1, l2=l2)
    with counter("fits") as progress:
        held_out = cross_validate(
            triplets, tried, folds=folds, nonnegative=nonnegative, restarts=restarts, seed=seed, progress=progress
        )
    chosen = held_out.chosen
    found = fit(
        triplets, chosen.dims, nonnegative=nonnegative, l1=chosen.l1, l2=chosen.l2, restarts=restarts, seed=seed
    )
    if out is not None:
        _write(found.embeddings, out, force)
    if name is not None:
        from vidsim.store import Store

        Store(place, create=True).rsms.put(name, denoised_rsm(found).table())
    answer = {
        **describe(found, held_out),
        "folds": folds,
        "seed": seed,
        "out": None if out is None else str(out),
        "name": name,
        "seconds": round(time.perf_counter() - start, 3),
    }
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def describe(found: "OrdinalEmbedding", held_out: "CrossValidation") -> dict[str, Any]:
    """Put together what is known of an embedding.

    Parameters
    ----------
    found : OrdinalEmbedding
        Fitted to all trials.
    held_out : CrossValidation
        Of the same trials.

    Returns
    -------
    dict
        JSON-able. ``accuracy`` and ``log_likelihood`` are of trials held out, under candidates chosen without them;
        ``candidates`` holds the same for each candidate, the chosen one's being too good where there was a choice.
    """
    return {
        "dims": found.embeddings.matrix.shape[1],
        "l1": found.l1,
        "l2": found.l2,
        "nonnegative": found.nonnegative,
        "trials": found.trials,
        "stimuli": len(found.embeddings),
        "accuracy": held_out.accuracy,
        "accuracy_sd": held_out.accuracy_sd,
        "log_likelihood": held_out.log_likelihood,
        "chance": 1 / 3,
        "nested": held_out.nested,
        "log_likelihood_fitted": found.log_likelihood,
        "iterations": found.iterations,
        "converged": found.converged,
        "candidates": [
            {
                "dims": tried.candidate.dims,
                "l1": tried.candidate.l1,
                "l2": tried.candidate.l2,
                "accuracy": float(tried.accuracies.mean()),
                "accuracy_sd": float(tried.accuracies.std(ddof=1)),
                "log_likelihood": float(tried.log_likelihoods.mean()),
            }
            for tried in held_out.curve
        ],
    }


def _dims(text: str) -> tuple[int, ...]:
    from vidsim.analysis.ordinal.validation import DIMS

    if text == "auto":
        return DIMS
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 5 and 0 < int(part) <= MOST_DIMS for part in parts):
        raise VidsimError(
            f"--dims {text!r}: expected a number from 1 to {MOST_DIMS}, several separated by commas, or auto"
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def _write(embeddings: "Embeddings", out: Path, force: bool) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv, parquet

    ids = pa.array(embeddings.ids, pa.string())
    table = pa.table({"id": ids, **{f"dim{d + 1}": pa.array(c) for d, c in enumerate(embeddings.matrix.T)}})

    def write(file: BinaryIO) -> None:
        if out.suffix.lower() == ".csv":
            csv.write_csv(table, file)
        elif out.suffix.lower() == ".parquet":
            parquet.write_table(table, file)
        else:
            np.savez(file, ids=np.array(embeddings.ids, np.str_), embeddings=embeddings.matrix)

    write_out(out, write, force=force)


def _tell(answer: dict[str, Any]) -> None:
    rows = [
        (
            str(tried["dims"]),
            f"{tried['l1']:g}",
            f"{tried['l2']:g}",
            f"{tried['accuracy']:.4f}",
            f"{tried['accuracy_sd']:.4f}",
            f"{tried['log_likelihood']:.4f}",
        )
        for tried in answer["candidates"]
    ]
    headers = ("dims", "l1", "l2", "accuracy", "sd", "log-likelihood")
    show.table(headers, rows, right=headers)
    chosen = ", chosen without the trials that are predicted" if answer["nested"] else ""
    typer.echo(
        f"three-way accuracy {answer['accuracy']:.4f} (sd over {answer['folds']} folds {answer['accuracy_sd']:.4f}, "
        f"chance {answer['chance']:.4f}), log-likelihood {answer['log_likelihood']:.4f} nats a trial{chosen}"
    )
    typer.echo(
        f"{answer['dims']} dimensions (l1 {answer['l1']:g}, l2 {answer['l2']:g}) fitted to {answer['trials']:,} "
        f"trials of {answer['stimuli']:,} stimuli in {answer['seconds']:.1f} s"
    )
    if not answer["converged"]:
        typer.echo("the fit did not converge; a larger --l2 or --l1 makes it easier", err=True)
    for what in (answer["out"], answer["name"]):
        if what is not None:
            typer.echo(show.printable(what))
