"""Networks: frames in, the vectors that are trained out; which steps are recorded where a GPU computes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_trainer import material, recipe, trainer

from vidsim.adapt import tower as towers
from vidsim.adapt.network import Network
from vidsim.adapt.tower import FrameTower


@pytest.mark.parametrize("name", ["timesformer-base", "clip-vit-b-32"])
def test_a_network_gives_the_pooled_layer(name, publish):
    made = publish(name)
    stuff = material(made.card)
    one = trainer(made, recipe(name), stuff=stuff)
    batch = torch.stack([stuff.frames(clip) for clip in stuff.fit.ids[:3]])
    expected = one.encoder.encode(batch, [one.layer], lambda _, features: features)[one.layer]
    with torch.no_grad():
        found = Network(one.encoder, one.layer).eval()(one.encoder.preprocess.normalise(batch))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_steps_of_the_usual_size_alone_are_recorded(publish, monkeypatch):
    made = publish("timesformer-base")
    stuff = material(made.card)
    one = trainer(made, recipe(), stuff=stuff)
    tower, played, told = FrameTower(one.encoder, stuff.frames, one.layer), [], []

    def recorded(network, pixels, precision):
        told.append((network.training, one.encoder.model.training, tuple(pixels.shape), precision))
        return lambda pixels: played.append(len(pixels)) or network(pixels)

    monkeypatch.setattr(towers, "recorded", recorded)
    ids = stuff.fit.ids
    plain = tower(ids[:3], None)
    one.encoder.model.eval()
    tower.record(ids[:3], torch.bfloat16)
    assert not one.encoder.model.training
    size = made.card.size
    assert told == [(True, True, (3, made.card.sampling.frames, 3, size, size), torch.bfloat16)]
    assert torch.equal(tower(ids[:3], None), plain)
    assert played == [3]
    assert torch.equal(tower(ids[:2], None), plain[:2])
    with torch.no_grad():
        tower(ids[:3], None)
    assert played == [3]


CASES = {
    "one GPU": ({}, {}, True),
    "a CPU": ({}, {"device": "cpu"}, False),
    "several GPUs": ({}, {"num_processes": 2}, False),
    "checkpointing": ({"run": {"compile": True, "checkpointing": True}}, {}, False),
    "retention": ({"loss": {"kind": "soft", "retention": 0.5}}, {}, False),
}


@pytest.mark.parametrize(("sections", "machine", "expected"), CASES.values(), ids=CASES)
def test_passes_are_recorded_where_they_can_be(sections, machine, expected, publish, monkeypatch):
    made = publish("timesformer-base")
    told = recipe(**{"run": {"compile": True}, **sections})
    one = trainer(made, told)
    asked = []
    monkeypatch.setattr(FrameTower, "record", lambda _tower, ids, precision: asked.append((ids, precision)))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda _block: None)
    facts = {"device": "cuda", "num_processes": 1, "mixed_precision": "bf16", **machine}
    tower = one._tower()
    one.accelerator = SimpleNamespace(**facts | {"device": torch.device(facts["device"])})
    one._compile(tower)
    first = next(iter(one.batches.epoch(0)))
    ids = [one.material.fit.ids[i] for i in first.stimuli]
    assert asked == ([(ids, torch.bfloat16)] if expected else [])
