import csv
import json

import numpy as np
import pytest
from scipy.stats import binomtest
from tiny_adapters import BASE

from vidsim.adapt.folder import WEIGHTS
from vidsim.adapt.manifest import Manifest
from vidsim.analysis.classify import Labelled, classify
from vidsim.rsm import cosine_rsm
from vidsim.store import Entry, Store

ACTIONS = tuple(f"Action{k}" for k in range(8))
VIDEOS = tuple(
    f"{action}/v_{action}_g{group:02}_c{clip:02}.avi" for action in ACTIONS for group in range(1, 9) for clip in (1, 2)
)
TEST = tuple("_g01_" in name or "_g02_" in name for name in VIDEOS)


def points(noise, seed):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(len(ACTIONS), 16))
    labels = np.arange(len(VIDEOS)) // 16
    return (centres[labels] + noise * rng.normal(size=(len(VIDEOS), 16))).astype(np.float32)


POINTS = {"good": points(1.2, 1), "poor": points(2.5, 2)}


@pytest.fixture
def splits(tmp_path):
    folder = tmp_path / "lists"
    folder.mkdir()
    (folder / "classInd.txt").write_text("".join(f"{k} {name}\r\n" for k, name in enumerate(ACTIONS, 1)))
    train = [
        f"{name} {ACTIONS.index(name.split('/')[0]) + 1}\r\n" for name, t in zip(VIDEOS, TEST, strict=True) if not t
    ]
    (folder / "trainlist01.txt").write_text("".join(train))
    (folder / "testlist01.txt").write_text("".join(f"{n}\r\n" for n, t in zip(VIDEOS, TEST, strict=True) if t))
    return folder


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a store with two encoders whose ids stand in another order and, of one, below a folder."""
    root = tmp_path / "root"
    store = Store(root, create=True)
    order = np.random.default_rng(3).permutation(len(VIDEOS))
    for name, prefix in (("good", ""), ("poor", "UCF-101/")):
        layers = {"block.1": 16, "head": 16}
        table = store.create(name, {"checkpoint": name}, layers, default_layer="head", versions={})
        vectors = POINTS[name][order]
        entries = [Entry(f"{prefix}{VIDEOS[i]}", "", "x") for i in order]
        table.write(entries, {"block.1": 3 * vectors[:, ::-1] - 5, "head": vectors})
    monkeypatch.setenv("VIDSIM_ROOT", str(root))
    return root


def answer(vidsim, *arguments):
    status, out, err = vidsim("classify", *arguments, "--json")
    assert (status, err, out.count("\n")) == (0, "", 1)
    return json.loads(out)


def refused(vidsim, *arguments):
    status, out, err = vidsim("classify", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    return err


def expected(name, seeds=(0, 1, 2)):
    test = np.array(TEST)
    labels = np.arange(len(VIDEOS)) // 16
    groups = np.arange(len(VIDEOS)) // 2
    parts = (Labelled(POINTS[name][part], labels[part], groups[part]) for part in (~test, test))
    return classify(*parts, 8, seeds=seeds)


def test_accuracies_are_those_of_the_classifiers(vidsim, root, splits):
    found = answer(vidsim, "--encoders", "poor", "good", "--splits", splits)
    sizes = {"classes": 8, "train": 96, "test": 32, "test_groups": 16, "groups_on_both_sides": 0, "chance": 1 / 8}
    assert {name: found[name] for name in sizes} == sizes
    assert (found["seeds"], found["protocol"], found["split_number"]) == ([0, 1, 2], "default", 1)
    for one, name in zip(found["encoders"], ("poor", "good"), strict=True):
        other = expected(name)
        assert (one["encoder"], one["layer"], one["dims"], one["published"]) == (name, "head", 16, None)
        assert one["top1_seeds"] == pytest.approx(other.accuracies())
        assert one["top1"] == pytest.approx(other.accuracies().mean())
        assert one["top1_sd"] == pytest.approx(np.std(other.accuracies(), ddof=1))
        assert one["top5"] == pytest.approx(other.accuracies(5).mean())
        assert one["penalties"] == pytest.approx(other.penalties)
        assert list(one["per_class"]) == list(ACTIONS)
        assert np.mean(list(one["per_class"].values())) == pytest.approx(one["top1"])  # classes of one size
        assert one["top1_interval"][0] < one["top1"] < one["top1_interval"][1]
    (change,) = found["comparisons"]
    assert (change["first"], change["second"]) == ("poor:head", "good:head")
    assert change["difference"] == pytest.approx(found["encoders"][1]["top1"] - found["encoders"][0]["top1"])
    assert change["interval"][0] < change["difference"] < change["interval"][1]
    uneven = binomtest(change["only_second"], change["only_second"] + change["only_first"])
    assert change["p_value"] == pytest.approx(uneven.pvalue)
    assert found["encoders"][1]["top1"] > found["encoders"][0]["top1"] + 0.1


def test_layers_seeds_and_files(vidsim, root, splits, tmp_path):
    np.savez(tmp_path / "good.npz", ids=np.array(VIDEOS), embeddings=POINTS["good"])
    names = f"good:block.1,{tmp_path / 'good.npz'}"
    found = answer(vidsim, "-e", names, "--splits", splits, "--seeds", 1, "--seed", 5, "--resamples", 0)
    other = expected("good", [5]).accuracies()[0]
    assert [one["top1"] for one in found["encoders"]] == pytest.approx([other, other])  # units do not matter
    assert [one["layer"] for one in found["encoders"]] == ["block.1", None]
    assert (found["seeds"], found["encoders"][0]["top1_sd"]) == ([5], None)
    assert found["encoders"][0]["top1_interval"] == [None, None]
    assert found["comparisons"][0]["p_value"] == 1


def test_text_and_table(vidsim, root, splits, tmp_path):
    arguments = ("--encoders", "poor", "good", "--splits", splits, "--csv", tmp_path / "c.csv")
    found = answer(vidsim, *arguments)
    status, out, err = vidsim("classify", *arguments, "--force")
    assert (status, err) == (0, "")
    good = found["encoders"][1]
    assert f"{100 * good['top1']:.2f} ± {100 * good['top1_sd']:.2f}" in out
    assert "good:head - poor:head" in out
    assert "8 classes, 96 training and 32 test videos; chance 12.50 %; mean ± sd, seeds: 3" in out
    assert out.rstrip().endswith("c.csv")
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (2 + 8) + 1
    assert float(rows[10]["value"]) == good["top1"]
    assert float(rows[12]["value"]) == good["per_class"]["Action0"]
    assert float(rows[-1]["p"]) == found["comparisons"][0]["p_value"]
    assert "exists already" in refused(vidsim, *arguments)


def test_a_recording_on_both_sides_is_told(vidsim, root, splits):
    name = VIDEOS[0].replace("_c01", "_c02")  # beside its twin, which is for the test
    for part in ("trainlist01.txt", "testlist01.txt"):
        lines = (splits / part).read_text().splitlines()
        kept = [line for line in lines if line.split()[0] != name] + ([f"{name} 1"] if part[1] == "r" else [])
        (splits / part).write_text("\n".join(kept))
    found = answer(vidsim, "--encoders", "good", "--splits", splits)
    assert (found["groups_on_both_sides"], found["train"], found["test"]) == (1, 97, 31)
    out = vidsim("classify", "--encoders", "good", "--splits", splits)[1]
    assert "groups both in training and in test: 1;" in out


def test_the_published_number_stands_beside_its_model(vidsim, tmp_path):
    """As many classes as UCF101 has, three recordings each."""
    actions = [f"A{k:03}" for k in range(101)]
    names = [f"{a}/v_{a}_g{g:02}_c01.avi" for a in actions for g in range(3)]
    (tmp_path / "classInd.txt").write_text("".join(f"{k} {a}\n" for k, a in enumerate(actions, 1)))
    (tmp_path / "trainlist01.txt").write_text("".join(f"{n} {k // 3 + 1}\n" for k, n in enumerate(names) if k % 3))
    (tmp_path / "testlist01.txt").write_text("".join(f"{n}\n" for n in names[::3]))
    vectors = np.repeat(np.eye(101, 110), 3, axis=0) + 0.05 * np.random.default_rng(0).normal(size=(303, 110))
    store = Store(tmp_path / "root", create=True)
    for name in ("timesformer-base", "x3d-m"):
        table = store.create(name, {"checkpoint": name}, {"head": 110}, default_layer="head", versions={})
        table.write([Entry(n, "", "x") for n in names], {"head": vectors.astype(np.float32)})
    options = ("--splits", tmp_path, "--root", tmp_path / "root", "--seeds", 1)
    found = answer(vidsim, "--encoders", "timesformer-base", "x3d-m", *options)
    assert [one["published"] for one in found["encoders"]] == [pytest.approx({"top1": 0.9575, "sd": 0.0018}), None]
    assert found["encoders"][0]["top1"] > 0.9
    assert "95.75 ± 0.18" in vidsim("classify", "--encoders", "timesformer-base", *options)[1]


def test_bad_input(vidsim, root, splits, tmp_path):
    store = Store(root)
    part = store.create("part", {"checkpoint": "part"}, {"head": 2}, default_layer="head", versions={})
    part.write([Entry(n, "", "x") for n in VIDEOS[:100]], {"head": np.ones((100, 2), np.float32)})
    flat = store.create("flat", {"checkpoint": "flat"}, {"head": 2}, default_layer="head", versions={})
    flat.write([Entry(n, "", "x") for n in VIDEOS], {"head": np.ones((len(VIDEOS), 2), np.float32)})
    store.rsms.put("theory", cosine_rsm(store["good"]["head"]).table())
    lists = ("--splits", splits)
    for arguments, message in [
        (("--encoders", "goo", *lists), "did you mean 'good'"),
        (("--encoders", "good:hed", *lists), "did you mean 'head'"),
        (("--encoders", " ", *lists), "--encoders names none"),
        (("--encoders", "good", "good:head", *lists), "'good:head' was given more than once"),
        (("--encoders", "theory", *lists), "'theory' is a similarity matrix"),
        (("--encoders", "flat", *lists), "are equal; choose another layer"),
        (("--encoders", "part", *lists), "24 of 96 videos of the lists are not in 'part:head', the first is"),
        (("--encoders", "good", "--splits", tmp_path / "none"), "no folder"),
        (("--encoders", "good", *lists, "--split-number", 2), "trainlist02.txt"),
        (("--encoders", "good", *lists, "--split-number", 0), "--split-number"),
        (("--encoders", "good", *lists, "--csv", tmp_path / "c.txt"), "ends in .csv"),
        (("--encoders", "good", *lists, "--root", tmp_path / "void"), "there is no store"),
        (("--encoders", "good"), "--splits"),
    ]:
        assert message in refused(vidsim, *arguments), arguments


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (VIDEOS[:3], VIDEOS[3:5], "all training videos are of class 'Action0'"),
        (
            (VIDEOS[0], VIDEOS[20]),
            (VIDEOS[1], VIDEOS[50]),
            "has videos in the test list and none in the train",
        ),
        ((VIDEOS[0], VIDEOS[20]), (VIDEOS[1], VIDEOS[21]), "every class has a single group"),
        ((VIDEOS[0], VIDEOS[20]), (VIDEOS[1], VIDEOS[20]), "testlist01.txt' line 2: video"),
    ],
)
def test_bad_lists(vidsim, root, splits, train, test, message):
    (splits / "trainlist01.txt").write_text("".join(f"{n} {ACTIONS.index(n.split('/')[0]) + 1}\n" for n in train))
    (splits / "testlist01.txt").write_text("".join(f"{n}\n" for n in test))
    assert message in refused(vidsim, "--encoders", "good", "--splits", splits)


def test_an_adapter_that_has_seen_test_videos_is_told(vidsim, root, splits):
    folder = root / "adapters" / "poor"
    folder.mkdir(parents=True)
    test = [f"UCF-101/{name}" for name, t in zip(VIDEOS, TEST, strict=True) if t]
    train = [f"UCF-101/{name}" for name, t in zip(VIDEOS, TEST, strict=True) if not t]
    nothing = {"base": BASE, "recipe": {}, "versions": {}, "curve": [], "seed": 0, "parameters": 1, "head": 0}
    manifest = Manifest(
        name="poor", layer="head", files={WEIGHTS: ""}, data={"fitted": [*train, *test[:3]], "validated": []}, **nothing
    )
    manifest.write(folder)
    options = ("--encoders", "good", "poor", "--splits", splits, "--seeds", 1, "--resamples", 0)
    status, out, err = vidsim("classify", *options, "--json")
    line = f"seen in training: poor was fitted to 3 of these {len(test)} stimuli; expect less of others\n"
    assert (status, err) == (0, line)
    found = {one["encoder"]: one["seen_in_training"] for one in json.loads(out)["encoders"]}
    assert found == {"good": None, "poor": {"fitted": 3, "validated": 0}}
