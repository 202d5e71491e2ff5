import csv
import io
import re

import pytest

from vidsim.report.alignment import (
    TABLE,
    accuracies_plot,
    alignment_csv,
    alignment_page,
    comparison_rows,
    layers_plot,
    models_plot,
    notes,
    table_rows,
)


def encoder(name, rho, *, layer="block.1", published=None, curve=None):
    accuracies = {"three_way": 0.5, "two_way": 0.6, "two_way_first": 0.61, "two_way_second": 0.59}
    intervals = {"rho": [rho - 0.1, rho + 0.1], "rho2": [0, 0.2], "rho_a": [rho - 0.1, rho + 0.1]}
    return {
        "encoder": name,
        "layer": layer,
        "layer_choice": "cross-validated",
        "rho": rho,
        "rho2": rho**2,
        "rho_a": rho,
        **accuracies,
        "intervals": {**intervals, **{k: [v - 0.05, v + 0.05] for k, v in accuracies.items()}},
        "interval": intervals["rho"],
        "p_value": 0.01,
        "p_corrected": 0.02,
        "published": published,
        "curve": curve,
        "curve_error": None if curve is None else dict.fromkeys(curve, 0.01),
        "pairs": 1000,
        "trials": 400,
        "split": "test",
        "context": "split",
        "protocol": "default",
    }


CURVE = {"block.0": 0.1, "block.1": 0.3, "head": None}
ANSWER = {
    "encoders": [
        encoder("good", 0.4, published={"rho2": 0.12}, curve=CURVE),
        encoder("poor & <b>", -0.2, layer=None),
    ],
    "compared": [
        {
            "first": "good",
            "second": "poor & <b>",
            "statistic": "three_way",
            "difference": 0.1,
            "interval": [0.02, 0.18],
            "p_value": 0.004,
            "p_corrected": 0.0004,
            "interval_corrected": [0.01, 0.19],
            "mcnemar": None,
        }
    ],
    "reliability": 0.49,
    "reliability_interval": [0.4, 0.6],
    "reliability_method": "trials",
    "agreement": 0.55,
    "agreement_interval": [0.5, 0.6],
    "chance": {"three_way": 1 / 3, "two_way": 0.5, "two_way_first": 0.5, "two_way_second": 0.5},
    "stimuli": 50,
    "judgments": "lab",
    "over": "both",
    "participants": 20,
    "curves": {"split": "train", "reliability": 0.5, "reliability_interval": [0.45, 0.55]},
    "resamples": 1000,
    "seed": 0,
}
UNKNOWN = ANSWER | {
    "encoders": [
        encoder("good", 0.4)
        | {"interval": [None, None], "intervals": {name: [None, None] for name in ("rho", "three_way", "two_way")}}
    ],
    "reliability": None,
    "reliability_interval": None,
    "agreement": None,
    "curves": None,
    "compared": [],
    "resamples": 0,
}


def test_the_table_has_a_cell_for_every_column():
    rows = table_rows(ANSWER)
    assert [len(row) for row in rows] == [2 + len(TABLE)] * 2
    good = dict(zip(TABLE, rows[0][2:], strict=True))
    assert (good["rho2"], good["paper rho2"], good["p corrected"]) == ("0.1600", "0.1200", "0.020")
    assert good["95 %"] == "0.300 to 0.500"
    assert rows[1][1] == ""
    assert comparison_rows(ANSWER)[0][1:] == ("three-way", "+0.1000", "+0.020 to +0.180", "0.004", "< 0.001", "-")


def test_notes_say_what_the_numbers_are_of():
    text = "\n".join(notes(ANSWER))
    assert "split test, context split, protocol default: 1,000 pairs of 50 stimuli, 400 trials" in text
    assert "r_SB 0.490 (0.400 to 0.600)" in text
    assert "other people would give on other stimuli" in text
    votes = notes(ANSWER | {"reliability_method": "votes", "reliability_squared": 0.24})
    assert "shuffled votes (squared, as the paper reports it, 0.240)" in votes[1]
    assert "intervals" not in "\n".join(notes(UNKNOWN))


def test_plots_show_values_where_they_are():
    drawing = models_plot(ANSWER, "svg").decode()
    for label in ("good", "poor &amp; &lt;b&gt;", "this sample", "paper, its test videos"):
        assert label in drawing
    assert "three-way, chance" in accuracies_plot(ANSWER)
    curves = layers_plot(ANSWER).decode()
    assert "Depth of the layer" in curves
    assert "split 'train'" in curves
    assert models_plot(ANSWER).startswith(b"\x89PNG")


def test_points_lie_at_signed_squares(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "vidsim.report.alignment.points", lambda axes, values, ends, *places, **more: seen.append((values, ends))
    )
    models_plot(ANSWER)
    values, ends = seen[0]
    assert values == pytest.approx([0.16, -0.04])
    assert ends[1] == pytest.approx([-0.09, -0.01])


def test_what_is_not_known_is_left_out():
    page = alignment_page(UNKNOWN).html()
    assert page.count("<svg") == 2
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)


def test_the_page_needs_no_network_and_escapes_names():
    page = alignment_page(ANSWER).html()
    assert page.count("<svg") == 3
    outside = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert "http" not in outside
    assert "poor &amp; &lt;b&gt;" in outside
    assert "<b>poor" not in outside


def test_the_csv_holds_every_interval():
    first, second = csv.DictReader(io.StringIO(alignment_csv(ANSWER).decode()))
    assert (first["encoder"], float(first["rho_low"]), first["published_rho2"]) == ("good", pytest.approx(0.3), "0.12")
    assert (second["layer"], second["published_rho2"], second["two_way_second_high"]) == ("", "", "0.64")
    assert (first["over"], first["reliability"], first["split"]) == ("both", "0.49", "test")
