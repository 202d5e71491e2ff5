"""The plot and the section of probes: how well ratings are predicted from embeddings (Fig. 4)."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from vidsim.report.figures import COLOURS, plot, png, svg
from vidsim.report.page import Section
from vidsim.report.text import number, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vidsim.analysis.probe import Probe, SpaceProbe

HATCHES = ("", "//", "..", "xx")
"""Hatches of bars, one each time all colours are used up."""

BAR = 0.8
"""Width of all bars of an attribute, of 1 from attribute to attribute."""

LEVEL = 0.05
"""Corrected p below which a difference is marked."""

HEADER = ("attribute", "space", "r", "95 %", "difference", "95 %, difference", "p", "p corrected")


def probe_plot(probe: "Probe", form: Literal["png", "svg"] = "png") -> bytes:
    """Draw r of every attribute, one bar a space, with 95 % intervals (Fig. 4).

    A star marks spaces that differ from the first, corrected for the number of differences.

    Parameters
    ----------
    probe : Probe
        The numbers.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    attributes, spaces = len(probe.attributes), len(probe.spaces)
    inches = max(6.4, 1.6 + attributes * max(0.75, 0.28 * (spaces + 0.6)))
    with plot(min(inches, 24), 4.2 + 0.3 * spaces) as (drawing, axes):
        starred = [_bars(axes, space, place, spaces) for place, space in enumerate(probe.spaces)]
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlim(-0.5, attributes - 0.5)
        low, high = axes.get_ylim()
        axes.set_ylim(low, min(high, 1.04))
        labels = ["\n".join(textwrap.wrap(name.replace("_", " "), 14)) for name in probe.attributes]
        slanted = inches / attributes < 0.1 * max(len(line) for label in labels for line in label.split("\n")) + 0.2
        axes.set_xticks(range(attributes), labels, rotation=40 if slanted else 0, ha="right" if slanted else "center",
                        rotation_mode="anchor" if slanted else "default")  # fmt: skip
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("Pearson r of prediction\nand rating" + (", 95 %" if probe.resamples else ""))
        handles = list(axes.get_legend_handles_labels()[0])
        if any(starred):
            label = "differs from the first, p corrected < .05"
            # five rays, as the sign on the bars has
            handles += axes.plot([], [], "k", ls="", marker=(5, 2), markersize=7, markeredgewidth=1.3, label=label)
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2, handlelength=1.4)
        return png(drawing) if form == "png" else svg(drawing).encode()


def section(probe: "Probe", *, stimuli: str = "", left_out: int = 0) -> Section:
    """Lay out probes as a part of a page.

    Parameters
    ----------
    probe : Probe
        The numbers.
    stimuli : str
        What was predicted, such as the name of the stimuli and their split.
    left_out : int
        Stimuli without any rating.

    Returns
    -------
    Section
        Text, facts, the plot, and a table.
    """
    text = (
        "Ridge regression from embeddings to ratings; the penalty is chosen among the fitted stimuli by leave-one-out, "
        "and r is of stimuli that the fit has not seen."
    )
    if probe.resamples:
        text += f" Intervals by bootstrap over stimuli ({probe.resamples:,} resamples)."
    if len(probe.spaces) > 1:
        text += (
            f" Differences are from {probe.spaces[0].space}; p is corrected for "
            f"{len(probe.attributes) * (len(probe.spaces) - 1)} differences by the largest (max-statistic)."
        )
    fitted = [score.fitted for space in probe.spaces for score in space.scores]
    tested = [score.tested for space in probe.spaces for score in space.scores]
    facts = {
        **({"stimuli": stimuli} if stimuli else {}),
        "stimuli rated": f"{probe.stimuli:,}" + (f", {left_out:,} without ratings left out" if left_out else ""),
        "fitted": _count(fitted),
        "predicted": _count(tested),
        "validation": scheme(probe),
    }
    caption = "Pearson correlation of predicted and actual ratings, with 95 % intervals."
    several = len(probe.spaces) > 1
    return Section(
        "What embeddings tell of social attributes",
        text=text,
        facts=facts,
        figures={caption: probe_plot(probe, "svg").decode()},
        header=HEADER if several else HEADER[:4],
        rows=[row if several else row[:4] for row in table_rows(probe)],
        numbers=HEADER[2:],
    )


def table_rows(probe: "Probe") -> list[tuple[str, ...]]:
    """Put the numbers in rows of `HEADER`: by attribute, then by space.

    Parameters
    ----------
    probe : Probe
        The numbers.

    Returns
    -------
    list of tuple of str
        Cells; empty where there is no number.
    """
    rows: list[tuple[str, ...]] = []
    for k, attribute in enumerate(probe.attributes):
        for space in probe.spaces:
            score = space.scores[k]
            cells = ("", "", "", "")
            if space.gains:
                gain = space.gains[k]
                cells = (_cell(gain.value, "+"), span(gain.interval, sign="+"), _cell(gain.p), _cell(gain.p_corrected))
            rows.append((attribute, space.space, _cell(score.r), span(score.interval), *cells))
    return rows


def scheme(probe: "Probe") -> str:
    """Say in words which stimuli r is taken over."""
    if not probe.folds:
        return "fitted to one split, r of the held-out split"
    ways = "once" if probe.repeats == 1 else f"{probe.repeats} times"
    return f"{probe.folds}-fold, stimuli dealt {ways}; r within folds"


def _bars(axes: "Axes", space: "SpaceProbe", place: int, spaces: int) -> bool:
    """Draw the bars of one space, and tell whether any is marked."""
    width = BAR / spaces
    x = np.arange(len(space.scores)) + (place - (spaces - 1) / 2) * width
    r = np.array([score.r for score in space.scores])
    ends = np.array([score.interval for score in space.scores])
    axes.bar(x, r, 0.94 * width, color=COLOURS[place % len(COLOURS)], label="\n".join(textwrap.wrap(space.space, 60)),
             hatch=HATCHES[place // len(COLOURS) % len(HATCHES)], edgecolor="white", linewidth=0)  # fmt: skip
    known = np.isfinite(ends).all(axis=1)
    below, above = np.maximum([r - ends[:, 0], ends[:, 1] - r], 0)[:, known]  # a skewed interval may lie beside r
    axes.errorbar(x[known], r[known], [below, above], fmt="none", ecolor="black", elinewidth=1.3,
                  capsize=min(4.0, 12 * width))  # fmt: skip
    marked = [k for k, gain in enumerate(space.gains) if gain.p_corrected < LEVEL]
    for k in marked:
        top = np.nanmax([r[k], ends[k, 1], 0])
        axes.annotate("*", (x[k], top), (0, -2), textcoords="offset points", ha="center", va="bottom", fontsize=15)
    return bool(marked)


def _count(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _cell(value: float, sign: str = "") -> str:
    return number(value, sign=sign, unknown="")
