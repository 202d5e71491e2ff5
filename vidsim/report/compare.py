"""What ``vidsim compare`` shows: the trials on which two spaces disagree (Figs. 7 and 8)."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from jaxtyping import UInt8
from numpy import ndarray

from vidsim import __version__
from vidsim.analysis.comparison import Comparison, Example
from vidsim.report.figures import COLOURS, plot, png, svg
from vidsim.report.page import Card, Page, Section, Strip
from vidsim.report.text import counted
from vidsim.report.thumbnail import data_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PEOPLE, FIRST, SECOND = COLOURS[-1], COLOURS[0], COLOURS[1]
MARKERS = ("o", "^", "s")
"""Of people, the first and the second space: told apart without colour."""

DRAWN = 10
"""Most examples in each direction in the plot."""

LINES, LETTERS = 4, 23
"""Of a caption in the plot."""


@dataclass(frozen=True, eq=False)
class Look:
    """Hold what people can see of stimuli.

    Parameters
    ----------
    captions : mapping of str to str
        Of each stimulus; "" where there is none.
    images : mapping of str to array of shape (h, w, 3)
        RGB thumbnails, of those that have one.
    """

    captions: Mapping[str, str]
    images: Mapping[str, UInt8[ndarray, "_ _ 3"]]


def sections(found: Comparison, look: Look, *, n: int = 5) -> list[Section]:
    """Lay out a comparison as parts of a page.

    Parameters
    ----------
    found : Comparison
        How two spaces judge the same trials.
    look : Look
        The stimuli of its examples.
    n : int
        Examples in each direction, 1 or more.

    Returns
    -------
    list of Section
        The numbers, the clearest flips towards people, and those away from them.
    """
    text = (
        f"On how many trials {found.a} and {found.b} single out the stimulus that people did. McNemar's test takes "
        "trials as independent; the interval, by bootstrap over stimuli, does not."
    )
    parts = [Section(f"{found.a} and {found.b}", text, facts=_facts(found))]
    for title, examples, why in (
        ("Towards people", found.towards, f"Only {found.b} agrees with people"),
        ("Away from people", found.away, f"Only {found.a} agrees with people"),
    ):
        told = f"{why}: {counted(len(examples), 'different choice')}, the clearest first." if examples else "No trial."
        strips = [_strip(example, found, look) for example in examples[:n]]
        parts.append(Section(title, told, strips=strips))
    return parts


def compare_page(found: Comparison, look: Look, *, n: int = 5, source: str = "", more: Sequence[Section] = ()) -> Page:
    """Lay out a comparison as a page.

    Parameters
    ----------
    found : Comparison
        How two spaces judge the same trials.
    look : Look
        The stimuli of its examples.
    n : int
        Examples in each direction, 1 or more.
    source : str
        What the judgments are, in a line.
    more : sequence of Section
        Further parts.

    Returns
    -------
    Page
        Numbers and examples.
    """
    return Page("Comparison with people", source, [*sections(found, look, n=n), *more], f"vidsim {__version__}")


def compare_plot(found: Comparison, look: Look, *, n: int = 5, form: Literal["png", "svg"] = "png") -> bytes:
    """Draw the clearest flips, a row of three stimuli each (Figs. 7 and 8).

    A thick frame is about the stimulus that people singled out; markers tell who singled out which.

    Parameters
    ----------
    found : Comparison
        How two spaces judge the same trials.
    look : Look
        The stimuli of its examples.
    n : int
        Most examples in each direction, 1 or more; no more than ten are drawn.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    towards, away = (flipped[: min(n, DRAWN)] for flipped in (found.towards, found.away))
    names = [name for example in (*towards, *away) for name in example.stimuli]
    seen = any(name in look.images for name in names)
    lines = max((_caption(name, look).count("\n") + 1 for name in names), default=1)
    each = 2.1 + 0.2 * lines if seen else 1.6
    heights = [each * max(len(examples), 0.25) + 0.5 for examples in (towards, away)]
    with plot(7.5, 1.0 + sum(heights)) as (drawing, axes):
        axes.remove()
        parts: Any = drawing.subfigures(3, 1, height_ratios=[1.0, *heights])
        _legend(parts[0], found)
        for group, title, examples in zip(
            parts[1:],
            (f"towards people: {found.counts['towards']:,} trials", f"away: {found.counts['away']:,} trials"),
            (towards, away),
            strict=True,
        ):
            group.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
            rows: Any = group.subplots(len(examples), 3, squeeze=False) if examples else ()
            for row, example in zip(rows, examples, strict=True):
                for panel, name in zip(row, example.stimuli, strict=True):
                    _panel(panel, name, example, look)
        return png(drawing) if form == "png" else svg(drawing).encode()


def _facts(found: Comparison) -> dict[str, str]:
    counts, total = found.counts, found.counts["trials"]
    low, high = found.interval
    known = low == low
    return {
        "trials": f"{total:,}",
        "both agree with people": f"{counts['both']:,} ({counts['both'] / total:.1%})",
        "neither does": f"{counts['neither']:,} ({counts['neither'] / total:.1%})",
        f"only {found.b} does (towards people)": f"{counts['towards']:,} ({counts['towards'] / total:.1%})",
        f"only {found.a} does (away from people)": f"{counts['away']:,} ({counts['away'] / total:.1%})",
        f"three-way accuracy of {found.a} (chance 1/3)": f"{found.accuracies[0]:.4f}",
        f"three-way accuracy of {found.b}": f"{found.accuracies[1]:.4f}",
        "change": f"{found.change:+.4f}" + (f", 95 % {low:+.4f} to {high:+.4f}" if known else ""),
        "McNemar's exact p": f"{found.p:.3g}",
    }


def _strip(example: Example, found: Comparison, look: Look) -> Strip:
    people = "all" if example.same == example.judged else f"{example.same} of {example.judged}"
    judged = counted(example.judged, "judgment")
    title = (
        f"Margin {example.margin_a:+.2f} sd for {found.a}, {example.margin_b:+.2f} sd for {found.b}; "
        + (f"{people} {judged} of these three agree" if example.judged > 1 else "judged once")
        + "".join(
            f"; {name} singles out none, as two pairs are equally similar"
            for name, odd in ((found.a, example.odd_a), (found.b, example.odd_b))
            if odd is None
        )
    )
    cards: list[Card] = []
    for name in example.stimuli:
        who = (
            ("people", PEOPLE, example.stimuli[2]),
            (found.a, FIRST, example.odd_a),
            (found.b, SECOND, example.odd_b),
        )
        marks = {label: colour for label, colour, odd in who if odd == name}
        image = look.images.get(name)
        uri = "" if image is None else data_uri(image)
        cards.append(Card(name, look.captions.get(name, ""), uri, marks, name == example.stimuli[2]))
    return Strip(title, cards)


def _legend(top: Any, found: Comparison) -> None:
    from matplotlib.lines import Line2D

    entries = zip(MARKERS, (PEOPLE, FIRST, SECOND), ("people", found.a, found.b), strict=True)
    handles = [
        Line2D([], [], linestyle="", marker=marker, color=colour, markersize=11, label=f"singled out by {name}")
        for marker, colour, name in entries
    ]
    top.legend(handles=handles, loc="center left", fontsize=13, borderpad=0, labelspacing=0.3)


def _caption(name: str, look: Look) -> str:
    lines = textwrap.wrap(look.captions.get(name) or name, LETTERS)
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], lines[LINES - 1][: LETTERS - 1] + "…"]
    return "\n".join(lines)


def _panel(axes: "Axes", name: str, example: Example, look: Look) -> None:
    image = look.images.get(name)
    text = _caption(name, look)
    axes.set_xticks([])
    axes.set_yticks([])
    if image is None:
        axes.set_facecolor("#f2f2f2")
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=12.5, transform=axes.transAxes)
    else:
        axes.imshow(image)
        axes.set_xlabel(text, fontsize=12.5)
    odd = name == example.stimuli[2]
    for spine in axes.spines.values():
        spine.set(visible=True, color=PEOPLE if odd else "#b0b0b0", linewidth=3.5 if odd else 0.8)
    choices = (example.stimuli[2], example.odd_a, example.odd_b)
    here = [k for k, choice in enumerate(choices) if choice == name]
    for place, k in enumerate(here):
        colour = (PEOPLE, FIRST, SECOND)[k]
        axes.plot(0.05 + 0.09 * place, 1.1 if image is None else 1.07, MARKERS[k], color=colour, markersize=11,
                  clip_on=False, transform=axes.transAxes)  # fmt: skip
