import json

import numpy as np
import pyarrow.csv
import pytest

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.read import read
from vidsim.data.simulate import planted_rsm, shown, simulate
from vidsim.embeddings import Embeddings
from vidsim.rsm import RSM, cosine_rsm
from vidsim.store import Entry, Store

COLUMNS = ["participant", "session", "trial", "stim1", "stim2", "stim3", "choice", "response_time"]


def test_trials_of_a_random_geometry_come_back_through_the_importer(vidsim, tmp_path):
    out = tmp_path / "trials.csv"
    options = ("--stimuli", 12, "--dims", 3, "--trials", 500, "--participants", 4, "--lapse", 0.1, "--seed", 3)
    status, text, err = vidsim("judgments", "simulate", *options, "--out", out, "--json")
    assert (status, err, text.count("\n")) == (0, "", 1)
    facts = json.loads(text)
    expected = {"trials": 500, "stimuli": 12, "participants": 4, "temperature": 0.35, "lapse": 0.1, "out": str(out)}
    assert {key: facts[key] for key in expected} == expected
    assert pyarrow.csv.read_csv(out).column_names == COLUMNS
    drawn = simulate(planted_rsm(12, 3, 3), trials=500, temperature=0.35, lapse=0.1, participants=4, seed=3)
    found = read(out).judgments
    assert {defect.kind for defect in found.defects} <= {"repeated"}
    places = np.array(drawn.ids)[shown(drawn)]
    assert np.array_equal(np.array(found.ids)[shown(found)], places)
    assert np.array_equal(np.array(found.ids)[found.rows], np.array(drawn.ids)[drawn.rows])
    for name in ("participant", "session", "trial", "position"):
        assert found.details[name].to_pylist() == drawn.details[name].to_pylist()
    assert np.isnan(found.response_time).all()


def test_judgments_are_kept_by_name(vidsim, tmp_path):
    root = tmp_path / "root"
    options = ("--stimuli", 8, "--trials", 40, "--name", "judges", "--root", root)
    status, out, err = vidsim("judgments", "simulate", *options)
    assert (status, err) == (0, "")
    assert "40 trials of 8 stimuli by 1 participant at" in out
    kept = Judgments.from_table(Store(root).judgments["judges"])
    drawn = simulate(planted_rsm(8, 5), trials=40, temperature=0.35)
    assert np.array_equal(kept.rows, drawn.rows)
    assert kept.source == drawn.source
    status, _, err = vidsim("judgments", "simulate", *options)
    assert status == 2
    assert "the name 'judges' is taken by judgments" in err
    assert vidsim("judgments", "simulate", *options, "--force", "--seed", 1)[0] == 0
    assert not np.array_equal(Judgments.from_table(Store(root).judgments["judges"]).rows, drawn.rows)


def test_a_model_is_a_stored_matrix_or_a_layer(vidsim, tmp_path):
    root = tmp_path / "root"
    store = Store(root, create=True)
    matrix = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    table = store.create("enc", {}, {"blocks.1": 3}, default_layer="blocks.1", versions={})
    ids = tuple(f"clip:{i}" for i in range(7))
    table.write([Entry(i, f"/{i}", i) for i in ids], {"blocks.1": matrix})
    rsm = cosine_rsm(Embeddings(ids, matrix))
    store.rsms.put("by hand", rsm.table())
    expected = simulate(rsm, trials=60, temperature=0.1, seed=2).rows
    for name in ("enc:blocks.1", "by hand"):
        options = ("--model", name, "--trials", 60, "--temperature", 0.1, "--seed", 2, "--name", f"from {name}")
        status, _, err = vidsim("judgments", "simulate", *options, "--root", root)
        assert (status, err) == (0, "")
        kept = Judgments.from_table(store.judgments[f"from {name}"])
        assert kept.ids == ids
        assert np.array_equal(kept.rows, expected)
    holed = RSM(("a", "b", "c"), np.array([[1, 0.5, np.nan], [0.5, 1, 0.5], [np.nan, 0.5, 1]]))
    store.rsms.put("holed", holed.table())
    for name, message in (("holed", "1 of 3 pairs"), ("non", "there are: enc, by hand, holed"), ("enc:x", "blocks.1")):
        options = ("--model", name, "--trials", 60, "--temperature", 0.1, "--name", "x", "--root", root)
        status, out, err = vidsim("judgments", "simulate", *options)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "x"), "either --model, or --stimuli"),
        (("--name", "x", "--model", "m", "--stimuli", 9), "either --model, or --stimuli"),
        (("--stimuli", 9), "nothing would be kept"),
        (("--model", "m", "--name", "x"), "needs --temperature"),
        (("--stimuli", 9, "--out", "x.txt"), "ends in .csv"),
        (("--stimuli", 9, "--out", "none/x.csv"), "no folder"),
        (("--stimuli", 2, "--out", "x.csv"), "--stimuli"),
        (("--stimuli", 9, "--out", "x.csv", "--temperature", "nan"), "'--temperature': Input should be"),
        (("--stimuli", 9, "--out", "x.csv", "--participants", 99), "participants is 99"),
        (("--stimuli", 9, "--out", "x.csv", "--lapse", 2), "--lapse"),
        (("--stimuli", 9, "--name", " "), "--name is empty"),
    ],
)
def test_what_cannot_be_simulated_is_said_in_one_line(vidsim, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = vidsim("judgments", "simulate", "--trials", 50, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert list(tmp_path.iterdir()) == []
