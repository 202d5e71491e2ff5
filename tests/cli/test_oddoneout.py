import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from vidsim.retrieval.calibration import Calibration, read
from vidsim.retrieval.indexes import load
from vidsim.store import Entry, Store

THREE = ("clip 0.mp4", "clip 3.mp4", "clip 5")
LAYER = "combined"


@pytest.fixture(scope="module")
def root(clips, tmp_path_factory):
    from vidsim.cli import main

    place = tmp_path_factory.mktemp("odd")
    with pytest.raises(SystemExit) as stop:
        main(["index", str(clips), "--encoder", "motion-energy", "--root", str(place)])
    assert stop.value.code in {0, None}
    return place


@pytest.fixture
def calibrated(root, tmp_path):
    """A copy of the root, with a calibration of its index."""
    place = tmp_path / "calibrated"
    shutil.copytree(root, place)
    identity = load(str(place), "motion-energy", LAYER).manifest["provenance"]["identity"]
    facts = {
        "judgments": "lab",
        "split": "val",
        "trials": 900,
        "nll": 0.9,
        "ece": 0.01,
        "created": "2030",
        "versions": {},
    }
    Calibration("motion-energy", LAYER, 0.1, identity=identity, **facts).write(str(place))
    return place


def ask(vidsim, root, *arguments):
    status, out, err = vidsim("oddoneout", *arguments, "--root", root, "--json")
    assert (status, err, out.count("\n")) == (0, "", 1)
    return json.loads(out)


def by_hand(root, temperature):
    index = load(str(root), "motion-energy", LAYER)
    a, b, c = (index.vector(index.find("id", f"{name.removesuffix('.mp4')}.mp4")).astype(np.float64) for name in THREE)
    others = np.array([b @ c, a @ c, a @ b])
    return others, softmax(others / temperature)


def test_the_odd_one_is_outside_the_most_similar_pair(vidsim, calibrated):
    answer = ask(vidsim, calibrated, *THREE)
    others, chances = by_hand(calibrated, 0.1)
    assert [s["id"] for s in answer["stimuli"]] == ["clip 0.mp4", "clip 3.mp4", "clip 5.mp4"]
    assert [s["probability"] for s in answer["stimuli"]] == pytest.approx(chances, abs=1e-6)
    assert answer["odd"] == answer["stimuli"][int(np.argmax(others))]["id"]
    assert [s["rank"] for s in answer["stimuli"]] == (1 + np.argsort(np.argsort(-others))).tolist()
    assert [pair["similarity"] for pair in answer["similarities"]] == pytest.approx(others[::-1], abs=1e-6)
    assert answer["similarities"][1]["pair"] == ["clip 0.mp4", "clip 5.mp4"]
    assert (answer["temperature"], answer["temperature_from"]["judgments"]) == (0.1, "lab")
    told = vidsim("oddoneout", *THREE, "--root", calibrated)[1]
    assert "temperature 0.1000, calibrated on lab, split val (900 trials, 2030); motion-energy combined" in told
    turned = ask(vidsim, calibrated, *THREE[::-1])
    assert turned["odd"] == answer["odd"]
    given = ask(vidsim, calibrated, *THREE, "--temperature", 2)
    assert [s["probability"] for s in given["stimuli"]] == pytest.approx(by_hand(calibrated, 2)[1], abs=1e-6)
    assert given["temperature_from"] == "given"


def test_captions_are_those_of_the_index(vidsim, root, tmp_path):
    place = tmp_path / "captioned"
    shutil.copytree(root, place)
    (file,) = place.glob("faiss/motion-energy/*/manifest.json")
    manifest = json.loads(file.read_text())
    manifest["provenance"]["identity"]["features"]["captions"] = "mean"
    file.write_text(json.dumps(manifest))
    plain = ask(vidsim, place, *THREE)
    assert ask(vidsim, place, *THREE, "--captions", "mean") == plain
    status, out, err = vidsim("oddoneout", *THREE, "--captions", "first", "--root", place)
    assert (status, out) == (2, "")
    assert err == (
        "vidsim: the index of motion-energy combined is of --captions mean, not first; leave --captions out, or build "
        "it again with them: vidsim index\n"
    )
    assert ask(vidsim, root, *THREE, "--captions", "first")["odd"] == plain["odd"]  # it reads none


def test_without_a_calibration_there_are_ranks_and_the_way_to_one(vidsim, root):
    answer = ask(vidsim, root, *THREE)
    assert (answer["temperature"], answer["temperature_from"]) == (None, None)
    assert {s["probability"] for s in answer["stimuli"]} == {None}
    assert answer["odd"] is not None
    status, out, err = vidsim("oddoneout", *THREE, "--root", root)
    assert (status, err) == (0, "")
    assert "no calibration of motion-energy combined, so no probabilities; make one: vidsim calibrate motion-" in out


def test_below_a_confidence_it_abstains(vidsim, calibrated):
    highest = by_hand(calibrated, 0.1)[1].max()
    sure = ask(vidsim, calibrated, *THREE, "--abstain", highest - 0.001)
    unsure = ask(vidsim, calibrated, *THREE, "--abstain", min(1, highest + 0.001))
    assert (sure["abstained"], unsure["abstained"]) == (False, True)
    assert (sure["odd"] is None, unsure["odd"] is None) == (False, True)
    assert unsure["stimuli"] == sure["stimuli"]
    status, out, _ = vidsim("oddoneout", *THREE, "--abstain", 1, "--root", calibrated)
    assert status == 0
    assert out.startswith("abstains: the likeliest (")


def test_a_clip_that_is_not_indexed_is_encoded(vidsim, calibrated, clips, tmp_path):
    twin = tmp_path / "twin.mp4"  # the same frames in another file: other bytes, the same embedding
    twin.write_bytes((clips / "clip 5.mp4").read_bytes() + b"\0\0\0\x08free")
    answer, same = ask(vidsim, calibrated, *THREE[:2], twin), ask(vidsim, calibrated, *THREE)
    assert [s["probability"] for s in answer["stimuli"]] == pytest.approx(
        [s["probability"] for s in same["stimuli"]], abs=1e-4
    )
    assert answer["stimuli"][2]["id"] == str(twin)
    copy = tmp_path / "copy.mp4"
    shutil.copy(twin, copy)
    status, out, err = vidsim("oddoneout", twin, "clip 1", copy, "--root", calibrated)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "are the same stimulus" in err


def test_ids_import_neither_torch_nor_lancedb(calibrated):
    code = f"""
import sys
from vidsim.cli import main
try:
    main(["oddoneout", *{THREE!r}, "--root", {str(calibrated)!r}, "--json"])
except SystemExit as stop:
    assert not stop.code
print([m for m in ("torch", "lancedb", "transformers") if m in sys.modules], file=sys.stderr)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stderr == "[]\n"
    assert json.loads(out.stdout)["odd"]


@pytest.fixture
def stored(tmp_path):
    """A store of an encoder that has no index."""
    store = Store(tmp_path / "root", create=True)
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [0, 0], [0, 1]], np.float32)
    table = store.create("net", {"family": "image"}, {"x": 2, "y": 2}, default_layer="x", versions={})
    swapped = vectors[[2, 1, 0, 3, 4]]
    table.write([Entry(i, "", "x") for i in ("a", "b", "c", "zero", "c2")], {"x": vectors, "y": swapped})
    return tmp_path / "root"


def test_stored_embeddings_do_without_an_index(vidsim, stored):
    answer = ask(vidsim, stored, "a", "b", "c", "-e", "net")
    assert (answer["odd"], answer["from"], answer["layer"]) == ("c", "store", "x")
    assert ask(vidsim, stored, "c", "b", "c2", "-e", "net")["odd"] == "b"
    other = ask(vidsim, stored, "a", "b", "c", "-e", "net", "--layer", "y")
    assert (other["odd"], other["layer"]) == ("a", "y")


def test_a_tie_is_undecided(vidsim, stored):
    store = Store(stored)
    table = store.create("square", {"family": "image"}, {"x": 3}, default_layer="x", versions={})
    table.write([Entry(i, "", "x") for i in "abc"], {"x": np.eye(3, dtype=np.float32)})
    answer = ask(vidsim, stored, "a", "b", "c", "-e", "square", "--temperature", 1)
    assert (answer["odd"], [s["rank"] for s in answer["stimuli"]]) == (None, [1, 1, 1])
    assert [s["probability"] for s in answer["stimuli"]] == pytest.approx([1 / 3] * 3)
    status, out, _ = vidsim("oddoneout", "a", "b", "c", "-e", "square", "--root", stored)
    assert (status, out.splitlines()[0]) == (0, "undecided: 3 pairs are equally similar, and more so than any other")


def test_a_calibration_of_other_embeddings_is_refused(vidsim, calibrated):
    made = read(str(calibrated), "motion-energy", LAYER)
    replace(made, identity={**made.identity, "weights": "other"}).write(str(calibrated))
    status, out, err = vidsim("oddoneout", *THREE, "--root", calibrated)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "was made from other embeddings" in err
    assert "vidsim calibrate motion-energy:combined --judgments lab" in err
    assert ask(vidsim, calibrated, *THREE, "--temperature", 1)["odd"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("clip 0", "clip 1", "clip 1.mp4"), "'clip 1' and 'clip 1.mp4' are the same stimulus; expected three"),
        (("clip 0", "clip 1", "clip 11.mp4"), "'clip 11.mp4' is neither an indexed id nor a video file; the nearest"),
        (("clip 0", "clip 1", "clip 2", "--abstain", 0.5), "--abstain needs probabilities, and there is no"),
        (("clip 0", "clip 1", "clip 2", "--temperature", 0), "the temperature is 0: expected a number from"),
        (("clip 0", "clip 1", "clip 2", "--encoder", "x3d-m"), "no embeddings of 'x3d-m'"),
        (("clip 0", "clip 1", "clip 2", "--layer", "zz"), "no index of zz"),
        (("clip 0", "clip 1", "clip 2", "--abstain", 2), "--abstain"),
        (("clip 0", "clip 1", "bad\udcff"), "neither an indexed id nor a video file"),
    ],
)
def test_mistakes_are_one_line(vidsim, root, arguments, message):
    status, out, err = vidsim("oddoneout", *arguments, "--root", root)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", "b", "d", "-e", "net"), "'d' has no embedding of net x in the store"),
        (("a", "b", "zero", "-e", "net"), "the embedding of 'zero' is zero or not finite"),
        (("a", "b", "b", "-e", "net"), "'b' and 'b' are the same stimulus"),
        (("a", "b", "c", "-e", "nett"), "did you mean 'net'?"),
        (("a", "b", "c"), "no index in"),
    ],
)
def test_mistakes_without_an_index_are_one_line(vidsim, stored, arguments, message):
    status, out, err = vidsim("oddoneout", *arguments, "--root", stored)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_an_unreadable_clip_is_one_line(vidsim, root, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"")
    status, out, err = vidsim("oddoneout", "clip 0", "clip 1", tmp_path / "broken.mp4", "--root", root)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "broken.mp4" in err
