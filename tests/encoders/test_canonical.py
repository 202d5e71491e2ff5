"""Canonical vectors: each architecture, in the published files' form, on one drawn clip, weights from a formula.

They pin the whole way from decoded frames to a vector: a change of the upstream library that moves embeddings shows.
"""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vidsim.encoders import catalog

CANONICAL = {
    "timesformer-base": [0.89885, 0.62024, 1.89918, 1.23104, -0.95703, 1.67371],
    "videomae-base-finetuned-kinetics": [-0.09487, -1.45405, -1.04727, 1.90504, 1.35319, -6.61761],
    "vivit-b-16x2-kinetics400": [0.30378, 1.19927, 1.95195, 1.30838, 0.23204, 1.42024],
    "vjepa2-vitl-fpc16-256-ssv2": [0.7797, 1.27811, 2.69117, 0.60048, 0.38961, 1.79756],
    "clip-vit-b-32": [0.19441, 1.27664, 3.95326, -0.69841, 0.8097, 3.03539],
    "dino-vitb16": [1.27142, 0.85107, 1.57032, 1.24913, 1.85468, -1.93341],
    "dinov2-base": [-0.62966, 0.21118, 0.5211, 1.16771, 3.19642, 1.73887],
    "dinov3-vitb16": [2.22343, 0.68376, 1.2631, 2.62387, 0.23837, 1.21492],
    "siglip2-base-patch16-224": [2.096, 3.02613, -0.96963, -4.32316, 0.87423, -0.68008],
}
"""First six features of the default layer, measured with transformers 5.23 and torch 2.13."""


def drawn(frames):
    """Draw a moving pattern, 40 x 72 pixels."""
    t, y, x, colour = np.meshgrid(np.arange(frames), np.arange(40), np.arange(72), np.arange(3), indexing="ij")
    return np.rint(127.5 + 127.5 * np.sin((x + 2 * t) / 9 + colour) * np.cos((y - t) / 7)).astype(np.uint8)


def by_formula(state):
    """Give every weight a value by its name's place and its own place."""
    made = {}
    for number, name in enumerate(sorted(state)):
        if not state[name].is_floating_point():
            made[name] = state[name]
            continue
        places = torch.arange(1, state[name].numel() + 1, dtype=torch.float64)
        mixed = (torch.sin(places * 12.9898 + number * 78.233) * 43758.5453).frac()
        made[name] = (0.4 * mixed).reshape(state[name].shape).float() + (1 if "norm" in name else 0)
    return made


@pytest.mark.parametrize("name", CANONICAL)
def test_canonical_vectors(name, publish):
    made = publish(name)
    save_file(by_formula(made.state), made.folder / "model.safetensors", metadata={"format": "pt"})
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    clip = torch.stack([encoder.prepare(frame) for frame in drawn(made.card.sampling.frames)])
    batch = torch.stack([clip, torch.zeros_like(clip)])
    found, black = encoder.encode(batch, [made.card.default_layer], lambda _, x: x)[made.card.default_layer][:, :6]
    np.testing.assert_allclose(found, CANONICAL[name], rtol=1e-3, atol=1e-4)
    assert np.abs(found - black).max() > 0.02  # the clip matters


def test_every_architecture_has_one():
    wanted = {row.architecture for row in catalog.CARDS.values() if row.family in {"video_transformer", "image"}}
    assert {catalog.card(name).architecture for name in CANONICAL} == wanted
