"""``vidsim judgments power``: what a number of trials would give, before they are collected."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.judgments.counter import counter
from vidsim.cli.judgments.simulate import DIMS, TEMPERATURE, Lapse, Seed, Temperature
from vidsim.cli.judgments.source import load
from vidsim.cli.options import Json, Root
from vidsim.cli.output import check_out, write_out
from vidsim.cli.root import DEFAULT_ROOT
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.analysis.power import Power


def power(
    stimuli: Annotated[
        int | None, typer.Option(min=5, max=3000, help="How many stimuli of a random geometry.", show_default=False)
    ] = None,
    dims: Annotated[
        int, typer.Option(min=1, max=1000, help="Dimensions of the geometry, or of the one fitted with --from.")
    ] = DIMS,
    pilot: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Plan from judgments already there (a name in the store, a file or folder), instead of --stimuli.",
            show_default=False,
        ),
    ] = None,
    trials: Annotated[str, typer.Option(help="Numbers of trials, separated by commas.")] = "1000,3000,10000,30000",
    temperature: Temperature = None,
    lapse: Lapse = 0.0,
    alignment: Annotated[
        str, typer.Option(help="True alignments of models, from 0 to 1, separated by commas; may be empty.")
    ] = "0.3,0.5,0.7",
    simulations: Annotated[int, typer.Option(min=1, max=100_000, help="How often to simulate.")] = 20,
    seed: Seed = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the result to this .png file.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that --plot names.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Say how reliable the human RSM would be, and how models would align with it, for some numbers of trials."""
    start = time.perf_counter()
    # read when numpy is imported; the matrices are small, and threads would only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if (stimuli is None) == (pilot is None):
        raise VidsimError("say what is planned: either --stimuli for a random geometry, or --from judgments of a pilot")
    counts = [int(n) for n in _numbers("--trials", trials, 1, 100_000_000, whole=True)]
    alignments = _numbers("--alignment", alignment, 0, 1, whole=False) if alignment.strip() else []
    check_out(plot, (".png",), force=force, option="--plot")
    fitted: dict[str, Any] | None = None
    from vidsim.analysis.power import planted_rsm
    from vidsim.analysis.power import power as analyse

    if pilot is not None:
        from vidsim.analysis.pilot import pilot as read_pilot

        judgments = load(pilot, root)
        found = read_pilot(judgments.triplets, dims, seed=seed)
        rsm, default = found.rsm, found.temperature
        fitted = {"trials": len(judgments.triplets), "reliability": found.reliability, "matched": found.matched}
    else:
        rsm, default = planted_rsm(stimuli or 0, dims, seed), TEMPERATURE
    with counter("simulations") as progress:
        result = analyse(
            rsm,
            trials=counts,
            temperature=default if temperature is None else temperature,
            lapse=lapse,
            alignments=alignments,
            simulations=simulations,
            seed=seed,
            progress=progress,
        )
    if plot is not None:
        from vidsim.report.power import power_plot

        image = power_plot(result)
        write_out(plot, lambda file: file.write(image), force=force, option="--plot")
    answer = {
        **describe(result),
        "dims": dims,
        "from": pilot,
        "pilot": fitted,
        "seed": seed,
        "plot": None if plot is None else str(plot),
        "seconds": round(time.perf_counter() - start, 3),
    }
    from vidsim.analysis.quality import plain

    answer = plain(answer)
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def describe(result: "Power") -> dict[str, Any]:
    """Put a power analysis in the form that ``--json`` prints.

    Parameters
    ----------
    result : Power
        The analysis.

    Returns
    -------
    dict
        ``rows`` holds one dict for each number of trials: ``trials``, ``pairs`` seen, ``judgments_per_pair``,
        ``reliability`` and ``perfect`` (``mean``, ``low``, ``high``), and ``alignments`` (``true``, ``measured``,
        ``significant``).
    """
    from dataclasses import asdict

    facts = asdict(result)
    rows = facts.pop("outlooks")
    return {**facts, "pairs_total": result.stimuli * (result.stimuli - 1) // 2, "rows": list(rows)}


def _numbers(option: str, text: str, low: int, high: int, *, whole: bool) -> list[float]:
    kind = "whole numbers" if whole else "numbers"
    wrong = VidsimError(f"{option} {text!r}: expected {kind} from {low} to {high:,}, separated by commas")
    try:
        numbers = [float(int(part) if whole else float(part)) for part in text.split(",")]
    except (ValueError, OverflowError):
        raise wrong from None
    if not all(low <= number <= high for number in numbers):
        raise wrong
    return sorted(set(numbers))


def _tell(answer: dict[str, Any]) -> None:
    first = answer["rows"][0]
    models = [f"true {aligned['true']:g}" for aligned in first["alignments"]]
    rows = [
        (
            f"{row['trials']:,}",
            f"{row['pairs']:,.0f}",
            f"{row['judgments_per_pair']:.1f}",
            *(_spread(row[what]) for what in ("reliability", "perfect")),
            *(f"{_spread(aligned['measured'])}, {aligned['significant']:.0%}" for aligned in row["alignments"]),
        )
        for row in answer["rows"]
    ]
    headers = ("trials", "pairs", "judgments/pair", "reliability r_SB", "perfect model", *models)
    show.table(headers, rows, right=headers)
    simulations = answer["simulations"]
    told = f"means and 95 % of {simulations:,} simulations" if simulations > 1 else "one simulation, so no intervals"
    typer.echo(
        f"{answer['stimuli']:,} stimuli, {answer['pairs_total']:,} pairs, temperature {answer['temperature']:.3g}, "
        f"lapse {answer['lapse']:g}; {told}"
    )
    if models:
        typer.echo(
            "models: Spearman's rho as it would be measured, and how often it would be significant (Mantel, 5 %)"
        )
    if answer["pilot"] and not answer["pilot"]["matched"]:
        typer.echo(
            "the pilot is too small to tell how reliable people are: the plan is pessimistic; judge more pairs twice",
            err=True,
        )
    if answer["plot"]:
        typer.echo(show.printable(answer["plot"]))


def _spread(values: dict[str, float | None]) -> str:
    if values["mean"] is None:
        return "-"
    if values["low"] is None:  # of one simulation
        return f"{values['mean']:.3f}"
    return f"{values['mean']:.3f} [{values['low']:.3f} {values['high']:.3f}]"
