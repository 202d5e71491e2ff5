"""Small files of the model zoo's form: pickles with weights under ``model_state``, and what training left beside."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidsim.encoders import catalog
from vidsim.encoders.base import EncoderCard
from vidsim.encoders.video_cnn import build

NAMES = ("x3d-xs", "x3d-s", "x3d-m", "slow-r50", "slowfast-r50", "i3d-r50", "c2d-r50")
SIZE, TRAINED = 48, 32
NARROW = {"width": 16, "depths": (1, 2, 3, 1)}
"""Channels and blocks of small ResNets; X3D's channels are given, so only its blocks are fewer."""


@dataclass(frozen=True)
class ZooFile:
    """A checkpoint file, the card that fits it, and its weights by their published names."""

    card: EncoderCard
    path: Path
    state: dict[str, Tensor]


def small_card(name: str) -> EncoderCard:
    """Return the card of a network with fewer blocks, for small frames."""
    card = catalog.card(name)
    init: dict[str, Any] = {"depths": (1, 2, 3, 1)} if card.architecture == "X3D" else NARROW
    small = replace(card, size=SIZE, options={**card.options, "trained_size": TRAINED, "init": init})
    with torch.device("meta"):
        model = build(small)
    there = dict(model.named_modules())
    return replace(
        small,
        layers=tuple(layer for layer in card.layers if layer in there),
        parameters=sum(weight.numel() for weight in model.parameters()),
    )


def drawn_state(card: EncoderCard, seed: int = 3) -> dict[str, Tensor]:
    """Draw weights under which signals neither vanish nor grow, and under which every tensor matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        expected = build(card).state_dict()
    made: dict[str, Tensor] = {}
    for name, tensor in expected.items():
        drawn = torch.randn(tensor.shape, generator=generator)
        if re.search("num_batches_tracked", name):
            made[name] = torch.tensor(1000)
        elif name.endswith("running_var"):
            made[name] = drawn.abs() + 0.5
        elif tensor.ndim == 1 and name.endswith("weight"):
            made[name] = 1 + 0.2 * drawn
        elif tensor.ndim == 1:
            made[name] = 0.2 * drawn
        else:
            made[name] = drawn * (2 / tensor[0].numel()) ** 0.5
    return made


def write_zoo_file(folder: Path, name: str, **beside: Any) -> ZooFile:
    """Write a small network; ``beside`` replaces entries next to ``model_state``."""
    card = small_card(name)
    state = drawn_state(card)
    path = folder / card.options["file"]
    path.parent.mkdir(parents=True, exist_ok=True)
    momentum = {0: {"momentum_buffer": torch.zeros(2)}}
    training = {"state": momentum, "param_groups": [{"lr": 0.1, "nesterov": True, "params": [0]}]}
    torch.save({"epoch": 299, "model_state": state, "optimizer_state": training, "cfg": "BN: {}\n", **beside}, path)
    return ZooFile(card, path, state)
