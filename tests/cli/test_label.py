import json
import signal
import subprocess
import sys
import time
from itertools import combinations
from math import comb
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from published import publish

from vidsim.adapt.manifest import read_manifest
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.retrieval.calibration import Calibration
from vidsim.rsm import RSM
from vidsim.store import Store
from vidsim.store.table import Entry

from clips import moving_square, write_clip

__all__ = ["publish"]

IDS = [f"clip {k}.mp4" for k in range(40)]
IDENTITY = {"family": "image", "weights": "f" * 64}
POINTS = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
GIVEN = ("--temperature", 0.2)
FILES = {"triplets.parquet", "provenance.json", "README.md"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Work in a folder with a store of an encoder of two layers on 40 stimuli, 30 of them for training."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    store = Store("indexes", create=True)
    options = {"default_layer": "b", "versions": {"torch": "2"}, "provenance": {"revision": "abc"}}
    table = store.create("net", IDENTITY, {"a": 6, "b": 6}, **options)
    table.write([Entry(name, "", "x") for name in IDS], {"a": POINTS[::-1], "b": POINTS})
    stimuli = tuple(Stimulus(name, split="train" if k < 30 else "test") for k, name in enumerate(IDS))
    store.stimuli.put("lab", StimulusSet(stimuli).table())
    return tmp_path / "indexes"


def calibrated(identity=IDENTITY):
    whose = {"judgments": "/home/me/lab", "split": "val", "created": "2030", "versions": {}}
    scores = {"trials": 900, "nll": 0.9, "ece": 0.03}
    Calibration(encoder="net", layer="b", temperature=0.15, identity=identity, **whose, **scores).write("indexes")


def label(vidsim, *arguments, space="net", out="labels"):
    status, text, err = vidsim("label", space, "--out", out, *arguments, "--json")
    assert (status, err, text.count("\n")) == (0, "", 1), err
    return json.loads(text), Path(out)


def refused(vidsim, *arguments, space="net", out="labels"):
    """Expect one line and exit status 2, and nothing left behind."""
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    status, text, err = vidsim("label", space, "--out", out, *arguments)
    assert (status, text, err.count("\n")) == (2, "", 1), err
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before
    return err


def odd_of(row):
    """Find the odd one of a triplet of ids by the planted geometry: the one outside the most similar pair."""
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)

    def common(odd):
        a, b = (unit[IDS.index(name)] for name in row if name != odd)
        return a @ b

    return max(row, key=common)


def test_labels_come_with_their_provenance_and_a_card(vidsim, root):
    calibrated()
    answer, folder = label(vidsim, "-n", 500)
    assert {path.name for path in folder.iterdir()} == FILES
    frame = pd.read_parquet(folder / "triplets.parquet")
    assert list(frame.columns) == ["a", "b", "odd", "probability", "entropy"]
    assert len(frame) == answer["triplets"] == 500
    for row in frame.head(60).itertuples():
        assert row.odd == odd_of([row.a, row.b, row.odd])
    provenance = json.loads((folder / "provenance.json").read_text())
    assert {**provenance, "out": "labels", "seconds": answer["seconds"]} == answer
    assert (provenance["encoder"], provenance["layer"], provenance["revision"]) == ("net", "b", "abc")
    assert provenance["identity"] == IDENTITY
    assert provenance["table"] == {"name": Store("indexes").tables("net")[0].name, "version": 2}
    assert (provenance["temperature"], provenance["design"], provenance["seed"]) == (0.15, "random", 0)
    # of judgments in a file, the name and not the place
    assert provenance["calibration"] == {
        "judgments": "lab",
        "split": "val",
        "trials": 900,
        "nll": 0.9,
        "ece": 0.03,
        "created": "2030",
    }
    card = (folder / "README.md").read_text()
    assert "no person judged" in card
    assert provenance["file"]["sha256"] in card
    assert "/home/me" not in card
    assert "| judgments it was calibrated on | lab, split val |" in card
    assert "calibrated on lab, split val\n" in vidsim("label", "net", "--out", "more", "-n", 5)[1]


def test_people_read_words(vidsim, root):
    status, out, err = vidsim("label", "net", "--out", "labels", *GIVEN)
    assert (status, err) == (0, "")
    assert f"{comb(40, 3):,} triplets of 40 clips (random), predicted by net:b; no person judged them" in out
    assert "not calibrated: the temperature was given" in out
    assert f"each clip is in {comb(39, 2)} triplets" in out


def test_layers_parts_and_designs(vidsim, root):
    answer, folder = label(vidsim, *GIVEN, "--design", "covering", "--stimuli", "lab", "--split", "train")
    frame = pd.read_parquet(folder / "triplets.parquet")
    shown = {frozenset(pair) for row in frame[["a", "b", "odd"]].values.tolist() for pair in combinations(row, 2)}
    assert shown == {frozenset(pair) for pair in combinations(IDS[:30], 2)}
    assert (answer["clips"], answer["stimuli"], answer["split"]) == (30, "lab", "train")
    Path("few.txt").write_text("\n".join(IDS[3:9]))
    answer, folder = label(vidsim, *GIVEN, "--ids", "few.txt", space="net:a", out="few")
    assert (answer["layer"], answer["clips"], answer["triplets"]) == ("a", 6, 20)
    answer, folder = label(vidsim, *GIVEN, "--design", "uncertain", "-n", 100, "--pool", comb(40, 3), out="open")
    entropy = pd.read_parquet(folder / "triplets.parquet")["entropy"]
    every = pd.read_parquet(label(vidsim, *GIVEN, out="every")[1] / "triplets.parquet")["entropy"]
    np.testing.assert_array_equal(entropy, every.sort_values(ascending=False)[:100])
    assert answer["pool"] == comb(40, 3)


def test_similarities_of_all_pairs(vidsim, root):
    answer, folder = label(vidsim, "--rsm")
    assert {path.name for path in folder.iterdir()} == FILES - {"triplets.parquet"} | {"rsm.parquet"}
    assert answer["pairs"] == comb(40, 2)
    assert vidsim("judgments", "import", folder / "rsm.parquet", "--name", "model")[0] == 0
    rsm = RSM.from_table(Store("indexes").rsms["model"])
    unit = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    np.testing.assert_allclose(rsm.take(IDS).similarities, unit @ unit.T, atol=1e-6)


def test_an_index_is_enough(vidsim, root):
    from vidsim.retrieval.indexes import build
    from vidsim.store.table import EmbeddingTable

    table: EmbeddingTable = Store("indexes").tables("net")[0]
    facts = {"table": table.name, "identity": IDENTITY, "revision": "abc", "version": table.version}
    build("alone", table["b"], table.entries(), encoder="net", layer="b", provenance=facts)
    one, folder = label(vidsim, *GIVEN)
    two, other = label(vidsim, *GIVEN, "--root", "alone", out="other")
    pd.testing.assert_frame_equal(
        *(pd.read_parquet(place / "triplets.parquet") for place in (folder, other)), check_categorical=False, atol=1e-5
    )
    assert (one["index"], two["index"]["version"]) == (None, table.version)
    assert one["identity"] == two["identity"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "net:b has no calibration, so its similarities are no probabilities: vidsim calibrate net:b --judgments"),
        (("--temperature", 0), "temperature"),
        ((*GIVEN, "-n", 9881), "9,881 triplets were asked for; 40 clips make 9,880 different ones"),
        ((*GIVEN, "-n", 5, "--design", "covering"), "as many triplets as it takes"),
        ((*GIVEN, "--pool", 5), "a pool is for the design uncertain"),
        ((*GIVEN, "--rsm"), "--rsm writes all similarities: leave out -n"),
        ((*GIVEN, "--split", "train"), "--split is of a set of stimuli"),
        ((*GIVEN, "--stimuli", "lab", "--ids", "x"), "leave one of them out"),
        ((*GIVEN, "--stimuli", "lap"), "lab"),
        ((*GIVEN, "--stimuli", "lab", "--split", "val2"), "no split 'val2'"),
        ((*GIVEN, "--ids", "other.txt"), "net:b lacks 1 of 3 clips, the first is 'nobody.mp4'"),
        ((*GIVEN, "--ids", "missing.txt"), "no such file"),
    ],
)
def test_what_cannot_be_done_is_one_line(vidsim, root, arguments, said):
    Path("other.txt").write_text("clip 1.mp4\nclip 2.mp4\nnobody.mp4\n")
    assert said in refused(vidsim, *arguments)


def test_unknown_encoders_and_layers_are_one_line(vidsim, root):
    assert "did you mean 'net'" in refused(vidsim, *GIVEN, space="nets")
    assert "no layer 'c'" in refused(vidsim, *GIVEN, space="net:c")
    assert "no encoder 'net'" in refused(vidsim, *GIVEN, "--root", "nowhere")


def test_one_triplet_is_told_as_one(vidsim, root):
    status, out, err = vidsim("label", "net", *GIVEN, "-n", 1, "--out", "labels")
    assert (status, err) == (0, "")
    assert out.startswith("1 triplet of 40 clips (random), predicted by net:b; ")
    assert out.endswith("each clip is in 0 to 1 triplets\n")
    Path("three.txt").write_text("\n".join(IDS[:3]))
    out = vidsim("label", "net", *GIVEN, "--ids", "three.txt", "--out", "one")[1]
    assert out.endswith("each clip is in 1 triplet\n")


def test_vectors_that_are_zero_are_named(vidsim, root):
    table = Store("indexes").create("flat", {"family": "image"}, {"x": 3}, default_layer="x", versions={})
    table.write([Entry(name, "", "x") for name in "abcd"], {"x": np.eye(4, 3, dtype=np.float32)})
    assert "1 of 4 stimuli in flat:x are zero or not finite, the first is 'd'" in refused(vidsim, *GIVEN, space="flat")
    table.write([Entry("e", "", "x")], {"x": np.ones((1, 3), np.float32)})
    Path("two.csv").write_text("id\na\nb\ne\n")
    assert label(vidsim, *GIVEN, "--ids", "two.csv", space="flat")[0]["triplets"] == 1
    few = Store("indexes").create("few", {"family": "image"}, {"x": 3}, default_layer="x", versions={})
    few.write([Entry(name, "", "x") for name in "ab"], {"x": np.ones((2, 3), np.float32)})
    assert "2 clips make no triplet" in refused(vidsim, *GIVEN, space="few", out="more")


def test_a_calibration_of_other_embeddings_is_refused(vidsim, root):
    calibrated({**IDENTITY, "weights": "0" * 64})
    assert "was made from other embeddings" in refused(vidsim)


def test_what_is_there_is_replaced_only_when_told_to(vidsim, root):
    label(vidsim, *GIVEN, "-n", 5)
    assert "exists already; --force replaces it" in refused(vidsim, *GIVEN)
    assert label(vidsim, *GIVEN, "-n", 7, "--force")[0]["triplets"] == 7
    assert len(pd.read_parquet("labels/triplets.parquet")) == 7
    Path("mine").mkdir()
    Path("mine", "thesis.txt").write_text("precious")
    Path("file").write_text("precious")
    for out in ("mine", "file"):
        assert "exists already and holds no provenance.json; give another name" in refused(
            vidsim, *GIVEN, "--force", out=out
        )
    assert "no folder 'no/such'; make it first" in refused(vidsim, *GIVEN, out="no/such/place")


def test_a_full_disk_leaves_what_was_there(vidsim, root, monkeypatch):
    label(vidsim, *GIVEN, "-n", 5)
    monkeypatch.setattr(
        "vidsim.retrieval.label_files.parquet.ParquetWriter",
        lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    status, out, err = vidsim("label", "net", "--out", "labels", *GIVEN, "--force")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "cannot be written: No space left on device; nothing was changed" in err
    assert {path.name for path in Path().iterdir()} == {"indexes", "labels"}
    assert len(pd.read_parquet("labels/triplets.parquet")) == 5
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=100))
    assert "the similarities of 40 clips take 0.0 GB" in vidsim("label", "net", "--out", "rsm", "--rsm")[2]


def test_a_killed_run_leaves_nothing_under_the_name(root):
    code = """
import sys, time
from vidsim.cli import label as verb
from vidsim.retrieval import label_files
def slow(file, ids, labels, facts, progress):
    file.write(b"half"); file.flush(); print("writing", flush=True); time.sleep(60)
label_files.write_triplets = slow
import typer
made = typer.Typer(); made.command()(verb.label)
made(["net", "--out", "labels", "--temperature", ".2"])
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not Path("labels").exists()


def test_predictions_are_judgments_that_are_never_taken_for_peoples(vidsim, root):
    _, folder = label(vidsim, *GIVEN, "-n", 400)
    again = ("judgments", "import", folder / "triplets.parquet", "--name")
    status, out, err = vidsim(*again, "bare")
    assert (status, err) == (0, "")
    assert "400 trials and 0 catch trials by no person on 40 stimuli" in out
    assert "note: predicted by net:b: no person judged" in out
    status, out, err = vidsim(*again, "predicted", "--stimuli", "lab", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["predicted"]["temperature"] == 0.2
    assert Store("indexes").stimuli["predicted"] == Store("indexes").stimuli["lab"]
    judgments = Judgments.from_table(Store("indexes").judgments["predicted"])
    assert judgments.predicted["encoder"] == "net"
    for verb in (("inspect", "predicted"), ("reliability", "predicted")):
        status, _, err = vidsim("judgments", *verb)
        assert (status, err.count("\n")) == (0, 1)
        assert "vidsim: predicted: predicted by net:b: no person judged these" in err
    status, out, err = vidsim(
        *("align", "--judgments", "predicted", "--encoders", "net", "--layer", "b", "--resamples", 0, "--json")
    )
    assert status == 0
    assert "no person judged these" in err
    assert json.loads(out)["encoders"][0]["three_way"] == 1
    Path("some.csv").write_text("id,path\nclip 1.mp4,/a.mp4\n")
    for stimuli, said in (("some.csv", "lacks 39 of 40 judged stimuli"), ("lap", "lab")):
        status, out, err = vidsim(*again, "new", "--stimuli", stimuli)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err
    assert "new" not in Store("indexes").judgments


RECIPE = """
encoder = "clip-vit-b-32"
[adapter]
rank = 2
[loss]
kind = "soft"
[batches]
sampler = "stimuli"
stimuli = 8
steps = 1
[optimiser]
learning_rate = 2e-3
epochs = 1
[run]
precision = "float32"
"""


def test_predictions_train_a_student(vidsim, tmp_path, monkeypatch, publish):
    from vidsim.encoders import catalog

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    made = publish("clip-vit-b-32")
    monkeypatch.setitem(catalog.CARDS, "clip-vit-b-32", made.card)
    for k in range(15):
        write_clip(tmp_path / "videos" / f"clip {k}.mp4", moving_square(frames=8, step=1 + k % 5, start=k))
    Path("quick.toml").write_text(RECIPE)
    cpu = ("--device", "cpu")
    teacher = Store("indexes", create=True).create("teacher", {}, {"x": 6}, default_layer="x", versions={})
    teacher.write([Entry(f"clip {k}.mp4", "", "x") for k in range(15)], {"x": POINTS[:15]})
    label(vidsim, *GIVEN, space="teacher")
    assert vidsim("judgments", "import", "labels/triplets.parquet", "--name", "taught", "--stimuli", "videos")[0] == 0
    status, _, err = vidsim(
        *("train", "quick.toml", "--judgments", "taught", "--name", "student", "--source", "videos"),
        *("--checkpoint", made.folder, *cpu),
    )
    assert status == 0, err
    assert "taught: predicted by teacher:x" in err
    manifest = read_manifest(tmp_path / "indexes" / "adapters" / "student")
    assert manifest.data["predicted"].startswith("predicted by ")
    card = (tmp_path / "indexes" / "adapters" / "student" / "README.md").read_text()
    assert "trained on predicted odd-one-out judgments" in card
    assert "no person judged these" in card
    assert manifest.data["stimuli"] + manifest.data["validation_stimuli"] == 15
    assert manifest.data["people"] is None
    # the student is an encoder that labels in its turn
    assert vidsim("extract", "videos", "--encoder", "student", *cpu)[0] == 0
    answer, _ = label(vidsim, *GIVEN, space="student", out="own")
    assert answer["adapter"] == {"name": "student", "files": dict(manifest.files)}
