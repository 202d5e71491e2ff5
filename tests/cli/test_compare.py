import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_adapters import write_adapter

from vidsim.data.interop import write_rsm
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.rsm import RSM, cosine_rsm
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from clips import moving_square, write_clip
from judges import random_rows, release

IDS = tuple(f"clip {k}" for k in range(14))
POINTS = {name: np.random.default_rng(k).normal(size=(14, 6)).astype(np.float32) for k, name in enumerate("ab")}
TRIALS = Triplets(IDS, random_rows(14, 300))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a store with judgments, captions of which one is nasty, one clip, and models."""
    root = tmp_path / "root"
    store = Store(root, create=True)
    store.judgments.put("lab", Judgments.of(TRIALS).table())
    stimuli = [Stimulus(name, None, (f"caption of <i>{name}</i> & $x$", "second")) for name in IDS[:-1]]
    store.stimuli.put("lab", StimulusSet((*stimuli, Stimulus(IDS[-1]))).table())
    video = write_clip(tmp_path / "clip.mp4", moving_square())
    for name, points in POINTS.items():
        table = store.create(name, {"checkpoint": name}, {"head": 6}, default_layer="head", versions={})
        table.write([Entry(n, str(video) if n == IDS[0] else f"/{n}", n) for n in IDS], {"head": points})
    store.rsms.put("theory", cosine_rsm(Embeddings(IDS, POINTS["a"] ** 2)).table())
    monkeypatch.setenv("VIDSIM_ROOT", str(root))
    return root


def answer(vidsim, *arguments):
    status, out, err = vidsim("compare", *arguments, "--json")
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    return json.loads(out)


def refused(vidsim, *arguments):
    status, out, err = vidsim("compare", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err


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


def test_page(vidsim, root, tmp_path):
    arguments = ("a", "theory", "--judgments", "lab", "-n", 40, "--resamples", 0, "--html", tmp_path / "p.html")
    status, out, err = vidsim("compare", *arguments)
    assert (status, err) == (0, "")
    for words in ("a:head", "theory", "flip towards people", "McNemar", "people and B single out", "margins in sd"):
        assert words in out
    assert "95 %" not in out
    page = (tmp_path / "p.html").read_text()
    assert "caption of &lt;i&gt;clip 1&lt;/i&gt; &amp; $x$" in page
    assert "<i>" not in page
    assert page.count('<img src="data:image/jpeg;base64,') >= 1  # of the one stimulus that has a clip
    assert "http" not in page
    assert "exists already" in refused(vidsim, *arguments)


def test_plots(vidsim, root, tmp_path):
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
        files = ("-n", 1, "--plot", tmp_path / f"p.{suffix}", "--resamples", 0)
        assert answer(vidsim, "a", "b", "--judgments", "lab", *files)["plot"] == str(tmp_path / f"p.{suffix}")
        assert (tmp_path / f"p.{suffix}").read_bytes().startswith(start)


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


def test_bad_input(vidsim, root, tmp_path):
    lab = ("--judgments", "lab")
    holes = cosine_rsm(Embeddings(IDS, POINTS["a"])).similarities.copy()
    holes[0, 1] = holes[1, 0] = np.nan
    write_rsm(tmp_path / "holes.npz", RSM(IDS, holes))
    (tmp_path / "few.csv").write_text("id,x,y\nclip 1,1,2\nclip 2,2,1\n")
    (tmp_path / "flat.csv").write_text("id,x,y\n" + "".join(f"{n},1,2\n" for n in IDS))
    out = tmp_path / "out"
    for arguments, message in [
        (("a", "a:head", *lab), "'a:head' was given twice; expected two different spaces"),
        (("a", "z", *lab), "no encoder, similarity matrix or file 'z'"),
        (("a", tmp_path / "few.csv", *lab), "lacks 12 of 14 stimuli, the first is 'clip 0'"),
        (("a", tmp_path / "flat.csv", *lab), "are equal, so it judges no trial"),
        (("a", tmp_path / "holes.npz", *lab), "has no similarity for some pair of"),
        (("a", "b", "--judgments", "labb"), "did you mean 'lab'?"),
        (("a", "b", *lab, "--split", "test"), "have no split 'test'"),
        (("a", "b", *lab, "-n", 0), "should be greater than or equal to 1"),
        (("a", "b", *lab, "--plot", tmp_path / "p.jpg"), "ends in .png or .svg"),
        (("a", "b", *lab, "--html", tmp_path / "no" / "p.html"), "make it first"),
        (("a", "b"), "nothing to compare by"),
        (("a", "b", "clip.mp4", *lab), "'clip.mp4' is a third argument"),
        (("a", "b", *lab, "--out", out), "--out goes with --rollout CLIP"),
        (("a", "b", "--rollout", "x.mp4"), "--rollout needs --out FOLDER"),
        (("a", "b", "--rollout", "x.mp4", "--out", out, "--csv", tmp_path / "c.csv"), "--csv goes with --judgments"),
        (("a", "b", "--rollout", "x.mp4", "--out", out), "no clip 'x.mp4'"),
    ]:
        assert message in refused(vidsim, *arguments), arguments
    assert not out.exists()
    assert not list(tmp_path.glob("*.csv.*"))


def test_split_without_trials(vidsim, root):
    store = Store(root)
    stimuli = [Stimulus(name, split="pair" if k < 2 else "rest") for k, name in enumerate(IDS)]
    store.stimuli.put("lab", StimulusSet(tuple(stimuli)).table())
    assert "no trial of 'lab' lies within split 'pair'" in refused(
        vidsim, "a", "b", "--judgments", "lab", "--split", "pair"
    )


PROCESSOR = {
    "image_processor_type": "VideoMAEImageProcessor",
    "size": {"shortest_edge": 32},
    "crop_size": {"height": 32, "width": 32},
    "do_center_crop": True,
    "image_mean": [0.45, 0.45, 0.45],
    "image_std": [0.225, 0.225, 0.225],
}


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Write two tiny TimeSformers in the published format, and let the catalog's card fit them."""
    import torch
    from transformers import TimesformerConfig, TimesformerForVideoClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    for name in ("base", "tuned"):
        torch.manual_seed(len(name))
        model = TimesformerForVideoClassification(TimesformerConfig(**sizes, image_size=32, patch_size=8, num_labels=3))
        model.save_pretrained(tmp_path / name)
        (tmp_path / name / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    logging.enable_progress_bar()
    card = catalog.card("timesformer-base")
    count = sum(weight.numel() for weight in model.timesformer.parameters())
    tiny = replace(card, layers=(*card.layers[:2], "layernorm"), size=32, width=32, parameters=count)
    monkeypatch.setitem(catalog.CARDS, card.name, tiny)
    return ("--checkpoint-a", tmp_path / "base", "--checkpoint-b", tmp_path / "tuned", "--device", "cpu")


def test_rollout_draws_clips(vidsim, clips, checkpoints, tmp_path):
    name, out = "timesformer-base", tmp_path / "drawn"
    chosen = (clips / "clip 0.mp4", clips / "clip 3.mp4")
    found = answer(vidsim, name, name, "--rollout", *chosen, "--out", out, *checkpoints)
    assert sorted(path.name for path in out.iterdir()) == ["clip 0.mp4.png", "clip 3.mp4.png"]
    for drawn, clip in zip(found["rollout"], chosen, strict=True):
        assert drawn["clip"] == str(clip)
        assert (drawn["a"], drawn["b"]) == (f"{name} (base)", f"{name} (tuned)")
        assert drawn["frames"] == {"a": [1, 2, 3, 5, 6, 7, 8], "b": [1, 2, 3, 5, 6, 7, 8]}
    first, second = ((out / f"{clip.name}.png").read_bytes() for clip in chosen)
    assert first.startswith(b"\x89PNG")
    assert first != second
    status, said, _ = vidsim("compare", name, name, "--rollout", chosen[0], "--out", out, *checkpoints, "--force")
    assert (status, said.strip()) == (0, str(out / "clip 0.mp4.png"))
    assert (out / "clip 0.mp4.png").read_bytes() == first


def test_rollout_takes_adapters_by_name(vidsim, clips, checkpoints, tmp_path, monkeypatch):
    import torch

    from vidsim.adapt.head import LinearHead

    monkeypatch.setenv("VIDSIM_ROOT", str(tmp_path / "root"))
    name, out, clip = "timesformer-base", tmp_path / "drawn", clips / "clip 0.mp4"
    made = SimpleNamespace(card=catalog.card(name), folder=tmp_path / "base")
    write_adapter(tmp_path / "root", "mine", made)
    options = ("--rollout", clip, "--out", out, "--checkpoint-a", tmp_path / "base", "--device", "cpu")
    (drawn,) = answer(vidsim, name, "mine", *options)["rollout"]
    assert (drawn["a"], drawn["b"]) == (name, "mine")
    figure = (out / "clip 0.mp4.png").read_bytes()
    # the adapter's row is its own
    write_adapter(tmp_path / "root", "other", made, scale=0.6)
    answer(vidsim, name, "other", *options, "--force")
    assert (out / "clip 0.mp4.png").read_bytes() != figure
    assert "A and B are both mine with the same weights" in refused(vidsim, "mine", "mine", *options[:4], "--force")
    head = LinearHead(torch.zeros(32), torch.eye(32))
    write_adapter(tmp_path / "root", "flat", made, rank=0, head=head, width=32)
    told = refused(vidsim, name, "flat", *options, "--force")
    assert "flat is a head alone, behind the attention of its base" in told
    assert told.endswith("name the base: timesformer-base\n")
    assert "did you mean the adapter 'mine'?" in refused(vidsim, name, "mina", *options, "--force")


def test_flips_and_rollout_stand_on_one_page(vidsim, root, clips, checkpoints, tmp_path):
    store, name = Store(root), "timesformer-base"
    table = store.create(name, {"checkpoint": name}, {"x": 6, "y": 6}, default_layer="x", versions={})
    table.write([Entry(n, f"/{n}", n) for n in IDS], {"x": POINTS["a"], "y": POINTS["b"]})
    how = ("--judgments", "lab", "--rollout", clips / "clip 0.mp4", "--out", tmp_path / "drawn")
    found = answer(vidsim, f"{name}:x", f"{name}:y", *how, *checkpoints, "--html", tmp_path / "p.html")
    assert (found["a"], len(found["rollout"])) == (f"{name}:x", 1)
    page = (tmp_path / "p.html").read_text()
    assert "What the encoders attend to" in page
    assert "data:image/png;base64," in page
    assert "Towards people" in page


def test_rollout_refuses(vidsim, clips, checkpoints, tmp_path):
    name, out, clip = "timesformer-base", tmp_path / "drawn", clips / "clip 0.mp4"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    (tmp_path / "more").mkdir()
    twin = write_clip(tmp_path / "more" / "clip 0.mp4", moving_square())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "clip 0.mp4.png").write_bytes(b"mine")
    base = ("--checkpoint-a", tmp_path / "base", "--checkpoint-b", tmp_path / "base")
    for arguments, message in [
        ((name, "motion-energy", "--rollout", clip, "--out", out), "motion-energy has no attention over patches"),
        ((name, "all-MiniLM-L6-v2", "--rollout", clip, "--out", out), "all-MiniLM-L6-v2 has no attention"),
        ((name, "timesformer-bas", "--rollout", clip, "--out", out), "did you mean 'timesformer-base'?"),
        ((name, name, "--rollout", clip, "--out", out, *base), "both timesformer-base with the same weights"),
        ((name, name, "--rollout", broken, "--out", out, *checkpoints), "broken.mp4"),
        ((name, name, "--rollout", clip, broken, "--out", out, *checkpoints), "broken.mp4"),
        ((name, name, "--rollout", clip, twin, "--out", out, *checkpoints), "two clips are called 'clip 0.mp4'"),
        ((name, name, "--rollout", clip, "--out", tmp_path / "full", *checkpoints), "exists already"),
        ((name, name, "--rollout", clip, "--out", tmp_path / "no" / "way", *checkpoints), "make it first"),
        ((name, name, "--rollout", clip, "--out", broken, *checkpoints), "is a file; expected a folder"),
        ((name, name, "--rollout", clip, "--out", out, *checkpoints, "--device", "tpu"), "no device 'tpu'"),
    ]:
        assert message in refused(vidsim, *arguments), arguments
    assert not out.exists()
    assert (tmp_path / "full" / "clip 0.mp4.png").read_bytes() == b"mine"
