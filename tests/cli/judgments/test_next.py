import csv
import json
from itertools import combinations

import numpy as np
import pytest

from vidsim.analysis.active import fit_temperature, next_triplets, odd_probabilities
from vidsim.data.judgments.judgments import Judgments
from vidsim.embeddings import Embeddings
from vidsim.rsm import cosine_rsm
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from judges import random_rows, release

IDS = tuple(f'clip {k}, "ü"' for k in range(9))
NAMES = ("more", *reversed(IDS), "and more")
POINTS = np.random.default_rng(0).standard_normal((11, 5)).astype(np.float32)
RSM = cosine_rsm(Embeddings(NAMES, POINTS)).take(IDS)


def judged(shown):
    """Let somebody judge who leaves the most similar pair together in two trials of three."""
    s = RSM.similarities
    rows = []
    for number, row in enumerate(shown.tolist()):
        best = max(range(3), key=lambda k: s[row[k - 1], row[k - 2]])
        odd = best if number % 3 else number // 3 % 3
        rows.append([row[odd - 2], row[odd - 1], row[odd]])
    return Triplets(IDS, np.array(rows, np.int32))


TRIALS = judged(random_rows(9, 40))


@pytest.fixture
def root(tmp_path):
    """Return a store with judgments of nine stimuli, and models that know more stimuli, in another order."""
    store = Store(tmp_path / "root", create=True)
    store.judgments.put("lab", Judgments.of(TRIALS).table())
    table = store.create("toy", {"checkpoint": "a"}, {"block.1": 5}, default_layer="block.1", versions={})
    table.write([Entry(name, f"/{name}", name) for name in NAMES], {"block.1": POINTS})
    store.rsms.put("human", cosine_rsm(Embeddings(NAMES, POINTS)).table())
    store.rsms.put("few", cosine_rsm(Embeddings(NAMES[3:], POINTS[3:])).table())
    return tmp_path / "root"


def refused(vidsim, *arguments):
    status, out, err = vidsim("judgments", "next", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_batch_is_the_librarys(vidsim, root, tmp_path):
    out = tmp_path / "next.csv"
    arguments = ("lab", "--model", "toy:block.1", "-n", 12, "--seed", 3, "--root", root, "--out", out)
    status, text, err = vidsim("judgments", "next", *arguments, "--json")
    assert (status, err, text.count("\n")) == (0, "", 1)
    answer = json.loads(text)
    heat = fit_temperature(RSM, TRIALS, seed=3)
    chosen = next_triplets(RSM, TRIALS, 12, temperature=heat, seed=3)
    rows = rows_of(out)
    assert list(rows[0]) == [
        *(f"stim{k}" for k in (1, 2, 3)),
        *(f"probability_odd{k}" for k in (1, 2, 3)),
        "entropy",
        "judgments",
    ]
    assert [[row[f"stim{k}"] for k in (1, 2, 3)] for row in rows] == [[IDS[k] for k in row] for row in chosen]
    predicted = [[float(row[f"probability_odd{k}"]) for k in (1, 2, 3)] for row in rows]
    np.testing.assert_allclose(predicted, odd_probabilities(RSM, chosen, heat), rtol=1e-6)
    shown = TRIALS.rsm().counts
    least = [min(shown[i, j] for i, j in combinations(row, 2)) for row in chosen.tolist()]
    assert [int(row["judgments"]) for row in rows] == least
    assert (answer["triplets"], answer["stimuli"], answer["judged"], answer["model"]) == (12, 9, 40, "toy:block.1")
    assert (answer["temperature"], answer["temperature_fitted"]) == (pytest.approx(heat), True)
    assert answer["pairs"] == len({frozenset(p) for row in chosen.tolist() for p in combinations(row, 2)})
    assert answer["entropy"] == pytest.approx(np.mean([float(row["entropy"]) for row in rows]))


def test_a_stored_matrix_predicts_as_the_embeddings_do(vidsim, root, tmp_path):
    contents = []
    for model in ("toy:block.1", "human"):
        out = tmp_path / "next.csv"
        arguments = ("lab", "--model", model, "-n", 9, "--temperature", 0.5, "--root", root, "--out", out, "--force")
        status, text, _ = vidsim("judgments", "next", *arguments)
        assert status == 0
        assert "9 triplets of 9 stimuli" in text
        assert "temperature 0.5\n" in text
        contents.append([row["stim1"] for row in rows_of(out)])
    assert contents[0] == contents[1]


def test_coverage_alone_prefers_what_nobody_judged(vidsim, root, tmp_path):
    out = tmp_path / "next.csv"
    Store(root).judgments.put("little", Judgments.of(TRIALS.select(np.arange(3))).table())
    arguments = ("little", "--model", "human", "-n", 5, "--uncertainty-weight", 0, "--root", root, "--out", out)
    answer = json.loads(vidsim("judgments", "next", *arguments, "--json")[1])
    assert answer["pairs_new"] == answer["pairs"] == 15
    assert {row["judgments"] for row in rows_of(out)} == {"0"}


def test_a_split_of_the_stimuli(vidsim, tmp_path):
    folder = release(tmp_path / "release")
    names = [f"clip {k}.mp4" for k in range(6)]
    store = Store(tmp_path / "root", create=True)
    store.rsms.put("all", cosine_rsm(Embeddings(names, POINTS[:6])).table())
    out = tmp_path / "next.csv"
    status, _, err = vidsim(
        "judgments",
        "next",
        folder,
        "--model",
        "all",
        "-n",
        1,
        "--split",
        "train",
        "--root",
        tmp_path / "root",
        "--out",
        out,
    )
    assert (status, err) == (0, "")
    (row,) = rows_of(out)
    assert {row["stim1"], row["stim2"], row["stim3"]} <= set(names[:4])


def test_a_model_that_knows_nothing_is_said(vidsim, root, tmp_path):
    contrary = cosine_rsm(Embeddings(IDS, np.eye(9, dtype=np.float32)))
    Store(root).rsms.put("flat", contrary.table())
    out = tmp_path / "next.csv"
    status, _, err = vidsim("judgments", "next", "lab", "--model", "flat", "-n", 3, "--root", root, "--out", out)
    assert status == 0
    assert "no better than chance" in err
    answer = vidsim(
        "judgments", "next", "lab", "--model", "flat", "-n", 3, "--root", root, "--out", out, "--force", "--json"
    )
    assert json.loads(answer[1])["temperature"] is None


def test_problems_are_one_line(vidsim, root, tmp_path):
    out = tmp_path / "next.csv"
    base = ("lab", "--root", root, "--out", out)
    assert "lacks 2 of 9 stimuli, the first is 'clip 7, \"ü\"'" in refused(vidsim, *base, "--model", "few")
    assert "no encoder, similarity matrix or file 'none'" in refused(vidsim, *base, "--model", "none")
    assert "did you mean 'toy'" in refused(vidsim, *base, "--model", "tay:block.1")
    assert "block.1" in refused(vidsim, *base, "--model", "toy:block")
    assert "--temperature 0: expected" in refused(vidsim, *base, "--model", "human", "--temperature", 0)
    assert "--temperature" in refused(vidsim, *base, "--model", "human", "--temperature", "nan")
    assert "asked for, but only" in refused(vidsim, *base, "--model", "human", "-n", 85)
    assert not out.exists()
    out.write_text("mine")
    assert "--force replaces it" in refused(vidsim, *base, "--model", "human", "-n", 3)
    assert out.read_text() == "mine"
    assert "ends in .csv" in refused(vidsim, "lab", "--model", "human", "--root", root, "--out", tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir() if path.suffix] == ["next.csv"]
