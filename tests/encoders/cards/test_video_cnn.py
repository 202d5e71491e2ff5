import hashlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vidsim.encoders import catalog
from vidsim.encoders.video_cnn import build
from vidsim.report.paper import published

PUBLISHED = {
    # parameters, tensors, and a digest of all names and shapes, of the networks that the builders of pytorchvideo 0.1.5
    # make with the settings of its hub (x3d_xs, slow_r50, ...), into which its files load strictly
    "x3d-xs": (3_794_274, 563, "60ea5f8a9e124ecd"),
    "x3d-s": (3_794_274, 563, "60ea5f8a9e124ecd"),
    "x3d-m": (3_794_274, 563, "60ea5f8a9e124ecd"),
    "slow-r50": (32_454_096, 320, "5a2edd1d81a232aa"),
    "slowfast-r50": (34_566_488, 662, "a1954a68a776c2fd"),
    "i3d-r50": (28_043_472, 320, "1b8c9beccd04173e"),
    "c2d-r50": (24_327_632, 320, "9bb7eeae868ff318"),
}
ZOO = {
    # docs/source/model_zoo.md of pytorchvideo: frame length x sample rate (the slow pathway's), millions of parameters,
    # GFLOPs of one view at the test crop
    "x3d-xs": (4, 12, 3.79, 0.91),
    "x3d-s": (13, 6, 3.79, 2.96),
    "x3d-m": (16, 5, 3.79, 6.72),
    "slow-r50": (8, 8, 32.45, 54.52),
    "slowfast-r50": (8, 8, 34.57, 65.71),
    "i3d-r50": (8, 8, 28.04, 37.53),
    "c2d-r50": (8, 8, 24.33, 25.89),
}
WITHOUT_NORMS = ("slow-r50", "slowfast-r50")
"""Their published GFLOPs count convolutions alone; the others' count five operations a normalised value too."""


@pytest.fixture(scope="module")
def full_size():
    """Build every network at its real size, without memory for the weights."""
    with torch.device("meta"):
        return {name: build(catalog.card(name)).eval() for name in PUBLISHED}


def test_every_row_is_here():
    assert {row.name for row in catalog.CARDS.values() if row.family == "video_cnn"} == set(PUBLISHED) == set(ZOO)


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_have_the_published_names_and_shapes(name, full_size):
    parameters, tensors, digest = PUBLISHED[name]
    state = full_size[name].state_dict()
    lines = sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in state.items())
    assert len(lines) == tensors
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] == digest
    counted = sum(weight.numel() for weight in full_size[name].parameters())
    assert counted == catalog.card(name).parameters == parameters
    assert round(counted / 1e6, 2) == ZOO[name][2]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_clip_of_the_cards_frames_and_size_takes_the_published_work(name, full_size):
    card, model = catalog.card(name), full_size[name]
    normalised = []
    hooks = [
        module.register_forward_hook(lambda *found: normalised.append(found[2].numel()))
        for module in model.modules()
        if isinstance(module, nn.BatchNorm3d)
    ]
    with FlopCounterMode(display=False) as work, torch.no_grad():
        model(torch.empty(1, 3, card.sampling.frames, card.size, card.size, device="meta"))
    for hook in hooks:
        hook.remove()
    norms = 0 if name in WITHOUT_NORMS else 5 * sum(normalised)
    assert (work.get_total_flops() / 2 + norms) / 1e9 == pytest.approx(ZOO[name][3], abs=0.006)


@pytest.mark.parametrize("name", PUBLISHED)
def test_layers_are_every_block_in_the_order_of_the_pass(name, full_size):
    card, model = catalog.card(name), full_size[name]
    modules = dict(model.named_modules())
    ran = []
    hooks = [modules[layer].register_forward_hook(lambda *_, layer=layer: ran.append(layer)) for layer in card.layers]
    with torch.no_grad():
        model(torch.empty(1, 3, card.sampling.frames, 224, 224, device="meta"))
    for hook in hooks:
        hook.remove()
    assert ran == list(card.layers)
    top = [f"blocks.{i}" for i in range(len(modules["blocks"]))]
    assert [layer for layer in card.layers if layer.count(".") == 1] == top
    # with one pathway, a stage and its last residual block are the same
    blocks = {path for path in modules if path.split(".")[-2:-1] == ["res_blocks"]}
    last = {f"{path}.{len(module) - 1}" for path, module in modules.items() if path.endswith("res_blocks")}
    assert {layer for layer in card.layers if ".res_blocks." in layer} == (
        blocks if name == "slowfast-r50" else blocks - last
    )
    # the features are what the head is given (SlowFast pools its pathways in a block before that)
    assert card.default_layer == top[-3 if name == "slowfast-r50" else -2]


@pytest.mark.parametrize("name", PUBLISHED)
def test_frames_are_those_that_the_zoo_takes(name):
    frames, stride, *_ = ZOO[name]
    if name == "slowfast-r50":  # the zoo gives the slow pathway's; the fast one has four times as many
        frames, stride = 4 * frames, stride // 4
    card = catalog.card(name)
    assert card.sampling.frames == frames
    # the zoo cuts frames * stride frames out, here from the 50th on, and takes those at equal distances from the first
    # to the last of them, rounded down
    indices = 50 + torch.linspace(0, frames * stride - 1, frames).long().numpy()
    times = card.sampling.times((frames * stride + 99) / 30)
    np.testing.assert_array_equal(np.floor(times * 30 + 1e-6), indices)


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_and_colours_are_the_zoos(name):
    card = catalog.card(name)
    small = name in {"x3d-xs", "x3d-s"}
    assert (card.size, card.options["trained_size"]) == ((182, 160) if small else (256, 224))
    assert (card.options["mean"], card.options["std"]) == (0.45, 0.225)
    assert card.checkpoint == f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{card.options['file']}"
    assert published(name) is not None
