import pytest

from vidsim.report.calibration import TABLE, notes, reliability_plot, score_rows


def scored(shift, interval=(0.02, 0.05)):
    curve = [
        {"confidence": x, "right": x + shift, "interval": [x + shift - 0.05, x + shift + 0.05], "trials": 100}
        for x in (0.4, 0.6, 0.8)
    ]
    ends = list(interval)
    return {"nll": 0.9, "nll_interval": ends, "ece": 0.03, "ece_interval": ends, "ece_noise": 0.01, "curve": curve}


ANSWER = {
    "temperature": 0.1824,
    "interval": [0.17, 0.2],
    "held_out": [0.16, 0.21],
    "stimuli": 200,
    "trials": 24096,
    "split": None,
    "accuracy": 0.59,
    "accuracy_interval": [0.57, 0.61],
    "chance": {"nll": 1.0986, "accuracy": 1 / 3},
    "calibrated": scored(0.01),
    "uncalibrated": scored(0.1),
    "gain": 0.13,
    "gain_interval": [0.11, 0.15],
    "resamples": 100,
}
NONE = [None, None]
UNKNOWN = ANSWER | {
    "interval": NONE,
    "accuracy_interval": NONE,
    "gain_interval": NONE,
    "resamples": 0,
    "calibrated": scored(0.01, NONE) | {"curve": [{"confidence": 0.5, "right": 0.2, "interval": NONE, "trials": 9}]},
}


def test_the_table_has_a_cell_for_every_column():
    rows = score_rows(ANSWER)
    assert [len(row) for row in rows] == [1 + len(TABLE)] * 3
    assert rows[0] == ("calibrated", "0.9000", "0.020 to 0.050", "0.0300", "0.020 to 0.050", "0.0100")
    assert rows[2][:2] == ("chance", "1.0986")


def test_notes_say_what_the_numbers_are_of():
    text = "\n".join(notes(ANSWER))
    assert "temperature 0.1824 (95 % 0.1700 to 0.2000), fitted to 24,096 trials of 200 stimuli (split all)" in text
    assert "fitted to trials of other stimuli" in text
    assert "95 % 0.1700 or more" in notes(ANSWER | {"interval": [0.17, None]})[0]
    assert "None" not in "\n".join(notes(UNKNOWN))
    assert "95 %" not in "\n".join(notes(UNKNOWN))


@pytest.mark.parametrize("answer", [ANSWER, UNKNOWN])
def test_the_plot_shows_both_beside_chance(answer):
    drawing = reliability_plot(answer, "svg").decode()
    for label in ("perfect", "chance", "temperature 1: ECE 0.030", "temperature 0.182, held out: ECE 0.030"):
        assert label in drawing
    assert reliability_plot(answer).startswith(b"\x89PNG")


def test_points_lie_at_confidence_and_share(monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda axes, x, y, *style, **more: drawn.append((x, y)) or [])
    reliability_plot(ANSWER)
    assert ([0.4, 0.6, 0.8], [0.5, 0.7, 0.9]) in [
        (x, [round(value, 6) for value in y]) for x, y in drawn if len(x) == 3
    ]
    assert [[0.4, 0.4], [0.45, 0.55]] in [[x, [round(end, 6) for end in y]] for x, y in drawn]
