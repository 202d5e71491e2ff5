"""The plot of a variance partition: stacked bars, and each part with its interval (Fig. 3)."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vidsim.report.figures import GREY, plot, png, svg
from vidsim.report.page import Section
from vidsim.report.text import span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from vidsim.analysis.partition import Partition

SHOWN = 8
"""Most parts that are listed one by one: the models' own, then the largest of those shared (four at least)."""

UNIQUE = ("#56B4E9", "#CC79A7", "#009E73", "#E69F00", "#0072B2", "#D55E00", "#F0E442", "#000000")
"""One colour a model, of Okabe and Ito's palette; the first two are the paper's."""

SHARED = (("#8c8c8c", ""), ("#bdbdbd", "//"), ("#636363", ".."), ("#d9d9d9", "\\\\"), ("#a6a6a6", "xx"),
          ("#4d4d4d", "--"), ("#cccccc", "++"))  # fmt: skip
"""Greys and hatches of what models share."""


@dataclass(frozen=True)
class _Style:
    label: str
    colour: str
    hatch: str
    of_first: bool


def partition_plot(
    partitions: Sequence["Partition"], *, ceiling: float | None = None, form: Literal["png", "svg"] = "png"
) -> bytes:
    """Draw what models explain alone and together, one stacked bar per partition (Fig. 3).

    Parts below 0 hang below the axis. The diamond is the total with its 95 % interval, the black outline R2 of the
    first model by itself. Of more than three models the shared parts are stacked by how many share them.

    Parameters
    ----------
    partitions : sequence of Partition
        One, or two of the same human distances: before and after, the first model being another.
    ceiling : float, optional
        Reliability of the human distances, drawn as a line.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    styles = _styles(partitions)
    labels = _labels(partitions, styles).values()
    lines = max(label.count("\n") + 1 for label in labels)
    # a line of 11 pt takes 0.18 inches; the legend above and the axis below take 1.6
    height = max(4.8, 1.6 + len(labels) * (0.18 * lines + 0.08))
    with plot(8.2, height) as (drawing, axes):
        axes.remove()
        left, right = drawing.subplots(1, 2, width_ratios=(1 + 0.65 * len(partitions), 3))
        for place, partition in enumerate(partitions):
            _stack(left, place, partition, styles)
        if ceiling is not None:
            left.axhline(ceiling, color="black", linestyle="--", linewidth=1.5, label="reliability of people")
        left.axhline(0, color="black", linewidth=0.8)
        left.set_xlim(-0.6, len(partitions) - 0.4)
        left.set_xticks(range(len(partitions)), [_wrap(name, 11) for name in _bars(partitions)], fontsize=11)
        left.set_ylabel("variance explained (R²)")
        left.legend(loc="lower left", bbox_to_anchor=(0, 1), fontsize=11, borderpad=0, handlelength=1.4)
        _list(right, partitions, styles)
        return png(drawing) if form == "png" else svg(drawing).encode()


def section(found: "Partition", *, ceiling: float | None = None) -> Section:
    """Lay out a partition as a part of a page.

    Parameters
    ----------
    found : Partition
        The partition.
    ceiling : float, optional
        Reliability of the human distances.

    Returns
    -------
    Section
        Text, the plot, and a table of parts.
    """
    models = len(found.predictors)
    intervals = ", with 95 % intervals by bootstrap over stimuli" if found.resamples else ""
    text = (
        f"Human distances of {found.pairs:,} pairs of {found.stimuli:,} stimuli, regressed on the distances of the "
        f"models{intervals}. A part below 0 is suppression: together models explain more than the sum of them alone."
    )
    shares = [*((_name(part.predictors, models), part) for part in found.parts), ("total", found.total)]
    shares += [(f"{share.predictors[0]} by itself", share) for share in found.alone]
    rows = [(name, f"{share.value:.4f}", span(share.interval, 4)) for name, share in shares]
    caption = "What models explain of human distances, each alone and together; the dashed line is the reliability."
    return Section(
        "Unique and shared variance",
        text,
        figures={caption: partition_plot([found], ceiling=ceiling, form="svg").decode()},
        header=("part", "R2", "95 %"),
        rows=rows,
        numbers=("R2", "95 %"),
    )


def _name(members: Sequence[str], models: int) -> str:
    if len(members) == 1:
        return f"only {members[0]}"
    if len(members) == models:
        return "shared by both" if models == 2 else "shared by all"
    return "shared by " + " + ".join(members)


def _bars(partitions: Sequence["Partition"]) -> list[str]:
    """Name the bars: by the encoder of the first model, or by its layer where the encoder is the same."""
    if len(partitions) == 1:
        return ["all models"]
    first = [partition.predictors[0] for partition in partitions]
    encoders = [name.partition(":")[0] for name in first]
    different = len(set(encoders)) == len(first)
    return encoders if different else [name.rpartition(":")[2] for name in first]


def _styles(partitions: Sequence["Partition"]) -> list[_Style]:
    """Choose label, colour and hatch of every part: a colour per model, a grey per part that models share."""
    partition = partitions[0]
    models = len(partition.predictors)
    place = {name: number for number, name in enumerate(partition.predictors)}
    found: list[_Style] = []
    for number, part in enumerate(partition.parts):
        members = [place[name] for name in part.predictors]
        numbered = f"({members[0] + 1}) " if models > 2 else ""
        colour, hatch = SHARED[(number - models if models <= 3 else len(members) - 2) % len(SHARED)]
        if len(members) == 1:
            colour, hatch = UNIQUE[members[0]], ""
            named = len(partitions) == 1 or members[0] > 0
            name = part.predictors[0] if named else "the bar's model"
            label = f"{numbered}only {name}"
        elif len(members) == models:
            label = "shared by both" if models == 2 else "shared by all"
        else:
            label = "shared by " + ", ".join(str(member + 1) for member in members)
        found.append(_Style(label, colour, hatch, 0 in members))
    return found


def _stack(axes: "Axes", place: int, partition: "Partition", styles: Sequence[_Style]) -> None:
    merged: dict[tuple[str, str, bool], float] = {}
    for part, style in zip(partition.parts, styles, strict=True):
        key = (style.colour, style.hatch, style.of_first)
        merged[key] = merged.get(key, 0.0) + part.value
    # what the first model explains comes first, so that one outline holds it
    up = down = 0.0
    for (colour, hatch, _), value in sorted(merged.items(), key=lambda item: not item[0][2]):
        bottom = up if value > 0 else down
        axes.bar(place, value, 0.62, bottom=bottom, color=colour, hatch=hatch, edgecolor="white", linewidth=0.8)
        up, down = (up + value, down) if value > 0 else (up, down + value)
    outline, diamond = "", ""
    if not place:  # one entry each in the legend
        outline, diamond = "first model alone", "total, 95 %" if partition.resamples else "total"
    axes.bar(place, partition.alone[0].value, 0.62, fill=False, edgecolor="black", linewidth=2, label=outline)
    total = partition.total
    error = [[total.value - total.interval[0]], [total.interval[1] - total.value]] if partition.resamples else None
    axes.errorbar(place, total.value, error, fmt="D", color="black", markersize=7, capsize=4, label=diamond)


def _labels(partitions: Sequence["Partition"], styles: Sequence[_Style]) -> dict[int, str]:
    """Choose the parts that are listed, and break their labels into lines."""
    size = [max(abs(partition.parts[k].value) for partition in partitions) for k in range(len(styles))]
    models = len(partitions[0].predictors)
    shared = sorted(range(models, len(styles)), key=lambda k: -size[k])[: max(SHOWN - models, 4)]
    return {number: _wrap(styles[number].label, 26) for number in (*range(models), *sorted(shared))}


def _list(axes: "Axes", partitions: Sequence["Partition"], styles: Sequence[_Style]) -> None:
    """Show parts with their intervals; their names and colours are the legend of the bars."""
    labels = _labels(partitions, styles)
    for row, number in enumerate(labels):
        style = styles[number]
        for place, partition in enumerate(partitions):
            part = partition.parts[number]
            y = row + 0.3 * (place - (len(partitions) - 1) / 2)
            if partition.resamples:
                axes.plot(part.interval, (y, y), color=style.colour, linewidth=3, solid_capstyle="butt")
            hollow = len(partitions) > 1 and place == 0
            axes.plot(part.value, y, "o", markersize=8, color="white" if hollow else style.colour, mec="black")
        axes.barh(row, 0.055, 0.62, left=-0.09, color=style.colour, hatch=style.hatch, edgecolor="white",
                  clip_on=False, transform=axes.get_yaxis_transform())  # fmt: skip
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(labels)), list(labels.values()), fontsize=11)
    axes.tick_params(axis="y", length=0, pad=34)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("part of R²" + (", 95 %" if partitions[0].resamples else ""))
    left_out = len(styles) - len(labels)
    if left_out:
        axes.set_title(f"{left_out} smaller parts not shown", color=GREY, fontsize=11)
    for place, name in enumerate(_bars(partitions) if len(partitions) > 1 else ()):
        colour = GREY if place else "white"
        axes.plot([], [], "o", markersize=8, color=colour, markeredgecolor="black", label=name)
    if len(partitions) > 1:
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), fontsize=11, borderpad=0, handlelength=1)


def _wrap(name: str, width: int, most: int = 3) -> str:
    """Break a long name into lines, behind a space, colon, dot, hyphen or the like where there is one."""
    lines = [""]
    for piece in re.findall(r"[^-._/: ]+[-._/: ]*|[-._/: ]+", name):
        for part in textwrap.wrap(piece.rstrip(), width) or [""]:
            fits = len(lines[-1]) + len(part) <= width and not lines[-1].endswith(":")
            lines = [*lines[:-1], lines[-1] + part] if fits or not lines[-1] else [*lines, part]
        lines[-1] += " " * (len(piece) - len(piece.rstrip()))
    return "\n".join(line.rstrip() for line in lines[:most]) + ("…" if len(lines) > most else "")
