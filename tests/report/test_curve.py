import io

import pytest
from measured import evaluation
from PIL import Image

from vidsim.adapt.evaluation import Ceiling
from vidsim.report.curve import curve_plot
from vidsim.report.figures import png


def curve(losses, epochs, validated=True):
    rows = [
        {"epoch": k, "losses": dict.fromkeys(losses, 1 / k) if k else {}, "seconds": 1.0} for k in range(epochs + 1)
    ]
    if validated:
        for row in rows:
            row.update(rho=0.3 + row["epoch"] / 100, two_way=0.7, three_way=0.5, rho2=0.1, two_way_first=0.7)
    return rows


def labels(monkeypatch, *arguments, **options):
    """Draw, and return what stands in each panel."""
    seen = []

    def spied(drawing):
        seen.extend(drawing.axes)
        return png(drawing)

    monkeypatch.setattr("vidsim.report.curve.png", spied)
    data = curve_plot(*arguments, **options)
    assert Image.open(io.BytesIO(data)).format == "PNG"
    return {axes.get_title(loc="left"): axes for axes in seen if axes.axison}


def entries(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_each_loss_and_each_kind_of_score_has_a_panel(monkeypatch):
    panels = labels(monkeypatch, [curve(("triplet", "rsa"), 3)], "rho", evaluation=evaluation())
    assert list(panels) == [
        "triplet loss, training",
        "RSA loss, training",
        "rho, validation",
        "odd-one-out, validation",
    ]
    assert all(axes.get_xlabel() == "epoch" for axes in panels.values())
    assert all(axes.get_ylabel() for axes in panels.values())
    rho = panels["rho, validation"]
    lines = {line.get_label(): line.get_ydata() for line in rho.get_lines()}
    assert lines["base"][0] == 0.31
    assert lines["linear transform"][0] == 0.33
    assert lines["perfect model, 95 %"][0] == pytest.approx(0.52**0.5)
    (band,) = rho.patches
    assert band.get_y() == pytest.approx(0.08**0.5)
    assert band.get_y() + band.get_height() == pytest.approx(0.78**0.5)
    low, high = rho.get_ylim()
    assert low < 0.08**0.5
    assert high > 0.78**0.5
    odd = panels["odd-one-out, validation"]
    chance = {line.get_label(): line.get_ydata()[0] for line in odd.get_lines() if "chance" in line.get_label()}
    assert chance == {"chance, two-way": 1 / 2, "chance, three-way": 1 / 3}
    kept = [line.get_xdata() for line in odd.get_lines() if line.get_linestyle() == ":"]
    assert [list(x) for x in kept] == [[3, 3]]
    for title in ("rho, validation", "odd-one-out, validation"):
        assert "epoch kept" in entries(panels[title])


def test_several_seeds_are_drawn_together(monkeypatch):
    panels = labels(monkeypatch, [curve(("soft",), 2), curve(("soft",), 4)], "rho", evaluation=evaluation())
    drawn = [line for line in panels["soft loss, training"].get_lines() if line.get_linestyle() == "-"]
    assert [line.get_xdata().tolist() for line in drawn] == [[1, 2], [1, 2, 3, 4]]
    assert "adapter, 2 seeds" in entries(panels["rho, validation"])


def test_epochs_kept_by_several_seeds_are_one_entry(monkeypatch):
    panels = labels(monkeypatch, [curve(("soft",), k, validated=False) for k in (2, 4)], None)
    assert entries(panels["soft loss, training"]) == ["epochs kept"]


def test_a_fitted_transform_has_no_epochs(monkeypatch):
    panels = labels(monkeypatch, [curve((), 0)], "rho", evaluation=evaluation())
    assert list(panels) == ["rho, validation", "odd-one-out, validation"]
    for axes in panels.values():
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [0]
        assert low == -high
        assert "epoch kept" not in entries(axes)


@pytest.mark.parametrize(
    ("rows", "select", "titles"),
    [
        (curve(("soft",), 2, validated=False), None, ["soft loss, training"]),
        (curve(("soft",), 0), "rho", ["rho, validation", "odd-one-out, validation"]),
        ([{**row, "rho": None, "two_way": None, "three_way": None} for row in curve(("soft",), 1)], "rho",
         ["soft loss, training"]),
    ],
)  # fmt: skip
def test_what_was_not_measured_has_no_panel(rows, select, titles, monkeypatch):
    assert list(labels(monkeypatch, [rows], select)) == titles


def test_without_reliability_there_is_no_band(monkeypatch):
    nan = float("nan")
    panels = labels(monkeypatch, [curve(("soft",), 1)], "rho", evaluation=evaluation(ceiling=Ceiling(nan, (nan, nan))))
    assert not panels["rho, validation"].patches
    assert "perfect model, 95 %" not in {line.get_label() for line in panels["rho, validation"].get_lines()}
