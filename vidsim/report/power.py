"""The plot of a power analysis: reliability and alignment against the number of trials."""

import math
from typing import TYPE_CHECKING

from vidsim.report.figures import COLOURS, GREY, plot, png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vidsim.analysis.power import Power, Spread


def power_plot(power: "Power") -> bytes:
    """Draw reliability, what a perfect model would reach, and measured alignments against the number of trials.

    Parameters
    ----------
    power : Power
        What to draw.

    Returns
    -------
    bytes
        A PNG; lines are means over simulations, bands their central 95 %.
    """
    trials = [outlook.trials for outlook in power.outlooks]
    curves: list[tuple[str, str, str, list[Spread]]] = [
        ("reliability", COLOURS[0], "-", [outlook.reliability for outlook in power.outlooks]),
        ("perfect model", COLOURS[7], "--", [outlook.perfect for outlook in power.outlooks]),
    ]
    for number, aligned in enumerate(power.outlooks[0].alignments):
        colour = COLOURS[(5, 2, 3, 1, 4)[number % 5]]
        values = [outlook.alignments[number].measured for outlook in power.outlooks]
        curves.append((f"model, true {aligned.true:g}", colour, "-", values))
    curves = [curve for curve in curves if not all(math.isnan(value.mean) for value in curve[3])]
    with plot(7.0, 4.4) as (drawing, axes):
        for _, colour, line, values in curves:
            axes.plot(trials, [v.mean for v in values], line, color=colour, marker="o", markersize=5, linewidth=2)
            axes.fill_between(trials, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.18, lw=0)
        scale = math.log if trials[-1] > 3 * trials[0] else float
        axes.set_xscale("log" if scale is math.log else "linear")
        ticks = _apart(trials, [scale(t) for t in trials])
        axes.set_xticks(ticks, [f"{t:,}" for t in ticks])
        axes.minorticks_off()
        axes.set_ylim(min(0.0, *(v.mean for _, _, _, values in curves for v in values if v.mean < 0), 0.0), 1)
        axes.set_xlabel("odd-one-out trials")
        axes.set_ylabel("correlation (Spearman)")
        axes.set_title(f"{power.stimuli:,} stimuli", color=GREY)
        _name(axes, [(values[-1].mean, label, colour) for label, colour, _, values in curves])
        return png(drawing)


def _apart(trials: list[int], places: list[float], gap: float = 0.16) -> list[int]:
    """Choose the numbers, the last first, that stand far enough apart to be legible."""
    kept = [len(trials) - 1]
    for number in reversed(range(len(trials) - 1)):
        if places[kept[-1]] - places[number] >= gap * (places[-1] - places[0]):
            kept.append(number)
    return [trials[number] for number in reversed(kept)]


def _name(axes: "Axes", ends: list[tuple[float, str, str]], gap: float = 0.065) -> None:
    """Write each curve's name at its right end, moved up or down where two would overlap."""
    known = sorted(end for end in ends if not math.isnan(end[0]))
    heights: list[float] = []
    for number, (value, _, _) in enumerate(known):
        above = len(known) - 1 - number  # names that still have to fit below the top
        heights.append(max([min(value, 1 - above * gap), *(height + gap for height in heights[-1:])]))
    for height, (_, label, colour) in zip(heights, known, strict=True):
        axes.text(1.02, height, label, color=colour, va="center", transform=axes.get_yaxis_transform())
