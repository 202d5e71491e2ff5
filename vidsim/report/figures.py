"""Figures: one look for all plots, colour-blind-safe and legible at half width."""

import io
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Okabe and Ito's palette, told apart by people with any kind of colour vision."""

GREY = "#7f7f7f"

LONGEST = 34
"""Characters of a name beside a plot."""

_STYLE: dict[Any, Any] = {
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e0e0e0",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "vidsim",
    "figure.constrained_layout.use": True,
    "text.parse_math": False,  # names come from data, and a dollar sign in one is a dollar sign
}


@contextmanager
def plot(width: float = 6.4, height: float = 4.0) -> "Generator[tuple[Figure, Axes]]":
    """Give a figure with one pair of axes, in the common style; no display is needed.

    Parameters
    ----------
    width, height : float
        In inches.

    Yields
    ------
    tuple
        Figure and axes.
    """
    import matplotlib as mpl
    from cycler import cycler
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**_STYLE, "axes.prop_cycle": cycler(color=COLOURS)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names and captions are in any script
        drawing = Figure(figsize=(width, height))
        FigureCanvasAgg(drawing)
        yield drawing, drawing.subplots()


def svg(drawing: "Figure") -> str:
    """Write a figure as SVG to stand inside a page; the same figure gives the same text."""
    text = io.StringIO()
    drawing.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    content = text.getvalue()
    return content[content.index("<svg") :]


def png(drawing: "Figure") -> bytes:
    """Write a figure as PNG, at 150 dots an inch."""
    data = io.BytesIO()
    drawing.savefig(data, format="png", dpi=150, metadata={"Software": None})
    return data.getvalue()


def bars(axes: "Axes", labels: Any, values: Any, **more: Any) -> None:
    """Draw bars in the first colour, each with its value on it."""
    drawn = axes.bar(labels, values, color=COLOURS[0], **more)
    axes.bar_label(drawn, fmt="{:,.0f}", label_type="center", color="white")


def or_nan(value: float | None) -> float:
    """Return a number as it is drawn: NaN, hence not at all, where it is not known."""
    return float("nan") if value is None else value


def points(
    axes: "Axes",
    values: Sequence[float],
    ends: Sequence[Sequence[float]],
    places: Sequence[float],
    *,
    colour: str,
    marker: str,
    label: str,
) -> None:
    """Draw values from left to right, one below the other, with their intervals.

    Parameters
    ----------
    axes : Axes
        To draw on.
    values : sequence of float
        Where the points are; NaN where there is none.
    ends : sequence of sequence of float
        Low and high end of the interval of each; NaN where there is none.
    places : sequence of float
        How far down each stands.
    colour, marker, label : str
        Of all.
    """
    for (low, high), place in zip(ends, places, strict=True):
        if low == low and high == high:  # known
            axes.plot([low, high], [place, place], "-", color=colour, linewidth=2)
    axes.plot(values, places, marker, color=colour, markersize=7, label=label)


def name_rows(axes: "Axes", names: Sequence[str]) -> None:
    """Name what stands one below the other, the first on top, and rule the plot from left to right alone."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")


def shorten(name: str) -> str:
    """Leave out the beginning of a name that is too long to stand beside a plot."""
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST :]}"


def legend(axes: "Axes") -> None:
    """Put the legend below the plot, where it hides nothing."""
    axes.figure.legend(loc="outside lower center", ncols=2, fontsize=11)
