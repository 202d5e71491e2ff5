import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from vidsim.analysis.partition import partition
from vidsim.report.figures import plot
from vidsim.report.partition import SHARED, UNIQUE, _list, _stack, _styles, _wrap, partition_plot
from vidsim.rsm import RSM


def made(m, resamples=30, seed=0, first="video:block.11"):
    rng = np.random.default_rng(seed)
    ids = tuple(f"s{i}" for i in range(14))
    noise = rng.normal(size=(m + 1, 14, 14))
    mixed = noise + 0.8 * noise[:1]
    names = [first, *(f"model {k}" for k in range(1, m))]
    rsms = {name: RSM(ids, matrix + matrix.T) for name, matrix in zip(names, mixed[1:], strict=True)}
    human = mixed.sum(axis=0)
    return partition(RSM(ids, human + human.T), rsms, resamples=resamples)


@pytest.mark.parametrize("m", [2, 3, 4, 6])
def test_bars_add_up(m):
    found = made(m)
    with plot() as (_, axes):
        _stack(axes, 0, found, _styles([found]))
        filled = [patch for patch in axes.patches if patch.get_fill()]
        (outline,) = [patch for patch in axes.patches if not patch.get_fill()]
        assert sum(p.get_height() for p in filled) == pytest.approx(found.total.value)
        assert outline.get_height() == pytest.approx(found.alone[0].value)
        # what the first model has a share in lies within the outline, where nothing is negative
        if all(part.value > 0 for part in found.parts):
            tops = [p.get_y() + p.get_height() for p in filled]
            assert any(top == pytest.approx(found.alone[0].value) for top in tops)


def test_negative_parts_hang_below():
    rng = np.random.default_rng(0)
    ids = tuple(f"s{i}" for i in range(12))
    a, b = (m + m.T for m in rng.normal(size=(2, 12, 12)))
    found = partition(RSM(ids, a), {"mix": RSM(ids, a + b), "nuisance": RSM(ids, b)}, resamples=0)
    shared = found.parts[2].value
    assert shared < -0.3
    with plot() as (_, axes):
        _stack(axes, 0, found, _styles([found]))
        below = [p for p in axes.patches if p.get_height() < 0]
        assert [p.get_height() for p in below] == [pytest.approx(shared)]
        assert below[0].get_y() == 0
    assert partition_plot([found]).startswith(b"\x89PNG")


def test_list_shows_values_and_intervals():
    found = made(3)
    with plot() as (_, axes):
        styles = _styles([found])
        _list(axes, [found], styles)
        labels = [text.get_text().replace("\n", " ") for text in axes.get_yticklabels()]
        points = [line for line in axes.lines if len(line.get_xdata()) == 1]
        intervals = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 3]
        assert [p.get_xdata()[0] for p in points] == [part.value for part in found.parts]
        assert [tuple(line.get_xdata()) for line in intervals] == [part.interval for part in found.parts]
    assert labels[1:] == [
        "(2) only model 1",
        "(3) only model 2",
        "shared by 1, 2",
        "shared by 1, 3",
        "shared by 2, 3",
        "shared by all",
    ]
    assert len({(style.colour, style.hatch) for style in styles}) == 7


def test_of_many_models_the_largest_shared_parts_are_listed():
    found = made(5)
    styles = _styles([found])
    with plot() as (_, axes):
        _list(axes, [found], styles)
        shown = len(axes.get_yticks())
        title = axes.get_title(loc="left")
    assert shown == 9
    assert title == "22 smaller parts not shown"
    # shared parts are told apart by how many share them
    for part, style in zip(found.parts, styles, strict=True):
        members = len(part.predictors)
        assert (style.colour, style.hatch) in ([(c, "") for c in UNIQUE] if members == 1 else [SHARED[members - 2]])


@pytest.mark.parametrize(
    ("m", "name"), [(4, "all-MiniLM-L6-v2:0.model.encoder.layer.0"), (5, "timesformer-base:" + "x" * 80), (8, "x" * 80)]
)
def test_labels_of_several_lines_keep_clear_of_each_other(m, name, monkeypatch):
    boxes, texts = [], []

    def measured(drawing):
        drawing.canvas.draw()
        labels = drawing.axes[-1].get_yticklabels()
        boxes.extend(label.get_window_extent() for label in labels)
        texts.extend(label.get_text() for label in labels)
        return b""

    monkeypatch.setattr("vidsim.report.partition.png", measured)
    found = made(m, resamples=0)
    named = {old: f"{number}{name}" for number, old in enumerate(found.predictors)}
    parts = [replace(part, predictors=tuple(named[one] for one in part.predictors)) for part in found.parts]
    partition_plot([replace(found, predictors=tuple(named.values()), parts=tuple(parts))])
    assert max(text.count("\n") for text in texts) > 0
    assert [text.split()[0] for text in texts[:m]] == [f"({number})" for number in range(1, m + 1)]
    for above, below in pairwise(boxes):  # upwards in pixels
        assert above.y0 > below.y1
    for box in boxes:
        assert box.x0 > 0


def test_two_bars_in_svg():
    before, after = made(2), made(2, first="video-tuned:block.11")
    drawing = partition_plot([before, after], ceiling=0.4, form="svg").decode()
    assert drawing.startswith("<svg")
    texts = [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<text[^>]*>.*?</text>", drawing, re.DOTALL)]
    for word in ("video-tuned", "reliability of people", "first model alone", "total, 95 %", "only the bar's model"):
        assert any(word in text for text in texts), word
    assert partition_plot([before, after], ceiling=0.4, form="svg") == drawing.encode()
    same = partition_plot([before, made(2, first="video:block.3")], form="svg").decode()
    assert "block.3" in same


def test_long_names_break():
    assert _wrap("timesformer-ft-hybrid", 12) == "timesformer-\nft-hybrid"
    assert _wrap("only timesformer-base:encoder.layer.11", 22) == "only timesformer-base:\nencoder.layer.11"
    assert _wrap("short", 11) == "short"
    assert _wrap("x" * 80, 20).count("\n") == 2
    assert _wrap("x" * 80, 20).endswith("…")
