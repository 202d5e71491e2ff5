"""Figures: one look for all plots, colour-blind-safe and legible at half width."""

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
"""Okabe and Ito's palette, told apart by people with any kind of colour vision."""

GREY = "#7f7f7f"

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
