import csv

import numpy as np
import pytest
from tiny_lab import IDS, POINTS, TRIALS, answer, refused, root

from vidsim.cli.flips import _stimuli
from vidsim.data.interop import write_rsm
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.embeddings import Embeddings
from vidsim.rsm import cosine_rsm
from vidsim.store import Store

from judges import release

__all__ = ["root"]


def odd_of(name, names):
    """Single out the stimulus outside the most similar pair, by cosines of its points."""
    unit = {n: POINTS[name][IDS.index(n)] / np.linalg.norm(POINTS[name][IDS.index(n)]) for n in names}
    alone = {n: float(np.dot(*(unit[m] for m in names if m != n))) for n in names}
    return max(alone, key=alone.get)


def judged(name):
    return [odd_of(name, [IDS[k] for k in row]) == IDS[row[2]] for row in TRIALS.rows]


def test_counts_and_examples_are_a_slow_loops(vidsim, root, tmp_path):
    found = answer(vidsim, "a", "b", "--judgments", "lab", "-n", 4, "--resamples", 100, "--csv", tmp_path / "f.csv")
    pairs = list(zip(judged("a"), judged("b"), strict=True))
    assert (found["a"], found["b"], found["trials"], found["protocol"]) == ("a:head", "b:head", 300, "default")
    for key, pair in {"both": (True, True), "neither": (False, False), "towards": (False, True)}.items():
        assert found[key] == pairs.count(pair)
    accuracy = found["accuracy"]
    assert accuracy["a"] == pytest.approx(sum(judged("a")) / 300)
    assert accuracy["b"] == pytest.approx(sum(judged("b")) / 300)
    assert accuracy["change"] == pytest.approx(accuracy["b"] - accuracy["a"])
    assert accuracy["interval"][0] < accuracy["change"] < accuracy["interval"][1]
    assert 0 < found["mcnemar"] <= 1
    for way, agreeing, other in (("towards", "b", "a"), ("away", "a", "b")):
        assert len(found["examples"][way]) == 4
        for example in found["examples"][way]:
            names = [stimulus["id"] for stimulus in example["stimuli"]]
            assert names == [IDS[k] for k in TRIALS.rows[example["trial"]]]
            assert example[agreeing] == example["people"] == names[2] == odd_of(agreeing, names)
            assert example[other] == odd_of(other, names) != names[2]
            captions = {stimulus["id"]: stimulus["caption"] for stimulus in example["stimuli"]}
            assert all(
                text == (f"caption of <i>{n}</i> & $x$" if n != IDS[-1] else None) for n, text in captions.items()
            )
    with (tmp_path / "f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for way in ("towards", "away"):
        assert sum(int(row["same"]) for row in rows if row["flip"] == way) == found[way]
    assert rows[0]["odd"] == found["examples"]["towards"][0]["people"]


def test_splits_contexts_and_sources(vidsim, root, tmp_path):
    folder = release(tmp_path / "release", trials=200)
    vidsim("judgments", "import", folder, "--name", "rel")
    names = [f"clip {i}.mp4" for i in range(6)]
    for name in ("x", "y"):
        points = np.random.default_rng(ord(name)).normal(size=(6, 4))
        write_rsm(tmp_path / f"{name}.npz", cosine_rsm(Embeddings(tuple(names), points)))
    spaces = (tmp_path / "x.npz", tmp_path / "y.npz", "--resamples", 0)
    whole = answer(vidsim, *spaces, "--judgments", "rel")
    within = answer(vidsim, *spaces, "--judgments", "rel", "--split", "train")
    wide = answer(vidsim, *spaces, "--judgments", "rel", "--split", "train", "--context", "any")
    triplets = Judgments.from_table(Store(root).judgments["rel"]).triplets
    inside = (triplets.rows < 4).sum(axis=1)
    assert (whole["trials"], within["trials"]) == (len(triplets), int((inside == 3).sum()))
    assert wide["trials"] == int((inside >= 2).sum())
    assert within["trials"] < wide["trials"] < whole["trials"]
    from_folder = answer(vidsim, *spaces, "--judgments", folder)
    assert from_folder["examples"] == whole["examples"]
    captions = {s["id"]: s["caption"] for e in whole["examples"]["towards"] for s in e["stimuli"]}
    assert captions["clip 1.mp4"] == "other"


def test_split_without_trials(vidsim, root):
    store = Store(root)
    stimuli = [Stimulus(name, split="pair" if k < 2 else "rest") for k, name in enumerate(IDS)]
    store.stimuli.put("lab", StimulusSet(tuple(stimuli)).table())
    assert "no trial of 'lab' lies within split 'pair'" in refused(
        vidsim, "a", "b", "--judgments", "lab", "--split", "pair"
    )


def test_a_clip_in_a_folder_that_cannot_be_looked_into_is_not_shown(root, tmp_path, locked):
    places = {"clip 1": tmp_path / "clip.mp4", "clip 2": tmp_path / "locked" / "clip.mp4", "clip 3": tmp_path}
    Store(root).stimuli.put("lab", StimulusSet(tuple(Stimulus(name, path) for name, path in places.items())).table())
    locked(tmp_path / "locked")
    assert _stimuli("lab", str(root), ("a", "b"))[1] == {
        **{name: f"/{name}" for name in IDS},
        **dict.fromkeys(("clip 0", "clip 1"), str(tmp_path / "clip.mp4")),
    }
