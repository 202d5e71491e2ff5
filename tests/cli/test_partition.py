import csv
import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from vidsim.data.interop import write_rsm
from vidsim.data.judgments.judgments import Judgments
from vidsim.embeddings import Embeddings
from vidsim.rsm import RSM, cosine_rsm
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from judges import random_rows, release

IDS = tuple(f"clip {k}" for k in range(14))
NAMES = ("more", *reversed(IDS))
POINTS = {name: np.random.default_rng(k).normal(size=(15, 6)).astype(np.float32) for k, name in enumerate("abcd")}


def trials():
    """Let somebody judge by the mean of two models, with lapses."""
    both = np.hstack([POINTS["a"], POINTS["b"]])
    s = cosine_rsm(Embeddings(NAMES, both)).take(IDS).similarities
    rows = []
    for number, row in enumerate(random_rows(14, 300).tolist()):
        best = max(range(3), key=lambda k: s[row[k - 1], row[k - 2]])
        odd = best if number % 4 else number // 4 % 3
        rows.append([row[odd - 2], row[odd - 1], row[odd]])
    return Triplets(IDS, np.array(rows, np.int32))


TRIALS = trials()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a store with judgments, and models that know more stimuli, in another order."""
    root = tmp_path / "root"
    store = Store(root, create=True)
    store.judgments.put("lab", Judgments.of(TRIALS).table())
    for name, points in POINTS.items():
        layers = {"block.1": 6, "head": 6}
        table = store.create(name, {"checkpoint": name}, layers, default_layer="head", versions={})
        table.write([Entry(n, f"/{n}", n) for n in NAMES], {"block.1": -(points**3), "head": points})
    store.rsms.put("meadows", TRIALS.rsm().table())
    store.rsms.put("theory", cosine_rsm(Embeddings(NAMES, POINTS["c"] ** 2)).table())
    monkeypatch.setenv("VIDSIM_ROOT", str(root))
    return root


def answer(vidsim, *arguments):
    status, out, err = vidsim("partition", *arguments, "--json")
    assert (status, err) == (0, "")
    assert out.count("\n") == 1
    return json.loads(out)


def refused(vidsim, *arguments):
    status, out, err = vidsim("partition", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err


def expected(*names, ids=IDS, layer="head"):
    """Regress with scikit-learn."""
    upper = np.triu_indices(len(ids), 1)
    human = TRIALS.restrict(ids).rsm().distances[upper]
    known = ~np.isnan(human)
    x = np.array(
        [
            cosine_rsm(Embeddings(NAMES, POINTS[n] if layer == "head" else -(POINTS[n] ** 3)))
            .take(ids)
            .distances[upper]
            for n in names
        ]
    ).T
    return LinearRegression().fit(x[known], human[known]).score(x[known], human[known])


def test_values_are_those_of_regressions(vidsim, root):
    found = answer(vidsim, "a", "b:block.1", "--judgments", "lab", "--resamples", 100)
    assert found["predictors"] == ["a:head", "b:block.1"]
    a, b = expected("a"), expected("b", layer="block.1")
    assert [share["value"] for share in found["r2"][:2]] == [pytest.approx(a, abs=1e-6), pytest.approx(b, abs=1e-6)]
    only_a, only_b, both = (share["value"] for share in found["parts"])
    assert found["total"] == pytest.approx(only_a + only_b + both)
    assert only_b == pytest.approx(found["total"] - found["r2"][0]["value"])
    assert found["pairs"] == int((~np.isnan(TRIALS.rsm().upper)).sum())
    for share in (*found["r2"], *found["parts"]):
        assert share["interval"][0] < share["value"] < share["interval"][1]
    assert found["folds"] == 0
    assert found["parts"][0]["held_out"] is None
    assert 0 < found["reliability"] < 1
    again = answer(vidsim, "a", "b:block.1", "--judgments", "lab", "--resamples", 100)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}


def test_matrices_and_files_are_models_too(vidsim, root, tmp_path):
    write_rsm(tmp_path / "d.npz", cosine_rsm(Embeddings(NAMES, POINTS["d"])))
    found = answer(vidsim, "a", "theory", tmp_path / "d.npz", "--judgments", "lab", "--resamples", 0)
    assert found["predictors"] == ["a:head", "theory", str(tmp_path / "d.npz")]
    assert len(found["parts"]) == 7
    assert found["interval"] == [None, None]
    assert sum(part["value"] for part in found["parts"]) == pytest.approx(found["total"])
    two = answer(vidsim, "a", tmp_path / "d.npz", "--judgments", "lab", "--resamples", 0)
    assert two["total"] == pytest.approx(expected("a", "d"), abs=1e-6)


def test_a_human_matrix_is_as_good_as_judgments(vidsim, root):
    judged, stored = (answer(vidsim, "a", "b", "--judgments", name, "--resamples", 50) for name in ("lab", "meadows"))
    assert stored["parts"] == judged["parts"]
    assert stored["reliability"] is None


def test_before_and_after(vidsim, root, tmp_path):
    found = answer(vidsim, "c", "b", "--after", "a", "--judgments", "lab", "--cv", "--csv", tmp_path / "p.csv")
    after = answer(vidsim, "a", "b", "--judgments", "lab", "--cv")
    assert found["after"]["parts"] == after["parts"]
    change = found["change"]["parts"][0]
    assert (change["before"], change["after"]) == (["c:head"], ["a:head"])
    assert change["value"] == pytest.approx(after["parts"][0]["value"] - found["parts"][0]["value"])
    assert change["interval"][0] > 0
    assert found["folds"] == 5
    assert found["parts"][0]["held_out"] < found["after"]["parts"][0]["held_out"]
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 + 6 + 6
    assert [row["model"] for row in rows[::6]] == ["c:head", "a:head", "change"]
    assert [float(row["value"]) for row in rows[6:9]] == [share["value"] for share in after["r2"]]
    assert [row["kind"] for row in rows[:6]] == ["r2"] * 3 + ["part"] * 3
    assert rows[-1]["held_out"] == ""


def test_text_and_plots(vidsim, root, tmp_path):
    arguments = ("a", "b", "c", "--judgments", "lab", "--resamples", 40)
    status, out, err = vidsim("partition", *arguments, "--plot", tmp_path / "p.png", "--cv", "--repeats", 2)
    assert (status, err) == (0, "")
    for words in ("only a:head", "a:head + b:head", "shared by all", "total", "b:head by itself", "held out: 5 folds"):
        assert words in out
    assert out.rstrip().endswith("p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert "exists already" in refused(vidsim, *arguments, "--plot", tmp_path / "p.png")
    status, _, _ = vidsim("partition", "a", "b", "--judgments", "lab", "--after", "c", "--plot", tmp_path / "p.svg")
    assert status == 0
    assert (tmp_path / "p.svg").read_text().startswith("<svg")


def test_split_and_context(vidsim, root, tmp_path):
    vidsim("judgments", "import", release(tmp_path / "release", trials=200), "--name", "rel")
    names = [f"clip {i}.mp4" for i in range(6)]
    store = Store(root)
    for name in ("x", "y"):
        table = store.create(name, {"checkpoint": name}, {"head": 4}, default_layer="head", versions={})
        points = np.random.default_rng(ord(name)).normal(size=(6, 4)).astype(np.float32)
        table.write([Entry(n, f"/{n}", n) for n in names], {"head": points})
    whole = answer(vidsim, "x", "y", "--judgments", "rel", "--resamples", 0)
    train = answer(vidsim, "x", "y", "--judgments", "rel", "--split", "train", "--resamples", 0)
    wide = answer(vidsim, "x", "y", "--judgments", "rel", "--split", "train", "--context", "any", "--resamples", 0)
    assert (whole["stimuli"], train["stimuli"], train["pairs"]) == (6, 4, 6)
    assert train["total"] != wide["total"]
    assert "no split 'dev'" in refused(vidsim, "x", "y", "--judgments", "rel", "--split", "dev")


def test_bad_input(vidsim, root, tmp_path):
    lab = ("--judgments", "lab")
    np.save(tmp_path / "nan.npy", np.full((15, 3), np.nan))
    (tmp_path / "nan.txt").write_text("\n".join(NAMES))
    (tmp_path / "few.csv").write_text("id,x,y\nclip 1,1,2\nclip 2,2,1\n")
    (tmp_path / "flat.csv").write_text("id,x,y\n" + "".join(f"{n},1,2\n" for n in NAMES))
    for arguments, message in [
        (("a", *lab), "1 models were given; expected 2 to 8"),
        (("a", "b", *"abcdabc", *lab), "9 models were given"),
        (("a", "a:head", *lab), "'a:head' was given more than once"),
        (("a", "z", *lab), "no encoder, similarity matrix or file 'z'; there are: a, b, c, d, meadows, theory"),
        (("a", "theroy", *lab), "did you mean 'theory'?"),
        (("a", "b:hed", *lab), "'b' has no layer 'hed'; did you mean 'head'?"),
        (("a", "b", "--judgments", "labb"), "did you mean 'lab'?"),
        (("a", tmp_path / "nan.npy", *lab), "embeddings of 14 of 14 stimuli are not finite, the first is 'clip 0'"),
        (("a", tmp_path / "few.csv", *lab), "lacks 12 of 14 stimuli, the first is 'clip 0'"),
        (("a", tmp_path / "flat.csv", *lab), "are all equal"),
        (("a", tmp_path / "none.csv", *lab), "no file"),
        (("a", "b", *lab, "--cv", "--folds", 8), "folds is 8: expected 2 to 7"),
        (("a", "b", *lab, "--folds", 3), "--folds is of the cross-validation; give --cv, or leave --folds out"),
        (("a", "b", *lab, "--repeats", 20), "--repeats is of the cross-validation; give --cv"),
        (("a", "b", *lab, "--plot", tmp_path / "p.jpg"), "ends in .png or .svg"),
        (("a", "b", *lab, "--csv", tmp_path / "no" / "p.csv"), "make it first"),
        (("a", "b", *lab, "--root", tmp_path / "void"), "there is no store"),
        (("a", "b"), "--judgments"),
    ]:
        assert message in refused(vidsim, *arguments), arguments


def test_twins_are_named(vidsim, root):
    store = Store(root)
    twin = cosine_rsm(Embeddings(NAMES, POINTS["a"]))
    store.rsms.put("twin", RSM(twin.ids, twin.similarities / 2 + 0.5).table())
    assert "predictor 'twin' is determined by 'a:head'" in refused(vidsim, "a", "twin", "--judgments", "lab")
