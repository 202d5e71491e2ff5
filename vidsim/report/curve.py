"""The training curve: the plot of how runs went, losses and validation scores by epoch."""

from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from vidsim.adapt.evaluation import Evaluation, kept_row
from vidsim.report.figures import COLOURS, GREY, plot, png, svg
from vidsim.report.train import baselines_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACCURACIES = {"two_way": ("two-way", 1 / 2), "three_way": ("three-way", 1 / 3)}
"""Odd-one-out accuracies of the plot, what they are called, and chance."""


def curve_plot(
    curves: Sequence[Sequence[Mapping[str, Any]]],
    select: str | None,
    *,
    evaluation: Evaluation | None = None,
    form: Literal["png", "svg"] = "png",
) -> bytes:
    """Draw how runs went: each loss by itself, and validation scores from epoch 0 on, before training.

    Dotted upright lines are the epochs kept, where there was one to choose. Beside rho stand the baselines, and the rho
    that a perfect model would have, the square root of people's reliability, with its 95 % interval as a band.

    Parameters
    ----------
    curves : sequence of sequence of mapping
        What was measured after each epoch, a run a seed.
    select : str or None
        The metric that chose the epoch.
    evaluation : Evaluation, optional
        Baselines, and people's reliability.
    form : {"png", "svg"}
        Kind of file.

    Returns
    -------
    bytes
        The file.
    """
    losses = list(dict.fromkeys(name for curve in curves for row in curve for name in row["losses"]))
    validated = [name for name in ("rho", *ACCURACIES) if any(row.get(name) is not None for c in curves for row in c)]
    columns = 2 if len(losses) > 1 or validated else 1
    above = -(-len(losses) // columns)
    rows = max(above + bool(validated), 1)
    last = max(row["epoch"] for curve in curves for row in curve)
    kept = {kept_row(curve, select)["epoch"] for curve in curves}
    with plot(4.6 * columns, 0.2 + 3.1 * above + 4.1 * bool(validated)) as (drawing, whole):
        whole.remove()
        heights = [*(1,) * above, *(1.3,) * bool(validated)] or [1]
        grid = drawing.subplots(rows, columns, squeeze=False, height_ratios=heights)
        panels = [*grid[:above].ravel()[: len(losses)], *grid[above:].ravel()]
        for panel, name in zip_longest(grid[:above].ravel(), losses):
            panel.set_axis_off() if name is None else _loss(panel, name, curves)
        if validated:
            _rho(grid[-1, 0], curves, evaluation)
            _accuracies(grid[-1, 1], curves)
        for panel in panels:
            _epochs(panel, kept, last)
        for panel in panels[-2:] if validated else panels[-1:]:
            _legend(panel)
        return png(drawing) if form == "png" else svg(drawing).encode()


def _epochs(axes: "Axes", kept: Collection[int], last: int) -> None:
    """Lay out the axis of epochs, and mark those kept; there is none to mark where nothing followed epoch 0."""
    axes.set_xlabel("epoch")
    if not last:
        axes.set_xlim(-0.5, 0.5)
        axes.set_xticks([0])
        return
    for place, epoch in enumerate(kept):
        label = None if place else "epochs kept" if len(kept) > 1 else "epoch kept"
        axes.axvline(epoch, color=GREY, linestyle=":", linewidth=1.2, zorder=0, label=label)
    axes.set_xlim(-0.02 * last, 1.02 * last)
    axes.locator_params("x", integer=True)


def _line(axes: "Axes", curves: Sequence[Sequence[Mapping[str, Any]]], name: str, colour: str, label: str = "") -> None:
    """Draw one number of every run; several runs are drawn thin."""
    for place, curve in enumerate(curves):
        of = [row["losses"] for row in curve] if any(name in row["losses"] for row in curve) else curve
        known = [(row["epoch"], own[name]) for row, own in zip(curve, of, strict=True) if own.get(name) is not None]
        axes.plot(
            [epoch for epoch, _ in known],
            [value for _, value in known],
            color=colour,
            linewidth=2 if len(curves) == 1 else 1.2,
            marker="o" if max(map(len, curves)) <= 13 else None,
            markersize=4,
            label=label if label and not place else None,
        )


def _loss(axes: "Axes", name: str, curves: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    _line(axes, curves, name, COLOURS[5])
    axes.set_title(f"{'RSA' if name == 'rsa' else name} loss, training")
    axes.set_ylabel("mean of an epoch")


def _rho(axes: "Axes", curves: Sequence[Sequence[Mapping[str, Any]]], evaluation: Evaluation | None) -> None:
    _line(axes, curves, "rho", COLOURS[0], f"adapter, {len(curves)} seeds" if len(curves) > 1 else "adapter")
    axes.set_title("rho, validation")
    axes.set_ylabel("Spearman's rho")
    if evaluation is None:
        return
    ceiling = evaluation.ceiling
    low, high = axes.get_ylim()
    marks = {name: one.scores["rho"] for name, one in evaluation.models.items() if name in baselines_of(evaluation)}
    known = [value for value in (*marks.values(), ceiling.rho, *ceiling.rho_interval) if value == value]
    low, high = min([low, *known]), max([high, *known])
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    if ceiling.rho == ceiling.rho:
        axes.axhline(ceiling.rho, color="black", linestyle="--", linewidth=1.5, label="perfect model, 95 %")
        if ceiling.rho_interval[0] == ceiling.rho_interval[0]:
            axes.axhspan(*ceiling.rho_interval, color=GREY, alpha=0.18, linewidth=0, zorder=0)
    styles = zip(COLOURS[1:4], ("-", (0, (4, 2)), (0, (1, 1))), strict=True)
    for (name, value), (colour, style) in zip(marks.items(), styles, strict=False):
        label = name.rpartition(", ")[2] if ", " in name else "base"
        if value == value:
            axes.axhline(value, color=colour, linestyle=style, linewidth=1.6, label=label)


def _accuracies(axes: "Axes", curves: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    for (name, (label, chance)), colour in zip(ACCURACIES.items(), (COLOURS[0], COLOURS[2]), strict=True):
        _line(axes, curves, name, colour, label)
        axes.axhline(chance, color=colour, linestyle="--", linewidth=1.2, label=f"chance, {label}")
    axes.set_title("odd-one-out, validation")
    axes.set_ylabel("share of trials right")


def _legend(axes: "Axes") -> None:
    """Lay the legend out between the panel and its title."""
    rows = -(-len(axes.get_legend_handles_labels()[0]) // 2)
    if not rows:
        return
    axes.set_title(axes.get_title(loc="left"), pad=10 + 20 * rows)
    axes.legend(fontsize=10.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0.2, handlelength=1.4,
                columnspacing=1.0, handletextpad=0.5)  # fmt: skip
