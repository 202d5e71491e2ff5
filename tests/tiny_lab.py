"""A store with judgments and two models, and ``vidsim compare`` on it."""

import json

import numpy as np
import pytest

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.embeddings import Embeddings
from vidsim.rsm import cosine_rsm
from vidsim.store import Entry, Store
from vidsim.triplets import Triplets

from clips import moving_square, write_clip
from judges import random_rows

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
