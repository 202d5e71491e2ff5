"""Networks: frames in, the vectors that are trained out; which steps are captured where a GPU computes."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from published import MAKERS
from tiny_trainer import Quiet, material, recipe, trainer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vidsim.adapt import frame_tower as towers
from vidsim.adapt.frame_tower import FrameTower
from vidsim.adapt.network import Network, graphed
from vidsim.adapt.trainer import Trainer
from vidsim.encoders.activations import capture
from vidsim.encoders.catalog import CARDS
from vidsim.encoders.transfer import move_constants
from vidsim.errors import VidsimError


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


READ_BY_CLS = [name for name in MAKERS if CARDS[name].lora_targets and CARDS[name].pooling == "cls"]


@pytest.mark.parametrize("name", READ_BY_CLS)
def test_gradients_are_those_of_the_whole_last_block(name, publish):
    made = publish(name)
    stuff = material(made.card)
    one, seen = trainer(made, recipe(name), stuff=stuff), {}
    model = one.encoder.model
    pixels = one.encoder.preprocess.normalise(torch.stack([stuff.frames(clip) for clip in stuff.fit.ids[:3]]))
    weights = {key: value for key, value in model.named_parameters() if value.requires_grad}
    direction = torch.randn(3, made.card.width, generator=torch.Generator().manual_seed(0))

    def gradients(vectors: torch.Tensor) -> dict[str, torch.Tensor]:
        found = torch.autograd.grad((vectors * direction).sum(), list(weights.values()))
        return dict(zip(weights, found, strict=True))

    def whole() -> torch.Tensor:
        model.eval()
        with capture(model, [one.layer], seen.__setitem__):
            one.encoder.forward(pixels)
        return one.encoder.pooled(one.layer, seen[one.layer], 3)

    network = Network(one.encoder, one.layer).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with FlopCounterMode(display=False) as spared:
        found = network(pixels)
    with FlopCounterMode(display=False) as full:
        expected = whole()
    block = 1 / len(made.card.blocks)
    assert 1 - 0.7 * block < spared.get_total_flops() / full.get_total_flops() < 1 - 0.1 * block
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    ours, theirs = gradients(found), gradients(expected)
    assert any(float(one.abs().max()) > 1e-3 for one in theirs.values())
    for key in weights:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-4, atol=1e-6, msg=key)


@pytest.mark.parametrize("name", ["timesformer-base", "clip-vit-b-32"])
def test_a_layer_before_the_last_block_is_as_it_was(name, publish):
    made = publish(name)
    stuff = material(made.card)
    one = trainer(made, recipe(name), stuff=stuff)
    batch = torch.stack([stuff.frames(clip) for clip in stuff.fit.ids[:2]])
    layers = made.card.blocks[:-1]
    expected = one.encoder.encode(batch, layers, lambda _, features: features)
    with torch.no_grad():
        for layer in layers:
            found = Network(one.encoder, layer).eval()(one.encoder.preprocess.normalise(batch))
            np.testing.assert_allclose(found.numpy(), expected[layer], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["videomae-base-finetuned-kinetics", "dinov3-vitb16", "dinov2-base"])
def test_clips_are_seen_as_they_are_in_training_too(name, publish):
    made = publish(name)
    one = trainer(made, recipe(name), stuff=material(made.card))
    ids = one.material.fit.ids[:3]
    one.encoder.model.train()
    first, second = one.tower(ids, None), one.tower(ids, None)
    assert torch.equal(first, second)
    np.testing.assert_allclose(first.detach().numpy(), one.embed(ids).matrix, rtol=0, atol=1e-6)


def test_means_over_tokens_are_taken_in_single_precision(publish):
    made = publish("videomae-base-finetuned-kinetics")
    stuff = material(made.card)
    one, seen = trainer(made, recipe(made.card.name), stuff=stuff), {}
    batch = one.encoder.preprocess.normalise(torch.stack([stuff.frames(clip) for clip in stuff.fit.ids[:3]]))
    one.encoder.model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = Network(one.encoder, one.layer).eval()(batch)
        with capture(one.encoder.model, [one.layer], seen.__setitem__):
            one.encoder.forward(batch)
    assert seen[one.layer].dtype == torch.bfloat16
    assert torch.equal(found, seen[one.layer].float().mean(dim=1))


def test_steps_of_the_usual_size_alone_are_captured(publish, monkeypatch):
    made = publish("timesformer-base")
    stuff = material(made.card)
    one = trainer(made, recipe(), stuff=stuff)
    tower, played, told = FrameTower(one.encoder, stuff.frames, one.layer), [], []

    def captured(network, pixels, precision):
        told.append((network.training, one.encoder.model.training, tuple(pixels.shape), precision))
        return lambda pixels: played.append(len(pixels)) or network(pixels)

    monkeypatch.setattr(towers, "graphed", captured)
    ids = stuff.fit.ids
    one.encoder.model.train()
    plain = tower(ids[:3], None)
    one.encoder.model.eval()
    tower.graph(ids[:3], torch.bfloat16)
    assert not one.encoder.model.training
    size = made.card.size
    assert told == [(True, True, (3, made.card.sampling.frames, 3, size, size), torch.bfloat16)]
    one.encoder.model.train()
    assert torch.equal(tower(ids[:3], None), plain)
    assert played == [3]
    torch.testing.assert_close(tower(ids[:2], None), plain[:2])
    with torch.no_grad():
        tower(ids[:3], None)
    one.encoder.model.eval()
    tower(ids[:3], None)
    assert played == [3]


CASES = {
    "one GPU": ({}, {}, 6),
    "a CPU": ({}, {"device": "cpu"}, 0),
    "several GPUs": ({}, {"num_processes": 2}, 0),
    "not compiled": ({"run": {"compile": False}}, {}, 0),
    "checkpointing": ({"run": {"compile": True, "checkpointing": True}}, {}, 0),
    "retention": ({"loss": {"kind": "soft", "retention": 0.5}}, {}, 0),
    # three clips a trial: 60 trials and 4 more in 15 steps, so that four have 5, the first among them
    "steps of several sizes": (
        {"batches": {"sampler": "trials", "trials": 4, "extra_trials": 4, "rsa_steps": 0}},
        {},
        12,
    ),
    "fixed stimuli": (
        {
            "loss": {"kind": "rsa"},
            "batches": {"sampler": "trials", "rsa_steps": 5, "rsa_stimuli": 6, "rsa_gradients": 3},
        },
        {},
        0,
    ),
}


@pytest.mark.parametrize(("sections", "machine", "clips"), CASES.values(), ids=CASES)
def test_the_usual_step_is_captured_where_it_can_be(sections, machine, clips, publish, monkeypatch):
    one = trainer(publish("timesformer-base"), recipe(**{"run": {"compile": True}, **sections}))
    asked = []
    monkeypatch.setattr(FrameTower, "graph", lambda _tower, ids, precision: asked.append((len(ids), precision)))
    facts = {"device": "cuda", "num_processes": 1, "mixed_precision": "bf16", **machine}
    one.accelerator = SimpleNamespace(**facts | {"device": torch.device(facts["device"])})
    one.graph()
    assert asked == ([(clips, torch.bfloat16)] if clips else [])


def test_a_run_captures_once_and_only_where_an_epoch_is_left(publish, tmp_path, monkeypatch):
    made, asked = publish("timesformer-base"), []
    monkeypatch.setattr(Trainer, "graph", lambda one: asked.append(one.seed))
    for epochs, seed in ((3, 1), (0, 2)):
        told = recipe(adapter={"rank": 2, "head": "linear"}, optimiser={"learning_rate": 0.01, "epochs": epochs})
        trainer(made, told, seed=seed).run(tmp_path / str(seed), tmp_path / "state", "mine", Quiet())
    assert asked == [1]


def test_passes_are_captured_at_the_precision_of_training(publish, monkeypatch):
    one, told = trainer(publish("timesformer-base"), recipe()), []

    def callables(network, given, *, allow_unused_input):
        told.append((network, given, allow_unused_input))

    @contextmanager
    def noted(*given, **options):
        told.append((*given, options))
        yield

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", callables)
    monkeypatch.setattr(torch.random, "fork_rng", noted)
    monkeypatch.setattr(torch, "autocast", noted)
    network, pixels = Network(one.encoder, one.layer), torch.zeros(2, 8, 3, 32, 32)
    for precision, enabled in ((torch.bfloat16, True), (torch.float32, False)):
        told.clear()
        assert graphed(network, pixels, precision) is network
        assert told == [
            ([pixels.device], {}),
            ("cuda", precision, {"enabled": enabled, "cache_enabled": False}),
            (network, (pixels,), True),
        ]

    def broken(*_, **__):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", broken)
    with pytest.raises(VidsimError) as refused:
        graphed(network, pixels, torch.float32)
    assert str(refused.value) == (
        "the passes of this model cannot be captured as CUDA graphs (operation not permitted when stream is "
        "capturing); set run.compile = false"
    )


class Devices(TorchDispatchMode):
    """Note the devices of all that is computed."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        self.seen |= {one.device.type for one in tree_leaves((args, kwargs, found)) if isinstance(one, torch.Tensor)}
        return found


@pytest.mark.parametrize("name", [name for name in MAKERS if CARDS[name].lora_targets])
def test_nothing_is_copied_to_the_device_while_a_network_runs(name, publish):
    made = publish(name)
    one = trainer(made, recipe(name), stuff=material(made.card))
    one.encoder.model.to("meta")
    move_constants(one.encoder.model, "meta")
    shape = (2, made.card.sampling.frames, 3, made.card.size, made.card.size)
    with Devices() as devices:
        Network(one.encoder, one.layer)(torch.empty(shape, device="meta"))
    assert devices.seen == {"meta"}
