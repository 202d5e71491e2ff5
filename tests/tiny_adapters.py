"""Adapters of tiny encoders, with weights that were drawn instead of trained."""

import torch
from safetensors.torch import load_file

from vidsim.adapt.adapter import save
from vidsim.adapt.attached import attach
from vidsim.adapt.folder import WEIGHTS, adapters_of, hash_file
from vidsim.adapt.leave import base_of
from vidsim.adapt.manifest import Manifest
from vidsim.encoders import catalog

BASE = {
    **dict.fromkeys(("encoder", "pooling", "weights", "config"), "x"),
    **dict.fromkeys(("checkpoint", "revision", "local")),
    "preprocess": {},
}
"""Base of a manifest that only says something of its own."""


def write_adapter(root, name, made, *, rank=2, head=None, width=0, data=None, scale=0.3):
    """Put an adapter of a published checkpoint among those of a root; return its folder and the encoder inside."""
    base = catalog.resolve(made.card, checkpoint=str(made.folder))
    encoder = catalog.load(base, device="cpu")
    attached = attach(encoder, rank=rank, scaling=2 * rank or 1, targets=made.card.lora_targets, head=head)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in attached.trainable().values():
            value.add_(torch.randn(value.shape, generator=generator) * scale)
    if head is not None:
        head.eval()
    folder = adapters_of(str(root)) / name
    folder.mkdir(parents=True)
    layer = made.card.default_layer
    save(attached, folder, encoder, layer)
    Manifest(
        name=name,
        base=base_of(base),
        layer=layer,
        head=width,
        files={path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.name != "README.md"},
        recipe={},
        data=data or {},
        versions={},
        seed=0,
        parameters=sum(value.numel() for value in attached.trainable().values()),
        curve=[],
    ).write(folder)
    return folder, encoder


def merged(made, folder):
    """Load the base with the adapter's weights added to its own: W + 2 B A."""
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    state = load_file(folder / WEIGHTS)
    with torch.no_grad():
        for key, down in state.items():
            if ".lora_A." in key:
                path = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                encoder.model.get_submodule(path).weight.add_(2 * state[key.replace("lora_A", "lora_B")] @ down)
    return encoder
