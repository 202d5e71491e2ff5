"""Targets are what the trained layer's gradient reaches."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from published import MAKERS
from tiny_models import QWEN, XCLIP, write_qwen, write_xclip
from torch import nn

from vidsim.adapt.material import Material
from vidsim.adapt.recipe import Unfit
from vidsim.adapt.targets import find_targets, linear_layers
from vidsim.adapt.tower import tower_of
from vidsim.adapt.trunk import trunk_of
from vidsim.encoders import catalog
from vidsim.encoders.catalog import CARDS
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture
def loaded(publish, tmp_path):
    """Load a tiny encoder by its name in the catalog, its card as it is wanted."""

    def load(name, change=lambda card: card):
        if name == MINILM:
            return catalog.load(catalog.resolve(name), device="cpu")
        write = {QWEN: write_qwen, XCLIP: write_xclip}.get(name)
        made = write(tmp_path / "own") if write else publish(name)
        return catalog.load(catalog.resolve(change(made.card), checkpoint=str(made.folder)), device="cpu")

    return load


def embedder(encoder, layer):
    """Return a function that embeds two stimuli by the layer, following gradients."""
    modality = encoder.card.modality
    ids, captions, frames = ("a", "b"), None, None
    if "text" in modality:
        captions = {"a": ("two people talk",), "b": ("a dog runs", "a dog jumps")}
    if modality != "text":
        rng, size = np.random.default_rng(2), encoder.card.size or 48
        count = encoder.card.sampling.frames
        pixels = {name: rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8) for name in ids}
        clips = {name: torch.stack([encoder.prepare(frame) for frame in pixels[name]]) for name in ids}
        frames = clips.__getitem__
    stuff = Material(Triplets(("a", "b", "c"), np.array([[0, 1, 2]])), None, captions=captions, frames=frames)
    return partial(tower_of(encoder, stuff, "mean", layer), ids, None)


def find(encoder, layer, wanted):
    return find_targets(encoder, layer, wanted, embedder(encoder, layer))


def reached(encoder, layer):
    """Name the linear layers whose weights a gradient of the layer's embeddings reaches."""
    linear = {name: module for name, module in trunk_of(encoder).named_modules() if isinstance(module, nn.Linear)}
    for module in linear.values():
        module.weight.requires_grad_()
    vectors = embedder(encoder, layer)()
    (vectors * torch.randn(vectors.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    found = {name for name, module in linear.items() if module.weight.grad is not None and module.weight.grad.any()}
    for module in linear.values():
        module.weight.requires_grad_(requires_grad=False)
    return found


def expand(encoder, ends):
    dotted = tuple(f".{end}" for end in ends)
    return {name for name, _ in trunk_of(encoder).named_modules() if f".{name}".endswith(dotted)}


@pytest.mark.parametrize("name", [MINILM, QWEN, XCLIP, *(name for name in MAKERS if CARDS[name].lora_targets)])
def test_all_that_a_card_names_is_reached_by_the_gradient_of_its_own_layer(name, loaded):
    encoder = loaded(name)
    layer = encoder.card.default_layer
    ends = find(encoder, layer, "attention")
    assert ends == encoder.card.lora_targets
    assert expand(encoder, ends) <= reached(encoder, layer)


@pytest.mark.parametrize("wanted", ["attention", "all-linear"])
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        (QWEN, "model.language_model.layers.0"),
        (XCLIP, "vision_model.encoder.layers.0"),
        ("timesformer-base", "encoder.layer.0"),
        ("clip-vit-b-32", "encoder.layers.0"),
    ],
)
def test_of_a_layer_before_the_last_those_behind_it_are_left_out(name, layer, wanted, loaded):
    encoder = loaded(name)
    layer = next(one for one in encoder.card.layers if one.endswith(layer))
    every = linear_layers(encoder) if wanted == "all-linear" else encoder.card.lora_targets
    found = find(encoder, layer, wanted)
    assert set(found) == expand(encoder, every) & reached(encoder, layer)
    assert len(found) < len(expand(encoder, every))


def test_of_a_vision_language_model_the_tower_that_sees_runs_before_every_block(loaded):
    encoder = loaded(QWEN)
    layer = "model.language_model.layers.0"
    ends = ["qkv", "q_proj"]
    found = find(encoder, layer, ends)
    assert set(found) == expand(encoder, ends) & reached(encoder, layer)
    assert {name.split(".")[1] for name in found} == {"visual", "language_model"}


def test_the_order_of_a_card_decides_nothing(loaded):
    layer = "model.visual.merger"  # it runs first
    encoder = loaded(QWEN, lambda card: replace(card, layers=(*card.layers, layer), default_layer=layer))
    assert expand(encoder, ["qkv"]) <= reached(encoder, layer)
    assert find(encoder, layer, ["qkv"]) == ("qkv",)
    said = (
        r"^no 'q_proj' of Qwen3-VL-2B-Instruct has a part in its layer 'model\.visual\.merger', which is trained; mend "
    )
    with pytest.raises(VidsimError, match=rf"{said}lora_targets of its card$"):
        find(encoder, layer, "attention")
    with pytest.raises(Unfit, match=rf"{said}adapter\.targets$"):
        find(encoder, layer, ["qkv", "q_proj"])
    with pytest.raises(Unfit, match=r"^no '.*layers\.0.*' of Qwen"):
        find(encoder, layer, "all-linear")


def test_what_runs_and_is_read_by_nothing_is_no_target(loaded):
    encoder = loaded(MINILM)
    layer = encoder.card.default_layer
    assert "pooler.dense" not in reached(encoder, layer)
    found = find(encoder, layer, ["dense"])
    assert set(found) == expand(encoder, ["dense"]) - {"pooler.dense"}
    with pytest.raises(
        Unfit, match=r"^no 'pooler.dense' of all-MiniLM-L6-v2 has a part in its layer 'sentence_embedding'"
    ):
        find(encoder, layer, ["query", "pooler.dense"])


def test_a_layer_in_front_of_all_linear_layers_has_no_targets(loaded):
    encoder = loaded("dino-vitb16")
    with pytest.raises(Unfit, match=r"^no 'q_proj' of dino-vitb16 has a part in its layer 'embeddings'"):
        find(encoder, "embeddings", ["q_proj"])
