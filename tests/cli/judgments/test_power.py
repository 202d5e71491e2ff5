import json

import numpy as np
import pytest
from PIL import Image

from vidsim.analysis.pilot import pilot
from vidsim.analysis.power import power
from vidsim.data.simulate import planted_rsm, simulate
from vidsim.report.power import power_plot
from vidsim.store import Store


def test_a_plan_for_a_random_geometry(vidsim, tmp_path):
    plot = tmp_path / "plan.png"
    options = ("--stimuli", 20, "--dims", 3, "--trials", "1000,100", "--alignment", "0.5,0.2", "--simulations", 4)
    status, text, err = vidsim("judgments", "power", *options, "--plot", plot, "--json")
    assert (status, err, text.count("\n")) == (0, "", 1)
    facts = json.loads(text)
    expected = power(planted_rsm(20, 3), trials=[100, 1000], temperature=0.35, alignments=(0.2, 0.5), simulations=4)
    assert (facts["stimuli"], facts["pairs_total"], facts["temperature"], facts["from"]) == (20, 190, 0.35, None)
    assert [row["trials"] for row in facts["rows"]] == [100, 1000]
    for row, outlook in zip(facts["rows"], expected.outlooks, strict=True):
        assert row["pairs"] == outlook.pairs
        assert row["judgments_per_pair"] == outlook.judgments_per_pair
        assert row["reliability"] == vars(outlook.reliability)
        assert row["perfect"] == vars(outlook.perfect)
        assert [a["true"] for a in row["alignments"]] == [0.2, 0.5]
        assert [a["measured"] for a in row["alignments"]] == [vars(a.measured) for a in outlook.alignments]
    assert plot.read_bytes() == power_plot(expected)
    with Image.open(plot) as image:
        assert image.size == (1050, 660)
        assert {(0, 114, 178), (213, 94, 0)} <= {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}
    status, text, err = vidsim("judgments", "power", *options)
    assert (status, err) == (0, "")
    assert f"{expected.outlooks[1].reliability.mean:.3f} [" in text
    assert "true 0.5" in text


def test_a_plan_from_a_pilot(vidsim, tmp_path):
    judgments = simulate(planted_rsm(20, 3), trials=800, temperature=0.3)
    Store(tmp_path, create=True).judgments.put("pilot", judgments.table())
    options = ("--from", "pilot", "--dims", 3, "--trials", "2000", "--alignment", "", "--simulations", 2)
    status, text, err = vidsim("judgments", "power", *options, "--root", tmp_path, "--json")
    assert (status, err) == (0, "")
    facts = json.loads(text)
    planned = pilot(judgments.triplets, 3)
    assert facts["temperature"] == planned.temperature
    assert facts["pilot"] == {"trials": 800, "reliability": planned.reliability, "matched": True}
    expected = power(planned.rsm, trials=[2000], temperature=planned.temperature, alignments=(), simulations=2)
    assert facts["rows"][0]["reliability"] == vars(expected.outlooks[0].reliability)
    assert facts["rows"][0]["alignments"] == []


def test_one_simulation_has_no_interval(vidsim, tmp_path):
    options = ("--stimuli", 20, "--trials", "1000,3000", "--alignment", "0.5", "--simulations", 1)
    status, text, err = vidsim("judgments", "power", *options, "--plot", tmp_path / "plan.png")
    assert (status, err) == (0, "")
    assert "[" not in text
    assert "; one simulation, so no intervals\n" in text
    status, text, _ = vidsim("judgments", "power", *options, "--json")
    for row in json.loads(text)["rows"]:
        for spread in (row["reliability"], row["perfect"], row["alignments"][0]["measured"]):
            assert spread["mean"] > 0
            assert (spread["low"], spread["high"]) == (None, None)
    several = vidsim("judgments", "power", *options[:-1], 2)[1]
    assert "; means and 95 % of 2 simulations\n" in several
    assert "[" in several


def test_what_is_unknown_is_null_and_draws_nothing(vidsim, tmp_path):
    plot = tmp_path / "plan.png"
    options = ("--stimuli", 50, "--trials", "2", "--simulations", 2, "--plot", plot, "--json")
    status, text, err = vidsim("judgments", "power", *options)
    assert (status, err) == (0, "")
    row = json.loads(text)["rows"][0]
    assert row["reliability"] == {"mean": None, "low": None, "high": None}
    assert np.asarray(Image.open(plot)).std() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "either --stimuli for a random geometry, or --from"),
        (("--stimuli", 20, "--from", "x"), "either --stimuli for a random geometry, or --from"),
        (("--stimuli", 20, "--trials", "10,x"), "--trials '10,x': expected whole numbers from 1 to 100,000,000"),
        (("--stimuli", 20, "--trials", ""), "--trials ''"),
        (("--stimuli", 20, "--trials", "0"), "--trials '0'"),
        (("--stimuli", 20, "--trials", "9" * 5000), "expected whole numbers"),
        (("--stimuli", 20, "--alignment", "1.5"), "--alignment '1.5': expected numbers from 0 to 1"),
        (("--stimuli", 20, "--alignment", "nan"), "--alignment 'nan'"),
        (("--stimuli", 20, "--plot", "x.gif"), "--plot 'x.gif': expected a name that ends in .png"),
        (("--stimuli", 20, "--lapse", 1), "equally similar"),
        (("--from", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_planned_is_said_in_one_line(vidsim, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = vidsim("judgments", "power", *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []
