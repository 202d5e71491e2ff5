"""Tables and plots of alignment: models against people, beside how reliable people are."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from vidsim import __version__
from vidsim.report.csv_rows import csv_of
from vidsim.report.figures import COLOURS, GREY, legend, name_rows, or_nan, plot, png, points, shorten, svg
from vidsim.report.neighbours import NEIGHBOUR_COLUMNS, neighbour_cells, neighbour_sections
from vidsim.report.page import Page, Section
from vidsim.report.seen import seen_lines
from vidsim.report.text import number, p_value, sentences, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TABLE = ("rho", "95 %", "rho2", "rho-a", "three-way", "two-way", "first anchor", "p corrected", "paper rho2")
"""Columns of numbers in the table of models."""

ACCURACIES = ("three_way", "two_way", "two_way_first", "two_way_second")

MOST_CURVES = len(COLOURS)
"""Encoders whose layers are drawn; colours are told apart no further."""

OVER = {
    "stimuli": "bootstrap over stimuli: they say what other stimuli would give",
    "participants": "bootstrap over participants: they say what other people would give on these stimuli",
    "both": "bootstrap over stimuli and participants: they say what other people would give on other stimuli",
}

Answer = Mapping[str, Any]
"""What ``vidsim align --json`` prints."""


def table_rows(answer: Answer) -> list[tuple[str, ...]]:
    """Lay out the models as Table 2 does: best explained variance first.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.

    Returns
    -------
    list of tuple of str
        Encoder, layer, and the columns of `TABLE`.
    """
    return [
        (
            encoder["encoder"],
            encoder["layer"] or "",
            number(encoder["rho"], 4),
            span(encoder["interval"]),
            number(encoder["rho2"], 4),
            number(encoder["rho_a"], 4),
            *(number(encoder[name], 4) for name in ("three_way", "two_way", "two_way_first")),
            p_value(encoder["p_corrected"]),
            number(encoder["published"]["rho2"], 4) if encoder["published"] else "-",
        )
        for encoder in answer["encoders"]
    ]


def comparison_rows(answer: Answer) -> list[tuple[str, ...]]:
    """Lay out the differences between models: models, statistic, difference, interval, three p-values.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.

    Returns
    -------
    list of tuple of str
        One per difference.
    """
    return [
        (
            f"{found['first']} - {found['second']}",
            found["statistic"].replace("_", "-"),
            number(found["difference"], 4, sign="+"),
            span(found["interval"], sign="+"),
            p_value(found["p_value"]),
            p_value(found["p_corrected"]),
            p_value(found["mcnemar"]),
        )
        for found in answer["compared"]
    ]


def notes(answer: Answer) -> list[str]:
    """Say what the numbers are of, and what to compare them with.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.

    Returns
    -------
    list of str
        One line each.
    """
    first = answer["encoders"][0]
    found = [
        f"split {first['split'] or 'all'}, context {first['context']}, protocol {first['protocol']}: "
        f"{first['pairs']:,} pairs of {answer['stimuli']:,} stimuli, {first['trials']:,} trials; chance 0.3333 "
        "three-way, 0.5 two-way"
    ]
    if answer.get("predicted"):
        found.append(answer["predicted"])
    known = span(answer["reliability_interval"] or (None, None))
    within = f" ({known})" if known else ""
    what = "shuffled votes" if answer["reliability_method"] == "votes" else "split trials"
    squared = answer.get("reliability_squared")
    paper = f" (squared, as the paper reports it, {squared:.3f})" if squared is not None else ""
    whose = "these labels" if answer.get("predicted") else "people"
    found.append(
        f"reliability of {whose} r_SB {number(answer['reliability'])}{within} by {what}{paper}: compare it with "
        "rho2; the paper's numbers are of its 50 test videos"
    )
    if answer["agreement"] is not None:
        found.append(f"people agree with each other on {100 * answer['agreement']:.1f} % of repeated triplets")
    if answer["resamples"]:
        found.append(
            f"intervals: {OVER[answer['over']]} ({answer['resamples']:,} resamples); p corrected for the number of "
            "encoders, or differences, by the largest (max-statistic)"
        )
    return found


def models_plot(answer: Answer, form: Literal["png", "svg"] = "png") -> bytes:
    """Draw the explained variance of each model with its interval, beside the reliability of people.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    encoders = answer["encoders"]
    with plot(6.8, 2.3 + 0.36 * len(encoders)) as (drawing, axes):
        places = [float(k) for k in range(len(encoders))]
        _band(axes, answer["reliability"], answer["reliability_interval"], "reliability of people", vertical=True)
        values = [_signed(encoder["rho"]) for encoder in encoders]
        ends = [[_signed(end) for end in encoder["interval"]] for encoder in encoders]
        points(axes, values, ends, places, colour=COLOURS[0], marker="o", label="this sample")
        published = [(e["published"]["rho2"], k) for k, e in enumerate(encoders) if e["published"]]
        if published:
            x, y = zip(*published, strict=True)
            axes.plot(x, y, "D", color=COLOURS[5], markerfacecolor="none", markersize=7, label="paper, its test videos")
        name_rows(axes, _labels(encoders))
        axes.axvline(0, color="#333333", linewidth=1)
        axes.set(xlabel="Explained variance, ρ²", title="Alignment with people")
        legend(axes)
        return png(drawing) if form == "png" else svg(drawing).encode()


def accuracies_plot(answer: Answer) -> str:
    """Draw the odd-one-out accuracies of each model, with chance.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.

    Returns
    -------
    str
        SVG.
    """
    encoders = answer["encoders"]
    with plot(6.8, 2.3 + 0.36 * len(encoders)) as (drawing, axes):
        kinds = (("three_way", "three-way", COLOURS[0], "o", -0.13), ("two_way", "two-way", COLOURS[1], "s", 0.13))
        for name, label, colour, marker, shift in kinds:
            values = [_percent(encoder[name]) for encoder in encoders]
            ends = [[_percent(end) for end in encoder["intervals"][name]] for encoder in encoders]
            places = [k + shift for k in range(len(encoders))]
            points(axes, values, ends, places, colour=colour, marker=marker, label=label)
            chance = f"{label}, chance"
            axes.axvline(100 * answer["chance"][name], color=colour, linestyle="--", linewidth=1.5, label=chance)
        name_rows(axes, _labels(encoders))
        axes.set(xlabel="Odd-one-out accuracy (%)", title="Predicting people's choices")
        legend(axes)
        return svg(drawing)


def layers_plot(answer: Answer, form: Literal["png", "svg"] = "svg") -> bytes:
    """Draw how closely each layer matches people, the layer reported on marked.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints, with curves.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    curves = answer["curves"]
    with plot(6.8, 4.6) as (drawing, axes):
        known = curves["reliability"]
        ends = curves["reliability_interval"] or (None, None)
        _band(
            axes,
            None if known is None or known < 0 else known**0.5,
            [None if end is None else max(end, 0) ** 0.5 for end in ends],
            "perfect model, √ of people's reliability",
        )
        drawn = [encoder for encoder in answer["encoders"] if encoder["curve"]][:MOST_CURVES]
        for encoder, colour in zip(drawn, COLOURS, strict=False):
            names, rhos = zip(*encoder["curve"].items(), strict=True)
            depth = [k / max(len(names) - 1, 1) for k in range(len(names))]
            y = [or_nan(rho) for rho in rhos]
            error = [or_nan(encoder["curve_error"][name]) for name in names]
            axes.plot(depth, y, "-", color=colour, linewidth=2, label=encoder["encoder"])
            low, high = ([a + s * b for a, b in zip(y, error, strict=True)] for s in (-1, 1))
            axes.fill_between(depth, low, high, color=colour, alpha=0.18, linewidth=0)
            used = encoder["layer"]
            if used in names:
                place = names.index(used)
                axes.plot([depth[place]], [y[place]], "o", color=colour, markersize=9, markeredgecolor="white")
        axes.axhline(0, color="#333333", linewidth=1)
        axes.set(
            xlabel="Depth of the layer (0 first, 1 last)",
            ylabel="Spearman's rho with people",
            title=f"Layers, on {_stimuli(curves['split'])} (mean of 5 folds)",
        )
        legend(axes)
        return png(drawing) if form == "png" else svg(drawing).encode()


def alignment_sections(answer: Answer) -> list[Section]:
    """Lay out alignment as parts of a page.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.

    Returns
    -------
    list of Section
        Models with their plots, and how they differ.
    """
    figures = {
        "Explained variance of people's similarities, with 95 % intervals, to be compared with the reliability of "
        "people (band: its 95 % interval).": models_plot(answer, "svg").decode(),
        "How often the model's odd one is people's, with 95 % intervals.": accuracies_plot(answer),
    }
    if answer["curves"]:
        figures[
            f"Each layer on {_stimuli(answer['curves']['split'])}: mean of 5 folds, one standard error shaded; the dot "
            "is the layer reported."
        ] = layers_plot(answer).decode()
    sections = [
        Section(
            "Models and people",
            sentences([*notes(answer), *seen_lines(answer["encoders"], answer["stimuli"])]),
            figures=figures,
            header=("encoder", "layer", *TABLE),
            rows=table_rows(answer),
            numbers=TABLE,
        )
    ]
    rows = comparison_rows(answer)
    if rows:
        header = ("models", "in", "difference", "95 %", "p", "p corrected", "McNemar p")
        text = (
            "On the same resamples. McNemar's test takes trials as independent, which those that share a stimulus are "
            "not; the interval does not."
        )
        sections.append(Section("Differences between models", text, header=header, rows=rows, numbers=header[2:]))
    if answer.get("retrieval"):
        sections += neighbour_sections(answer["retrieval"])
    return sections


def alignment_page(answer: Answer) -> Page:
    """Lay out alignment as a page of its own.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.

    Returns
    -------
    Page
        One file, no network needed.
    """
    first = answer["encoders"][0]
    models = len(answer["encoders"])
    lead = f"{answer['judgments']}: {models} models on {first['pairs']:,} pairs, {first['trials']:,} trials"
    return Page(
        "Alignment with people", lead, alignment_sections(answer), f"vidsim {__version__}; seed {answer['seed']}."
    )


def alignment_csv(answer: Answer) -> bytes:
    """Write one row per model, with every statistic, its interval, those of retrieval if asked, and what was asked.

    Parameters
    ----------
    answer : mapping
        What ``vidsim align --json`` prints.

    Returns
    -------
    bytes
        UTF-8; an unknown number is an empty cell.
    """
    retrieval = answer.get("retrieval")
    names = ("rho", "rho2", "rho_a", *ACCURACIES)
    facts = ("pairs", "trials", "split", "context", "protocol", "layer_choice")
    header = [
        *("encoder", "layer"),
        *(column for name in names for column in (name, f"{name}_low", f"{name}_high")),
        *("p_value", "p_corrected", "published_rho2"),
        *facts,
        *("reliability", "over", "resamples", "seed"),
        *([] if retrieval is None else NEIGHBOUR_COLUMNS),
    ]
    rows = [
        [
            *(encoder["encoder"], encoder["layer"]),
            *(cell for name in names for cell in (encoder[name], *encoder["intervals"][name])),
            *(encoder["p_value"], encoder["p_corrected"]),
            encoder["published"]["rho2"] if encoder["published"] else None,
            *(encoder[name] for name in facts),
            *(answer[name] for name in ("reliability", "over", "resamples", "seed")),
            *([] if retrieval is None else neighbour_cells(retrieval, encoder["name"])),
        ]
        for encoder in answer["encoders"]
    ]
    return csv_of([header, *rows])


def _stimuli(split: str | None) -> str:
    return "all stimuli" if split is None else f"stimuli of split {split!r}"


def _signed(rho: float | None) -> float:
    """Square a correlation and keep its sign, so that a model that contradicts people is seen to."""
    value = or_nan(rho)
    return value * abs(value)


def _percent(share: float | None) -> float:
    return 100 * or_nan(share)


def _labels(encoders: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name each encoder, and its layer where several layers of it are shown."""
    shown = [encoder["encoder"] for encoder in encoders]
    lines = [(e["encoder"],) if shown.count(e["encoder"]) == 1 else (e["encoder"], e["layer"] or "") for e in encoders]
    return ["\n".join(map(shorten, two)) for two in lines]


def _band(
    axes: "Axes", value: float | None, ends: Sequence[float | None] | None, label: str, *, vertical: bool = False
) -> None:
    if value is None:
        return
    low, high = ends or (None, None)
    if low is not None and high is not None:
        (axes.axvspan if vertical else axes.axhspan)(low, high, color=GREY, alpha=0.22, linewidth=0)
    (axes.axvline if vertical else axes.axhline)(value, color=GREY, linewidth=2, label=label)
