"""Tables and plots of calibration: how far probabilities of people's choices can be trusted."""

from collections.abc import Mapping
from typing import Any, Literal

from vidsim.report.figures import COLOURS, GREY, legend, plot, png, svg
from vidsim.report.text import number, span

TABLE = ("nll", "nll 95 %", "ece", "ece 95 %", "ece of perfect")
"""Columns of numbers in the table of scores."""

Answer = Mapping[str, Any]
"""What ``vidsim calibrate --json`` prints."""


def score_rows(answer: Answer) -> list[tuple[str, ...]]:
    """Lay out the scores: of the temperature, of none, and of chance.

    Parameters
    ----------
    answer : mapping
        What ``vidsim calibrate --json`` prints.

    Returns
    -------
    list of tuple of str
        Whose, and the columns of `TABLE`.
    """
    rows = [
        (
            name,
            number(score["nll"], 4),
            span(score["nll_interval"]),
            number(score["ece"], 4),
            span(score["ece_interval"]),
            number(score["ece_noise"], 4),
        )
        for name, score in (("calibrated", answer["calibrated"]), ("temperature 1", answer["uncalibrated"]))
    ]
    return [*rows, ("chance", number(answer["chance"]["nll"], 4), "", "", "", "")]


def notes(answer: Answer) -> list[str]:
    """Say what the numbers are of.

    Parameters
    ----------
    answer : mapping
        What ``vidsim calibrate --json`` prints.

    Returns
    -------
    list of str
        One line each.
    """
    low, high = answer["interval"]
    interval = ""
    if answer["resamples"] and low is not None:
        interval = f" (95 % {span((low, high), 4) or f'{low:.4f} or more'})"
    ends = span(answer["held_out"], 4)
    right = span(answer["accuracy_interval"])
    gain = span(answer["gain_interval"], 4, sign="+")
    return [
        f"temperature {number(answer['temperature'], 4)}{interval}, fitted to {answer['trials']:,} trials of "
        f"{answer['stimuli']:,} stimuli (split {answer['split'] or 'all'}); of halves of the stimuli {ends}",
        f"nll and ece are held out: each trial at temperatures fitted to trials of other stimuli; nll in nats a trial, "
        f"calibrated lower by {number(answer['gain'], 4, sign='+')}{f' ({gain})' if gain else ''}",
        f"the predicted odd one is people's in {number(answer['accuracy'], 4)}{f' ({right})' if right else ''} of "
        f"trials; chance {number(answer['chance']['accuracy'], 4)}; no temperature changes that",
    ]


def reliability_plot(answer: Answer, form: Literal["png", "svg"] = "png") -> bytes:
    """Draw how often the predicted odd one is people's, by the probability it was given.

    Parameters
    ----------
    answer : mapping
        What ``vidsim calibrate --json`` prints.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    kinds = (
        (answer["uncalibrated"], "temperature 1", COLOURS[1], "s"),
        (answer["calibrated"], f"temperature {number(answer['temperature'])}, held out", COLOURS[0], "o"),
    )
    with plot(6.4, 6.4) as (drawing, axes):
        axes.plot([1 / 3, 1], [1 / 3, 1], "--", color=GREY, linewidth=2, label="perfect")
        axes.axhline(1 / 3, color="#333333", linestyle=":", linewidth=1.5, label="chance")
        for score, name, colour, marker in kinds:
            points = score["curve"]
            for point in points:
                low, high = point["interval"]
                if low is not None:
                    axes.plot([point["confidence"]] * 2, [low, high], "-", color=colour, linewidth=2)
            x, y = [point["confidence"] for point in points], [point["right"] for point in points]
            label = f"{name}: ECE {number(score['ece'])}"
            axes.plot(x, y, marker, color=colour, markersize=7, label=label)
        lowest = min(end for score, *_ in kinds for point in score["curve"] for end in (point["right"], *_low(point)))
        axes.set(
            xlim=(0.3, 1.01),
            ylim=(min(0.3, lowest - 0.02), 1.01),
            xlabel="Probability of the predicted odd one",
            ylabel="Share of trials in which it is people's",
            title="Reliability of probabilities",
        )
        axes.grid(visible=True, axis="both")
        legend(axes)
        return png(drawing) if form == "png" else svg(drawing).encode()


def _low(point: Mapping[str, Any]) -> tuple[float, ...]:
    low = point["interval"][0]
    return () if low is None else (low,)
