"""Tables and plots of retrieval: whether models find what people find similar."""

from collections.abc import Mapping
from typing import Any

from vidsim.report.figures import COLOURS, legend, name_rows, or_nan, plot, points, shorten, svg
from vidsim.report.page import Section
from vidsim.report.text import number, p_value, sentences, span

NAMES = {"ndcg": "nDCG", "recall": "recall"}

NEIGHBOUR_COLUMNS = ("neighbours", *(f"{name}{end}" for name in NAMES for end in ("", "_low", "_high")))
"""What `neighbour_cells` gives of a model."""

COMPARED = ("difference", "95 %", "p", "p corrected")
"""Columns of numbers in the table of differences."""

Retrieval = Mapping[str, Any]
"""What ``vidsim align --retrieval --json`` prints under ``retrieval``."""


def columns(found: Retrieval) -> tuple[str, ...]:
    """Name the columns of numbers in the table of models."""
    return tuple(
        column
        for name in NAMES.values()
        for column in (f"{name}@{found['k']}", f"{name} 95 %", f"{name} p over chance")
    )


def neighbour_rows(found: Retrieval) -> list[tuple[str, ...]]:
    """Lay out the models, best nDCG first, and below them an order at random.

    Parameters
    ----------
    found : mapping
        What ``vidsim align --retrieval --json`` prints under ``retrieval``.

    Returns
    -------
    list of tuple of str
        Model, and the columns that `columns` names.
    """
    models = sorted(found["models"].items(), key=lambda item: -item[1]["ndcg"]["value"])
    rows: list[tuple[str, ...]] = []
    for name, measured in models:
        cells: list[str] = []
        for one in (measured[statistic] for statistic in NAMES):
            cells += [number(one["value"], 4), span(one["interval"]), p_value(one["p_value"])]
        rows.append((name, *cells))
    chance = [cell for statistic in NAMES for cell in (number(found["chance"][statistic], 4), "", "")]
    return [*rows, ("order at random", *chance)]


def neighbour_cells(found: Retrieval, name: str) -> list[int | float | None]:
    """Return the number of neighbours and a model's scores with their intervals.

    Parameters
    ----------
    found : mapping
        What ``vidsim align --retrieval --json`` prints under ``retrieval``.
    name : str
        The model.

    Returns
    -------
    list of int and float
        In the order of `NEIGHBOUR_COLUMNS`.
    """
    scores = [found["models"][name][statistic] for statistic in NAMES]
    return [found["k"], *(cell for one in scores for cell in (one["value"], *one["interval"]))]


def neighbour_comparisons(found: Retrieval) -> list[tuple[str, ...]]:
    """Lay out the differences between models.

    Parameters
    ----------
    found : mapping
        What ``vidsim align --retrieval --json`` prints under ``retrieval``.

    Returns
    -------
    list of tuple of str
        Models, statistic, and the columns of `COMPARED`.
    """
    return [
        (
            f"{one['first']} - {one['second']}",
            f"{NAMES[one['statistic']]}@{found['k']}",
            number(one["difference"], 4, sign="+"),
            span(one["interval"], sign="+"),
            p_value(one["p_value"]),
            p_value(one["p_corrected"]),
        )
        for one in found["differences"]
    ]


def neighbour_notes(found: Retrieval) -> list[str]:
    """Say what the numbers are of.

    Parameters
    ----------
    found : mapping
        What ``vidsim align --retrieval --json`` prints under ``retrieval``.

    Returns
    -------
    list of str
        One line each.
    """
    left_out = found["left_out"]
    less = f"; {left_out:,} judged with too few others, or similar to none, left out" if left_out else ""
    return [
        f"retrieval: for each of {found['stimuli']:,} stimuli, the {found['k']:,} that a model finds most similar "
        f"among {found['candidates']:.1f} judged with it (mean), scored by people's similarities{less}; intervals by "
        "bootstrap over stimuli"
    ]


def neighbours_plot(found: Retrieval) -> str:
    """Draw both scores of each model, with chance.

    Parameters
    ----------
    found : mapping
        What ``vidsim align --retrieval --json`` prints under ``retrieval``.

    Returns
    -------
    str
        SVG.
    """
    models = sorted(found["models"].items(), key=lambda item: -item[1]["ndcg"]["value"])
    with plot(6.8, 2.3 + 0.36 * len(models)) as (drawing, axes):
        kinds = zip(NAMES.items(), COLOURS, ("o", "s"), (-0.13, 0.13), strict=False)
        for (statistic, name), colour, marker, shift in kinds:
            label = f"{name}@{found['k']}"
            scores = [measured[statistic] for _, measured in models]
            values = [one["value"] for one in scores]
            ends = [[or_nan(end) for end in one["interval"]] for one in scores]
            places = [k + shift for k in range(len(scores))]
            points(axes, values, ends, places, colour=colour, marker=marker, label=label)
            chance = found["chance"][statistic]
            axes.axvline(chance, color=colour, linestyle="--", linewidth=1.5, label=f"{label}, chance")
        name_rows(axes, [shorten(name) for name, _ in models])
        axes.set_xlim(left=0)
        axes.set(xlabel="Score (1 is perfect)", title="Finding what people find similar")
        legend(axes)
        return svg(drawing)


def neighbour_sections(found: Retrieval) -> list[Section]:
    """Lay out retrieval as parts of a page.

    Parameters
    ----------
    found : mapping
        What ``vidsim align --retrieval --json`` prints under ``retrieval``.

    Returns
    -------
    list of Section
        Models with their plot, and how they differ.
    """
    numbers = columns(found)
    caption = "How well each model's nearest neighbours agree with people, with 95 % intervals."
    sections = [
        Section(
            "Neighbours and people",
            sentences(neighbour_notes(found)),
            figures={caption: neighbours_plot(found)},
            header=("model", *numbers),
            rows=neighbour_rows(found),
            numbers=numbers,
        )
    ]
    rows = neighbour_comparisons(found)
    if rows:
        header = ("models", "in", *COMPARED)
        sections.append(Section("Differences in neighbours", header=header, rows=rows, numbers=COMPARED))
    return sections
