import json
import re

import numpy as np
import pytest

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.embeddings import Embeddings
from vidsim.rsm import cosine_rsm
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"clip {k}" for k in range(30))
POINTS = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
NOISE = {"good": 0.5, "poor <b>": 2.0}
TITLES = (
    "People",
    "Models and people",
    "Differences between models",
    "Unique and shared variance",
    "What embeddings tell of social attributes",
    "poor <b>:head and good:head",
    "Towards people",
    "Away from people",
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a store with judgments of a planted geometry, captions, ratings, and two encoders."""
    root = tmp_path / "root"
    store = Store(root, create=True)
    similarity = cosine_rsm(Embeddings(IDS, POINTS)).similarities
    rows = []
    for row in random_rows(30, 900).tolist():
        best = max(range(3), key=lambda k: similarity[row[k - 1], row[k - 2]])
        rows.append([row[best - 2], row[best - 1], row[best]])
    store.judgments.put("lab", Judgments.of(Triplets(IDS, np.array(rows, np.int32))).table())
    stimuli = (
        Stimulus(name, None, (f"caption of {name}",), {"warmth": float(POINTS[k, 0]), "size": float(POINTS[k, 1])})
        for k, name in enumerate(IDS)
    )
    store.stimuli.put("lab", StimulusSet(tuple(stimuli)).table())
    rng = np.random.default_rng(1)
    for name, noise in NOISE.items():
        table = store.create(name, {"checkpoint": name}, {"head": 6}, default_layer="head", versions={})
        table.write([Entry(n, "", n) for n in IDS], {"head": POINTS + noise * rng.normal(size=(30, 6)).astype("f4")})
    monkeypatch.setenv("VIDSIM_ROOT", str(root))
    return root


def answer(vidsim, *arguments):
    status, out, err = vidsim("report", "--judgments", "lab", *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_one_page_holds_everything_and_so_does_its_twin(vidsim, root, tmp_path):
    out = tmp_path / "models.html"
    found = answer(vidsim, "--encoders", *NOISE, "--out", out, "--resamples", 100)
    assert found["left_out"] == {}
    page, twin = out.read_text(), out.with_suffix(".md").read_text()
    outside = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    assert "http" not in outside
    assert "<b>:head" not in outside
    for title in TITLES:
        assert f"<h2>{title.replace('<', '&lt;').replace('>', '&gt;')}</h2>" in page
        assert f"## {title.replace('<', chr(92) + '<').replace('>', chr(92) + '>')}\n" in twin
    for value in (found["align"]["encoders"][0]["rho"], found["partition"]["total"]):
        assert f"{value:.4f}" in outside
        assert f"{value:.4f}" in twin
    figures = re.findall(r"\]\(models-figures/([^)]+)\)", twin)
    assert sorted(figures) == sorted(path.name for path in (tmp_path / "models-figures").iterdir())
    assert len(figures) == page.count("<svg") == 4
    assert [e["encoder"] for e in found["align"]["encoders"]] == ["good", "poor <b>"]
    assert found["compare"]["towards"] > found["compare"]["away"]
    assert {score["attribute"] for score in found["probe"]["spaces"][0]["scores"]} == {"warmth", "size"}


def test_a_single_encoder_is_enough_and_the_rest_is_said(vidsim, root, tmp_path):
    out = tmp_path / "one.html"
    status, said, err = vidsim("report", "--judgments", "lab", "-e", "good", "--out", out, "--resamples", 20)
    assert (status, err) == (0, "")
    assert "partition left out: variance is partitioned among two models or more" in said
    assert "compare left out: flips are between two models" in said
    assert "<h2>Unique and shared variance</h2>" not in out.read_text()


def test_flips_of_other_spaces_can_be_asked_for(vidsim, root, tmp_path):
    how = ("--before", "good", "--after", "poor <b>", "--resamples", 20)
    found = answer(vidsim, "-e", "good", "--out", tmp_path / "p.html", *how)
    assert (found["compare"]["a"], found["compare"]["b"]) == ("good:head", "poor <b>:head")
    assert found["compare"]["towards"] < found["compare"]["away"]


@pytest.mark.parametrize(
    ("encoders", "named", "pair"),
    [
        (("good", "poor <b>"), ("--after", "poor <b>"), ("good:head", "poor <b>:head")),
        (("good", "poor <b>"), ("--before", "good:head"), ("good:head", "poor <b>:head")),
        (("good",), ("--after", "poor <b>"), ("good:head", "poor <b>:head")),
        (("poor <b>",), ("--before", "good"), ("good:head", "poor <b>:head")),
    ],
    ids=["worse", "better", "alone", "before"],
)
def test_whom_nobody_names_is_the_best_other(vidsim, root, tmp_path, encoders, named, pair):
    arguments = [word for name in encoders for word in ("-e", name)]
    found = answer(vidsim, *arguments, *named, "--out", tmp_path / "page.htm", "--resamples", 0)
    assert (found["compare"]["a"], found["compare"]["b"]) == pair
    assert (tmp_path / "page.htm").read_text().startswith("<!doctype html>")


def test_mistakes_are_one_line_and_write_nothing(vidsim, root, tmp_path):
    (tmp_path / "taken.html").write_text("mine")
    (tmp_path / "also.md").write_text("mine")
    (tmp_path / "file-figures").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    new = tmp_path / "new.html"
    for arguments, message in (
        (("-e", "good", "--out", tmp_path / "page.txt"), "expected a name that ends in .html"),
        (("-e", "good", "--out", tmp_path / "taken.html"), "exists already; --force replaces it"),
        (("-e", "good", "--out", tmp_path / "also.html"), "also.md' exists already"),
        (("-e", "good", "--out", tmp_path / "file.html"), "file-figures' exists already; --force writes into it"),
        (
            ("-e", "good", "--out", tmp_path / "file.html", "--force"),
            "file-figures' is a file, where a folder for the ",
        ),
        (("-e", "god", "--out", new), "did you mean 'good'"),
        (("-e", "good", "--out", new, "--ratings", "none"), "none"),
        (
            ("-e", "good", "--out", new, "--before", "bad", "--after", "good"),
            "no encoder, similarity matrix or file 'bad'",
        ),
        (("-e", "good", "--out", new, "--actions", tmp_path / "lists"), "lists"),
        (("-e", "good", "--out", new, "--rollout", "a.mp4", "--before", "poor <b>"), "a.mp4"),
        (
            ("-e", "good", "--out", new, "--rollout", "a.mp4"),
            "--rollout shows what two encoders attend to, and good:head is alone; name the other with --before, or ",
        ),
        (
            ("-e", "good", "--out", new, "--rollout", "a.mp4", "--before", "good"),
            "--rollout shows what two encoders attend to, and good is alone; name the other with --after, or ",
        ),
        (
            ("-e", "good", "--out", new, "--checkpoint-before", tmp_path),
            f"--checkpoint-before {str(tmp_path)!r} has no effect without --rollout; leave it out",
        ),
    ):
        status, out, err = vidsim("report", "--judgments", "lab", *arguments, "--resamples", 0)
        assert (status, out, err.count("\n")) == (2, "", 1), arguments
        assert message in err
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert not (tmp_path / "new-figures").exists()


def test_action_recognition_is_added_where_asked_for(vidsim, root, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Wave\n2 Walk\n")
    videos = [f"{'Wave' if k % 2 else 'Walk'}/v_{'Wave' if k % 2 else 'Walk'}_g{k // 2:02}_c01.avi" for k in range(40)]
    (lists / "trainlist01.txt").write_text("".join(f"{v} {1 if 'Wave' in v else 2}\n" for v in videos[:24]))
    (lists / "testlist01.txt").write_text("".join(f"{v}\n" for v in videos[24:]))
    rng = np.random.default_rng(2)
    names = (*IDS, *videos)
    vectors = rng.normal(size=(len(names), 6)).astype(np.float32)
    vectors[:30] = POINTS
    vectors[30:, 0] += [3.0 if "Wave" in v else -3.0 for v in videos]
    table = Store(root).create("both", {"checkpoint": "x"}, {"head": 6}, default_layer="head", versions={})
    table.write([Entry(n, "", n) for n in names], {"head": vectors})
    found = answer(vidsim, "-e", "both", "--out", tmp_path / "p.html", "--actions", lists, "--resamples", 20)
    assert found["classify"]["encoders"][0]["top1"] > 0.9
    assert "<h2>Action recognition by a linear classifier</h2>" in (tmp_path / "p.html").read_text()
