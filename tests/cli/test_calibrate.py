import json
import shlex

import numpy as np
import pytest

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.retrieval.calibration import read
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from judges import choices, odd_last, unit_points

IDS = tuple(f"clip {number}.mp4" for number in range(36))
UNIT = unit_points(36)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A store with judgments at temperature .25 of an encoder's layer, and one that nobody's choices follow."""
    place = tmp_path_factory.mktemp("calibrated") / "root"
    store = Store(place, create=True)
    rows, _, odd = choices(UNIT, 3000, 0.25, seed=5)
    store.judgments.put("lab", Judgments.of(Triplets((*IDS, "unstored"), odd_last(rows, odd).astype(np.int32))).table())
    few = odd_last(rows[:60], odd[:60]).astype(np.int32)
    store.judgments.put("few", Judgments.of(Triplets(IDS, few)).table())
    stimuli = (Stimulus(name, split="train" if k < 28 else "test") for k, name in enumerate(IDS))
    store.stimuli.put("lab", StimulusSet(tuple(stimuli)).table())
    layers = {"a": 4, "b": 4, "flat": 4}
    identity = {"family": "image", "weights": "1"}
    table = store.create("net", identity, layers, default_layer="b", versions={})
    # the table's order is another than the judgments'
    vectors = {"a": UNIT[::-1], "b": 3 * UNIT[::-1], "flat": np.ones_like(UNIT)}
    table.write([Entry(name, "", "x") for name in IDS[::-1]], {k: v.astype(np.float32) for k, v in vectors.items()})
    return place


def test_the_temperature_of_observers_is_recovered_and_kept(vidsim, root):
    status, out, err = vidsim("calibrate", "net", "--judgments", "lab", "--resamples", 50, "--root", root, "--json")
    assert (status, err, out.count("\n")) == (0, "", 1)
    answer = json.loads(out)
    assert answer["temperature"] == pytest.approx(0.25, rel=0.1)
    assert answer["interval"][0] < answer["temperature"] < answer["interval"][1]
    assert (answer["layer"], answer["stimuli"], answer["trials"], answer["split"]) == ("b", 36, 3000, None)
    assert answer["calibrated"]["ece"] < 0.05 < answer["uncalibrated"]["ece"]
    assert answer["calibrated"]["nll"] < answer["uncalibrated"]["nll"] < answer["chance"]["nll"]
    assert answer["chance"]["nll"] == pytest.approx(np.log(3))
    kept = read(str(root), "net", "b")
    assert answer["file"] == str(root / "calibration" / "net" / "b.json")
    assert (kept.temperature, kept.trials, kept.judgments, kept.split) == (answer["temperature"], 3000, "lab", None)
    assert (kept.nll, kept.ece) == (answer["calibrated"]["nll"], answer["calibrated"]["ece"])
    assert kept.identity == dict(Store(root).tables("net")[0].identity)
    assert {"vidsim", "numpy", "scipy"} <= set(kept.versions)


def test_a_split_a_layer_and_a_plot(vidsim, root, tmp_path):
    plot = tmp_path / "a.png"
    asked = ("calibrate", "net:a", "--judgments", "lab", "--split", "train", "--resamples", 20, "--root", root)
    status, out, err = vidsim(*asked, "--plot", plot)
    assert (status, err) == (0, "")
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert out.splitlines()[-2:] == [str(plot), str(root / "calibration" / "net" / "a.json")]
    assert "trials of 28 stimuli (split train)" in out
    assert read(str(root), "net", "a").split == "train"
    status, out, err = vidsim(*asked, "--plot", plot)
    assert (status, out) == (2, "")
    assert "exists already; --force replaces it" in err


def test_the_advised_command_lifts_the_refusal_of_other_captions(vidsim, tmp_path):
    place = tmp_path / "root"
    store = Store(place, create=True)
    rows, _, odd = choices(UNIT, 1000, 0.25)
    store.judgments.put("lab", Judgments.of(Triplets(IDS, odd_last(rows, odd).astype(np.int32))).table())
    for captions in ("mean", "first"):
        identity = {"family": "sentence", "features": {"captions": captions}}
        table = store.create("text", identity, {"x": 4}, default_layer="x", versions={})
        table.write([Entry(name, "", "x") for name in IDS], {"x": UNIT.astype(np.float32)})
    calibrate = ("calibrate", "text", "--judgments", "lab", "--resamples", 0, "--root", place)
    ask = ("oddoneout", *IDS[:3], "--encoder", "text", "--captions", "first", "--root", place)
    label = ("label", "text", "-n", 10, "--captions", "first", "--out", tmp_path / "labels", "--root", place)
    for verb in ((*ask, "--abstain", 0.5), label):
        assert f"--judgments NAME --captions first --root {place}" in vidsim(*verb)[2]
    assert f"--judgments NAME --captions first --root {place}" in vidsim(*ask)[1]
    assert vidsim(*calibrate)[::2] == (0, "")
    for verb in (ask, label):
        status, out, err = vidsim(*verb)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert "was made from embeddings of --captions mean, not first; make it again: " in err
    command = shlex.split(err.partition("again: vidsim ")[2])
    told = "vidsim: this replaces the calibration of text x that was made from --captions {}; a layer has one\n"
    assert vidsim(*command)[::2] == (0, told.format("mean"))
    assert vidsim(*command)[::2] == (0, "")
    assert [vidsim(*verb)[0] for verb in (ask, label)] == [0, 0]
    assert vidsim(*calibrate)[::2] == (0, told.format("first"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nett", "--judgments", "lab"), "no encoder 'nett' in the store; did you mean 'net'?"),
        (("net:c", "--judgments", "lab"), "'net' has no layer 'c'"),
        (("net", "--judgments", "laab"), "did you mean 'lab'?"),
        (("net", "--judgments", "lab", "--split", "dev"), "have no split 'dev'"),
        (("net:flat", "--judgments", "lab"), "similarities predict choices no better than chance"),
        (("net", "--judgments", "few"), "60 trials of"),
        (("net", "--judgments", "lab", "--plot", "a.pdf"), "expected a name that ends in .png or .svg"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(vidsim, root, arguments, message):
    before = sorted(path.stat().st_mtime_ns for path in root.rglob("*.json"))
    status, out, err = vidsim("calibrate", *arguments, "--root", root)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert sorted(path.stat().st_mtime_ns for path in root.rglob("*.json")) == before


def test_a_stimulus_that_is_not_stored_is_named(vidsim, root):
    store = Store(root)
    rows, _, odd = choices(unit_points(37), 2000, 0.25)
    more = Triplets((*IDS, "new.mp4"), odd_last(rows, odd).astype(np.int32))
    store.judgments.put("more", Judgments.of(more).table())
    status, out, err = vidsim("calibrate", "net", "--judgments", "more", "--root", root)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "'net:b' lacks 1 of 37 stimuli, the first is 'new.mp4'" in err


def test_an_empty_root_is_told(vidsim, tmp_path):
    status, out, err = vidsim("calibrate", "net", "--judgments", "lab", "--root", tmp_path / "none")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_predictions_are_not_what_people_chose(vidsim, root, tmp_path):
    place = ("--root", root)
    assert vidsim("calibrate", "net", "--judgments", "lab", "--resamples", 2, *place)[0] == 0
    kept = read(str(root), "net", "b")
    assert vidsim("label", "net", "--out", tmp_path / "labels", "-n", 200, *place)[0] == 0
    labels = tmp_path / "labels" / "triplets.parquet"
    status, out, err = vidsim("calibrate", "net", "--judgments", labels, *place)
    assert (status, out) == (2, "")
    expected = f"vidsim: '{labels}' holds predictions of a model; a temperature is fitted to judgments of people"
    assert err.splitlines()[-1] == expected
    assert read(str(root), "net", "b") == kept
