"""Golden embedding: what an adapter gives for a stimulus that is the same everywhere, kept beside it and compared."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import nn

from vidsim.adapt.embed import embed
from vidsim.encoders.base import Encoder

CAPTION = "Two people sit at a table and talk; a third one laughs."
CLIP = (48, 64)
"""Height and width of the clip."""

TOLERANCE = 1e-3
"""By how much of its largest value a golden embedding may differ on another machine."""


def golden_embedding(encoder: Encoder, head: nn.Module | None, layer: str) -> Float[ndarray, " d"]:
    """Embed a stimulus that is the same everywhere: a caption, a clip that a formula draws, or both together.

    Parameters
    ----------
    encoder : Encoder
        The encoder with its adapter.
    head : Module, optional
        The head.
    layer : str
        Layer that was trained.

    Returns
    -------
    array of shape (d,)
        What the adapter gives for it.
    """
    if encoder.card.modality == "text":
        batch: object = [encoder.prepare((CAPTION,))]
    else:
        assert encoder.card.sampling is not None
        t, y, x, colour = np.ogrid[: encoder.card.sampling.frames, : CLIP[0], : CLIP[1], :3]
        clip = ((x * 5 + y * 3 + t * 11 + colour * 41) % 256).astype(np.uint8)
        frames = torch.stack([torch.as_tensor(encoder.prepare(frame)) for frame in clip])
        batch = frames[None] if encoder.card.modality != "video+text" else [(frames, (CAPTION,))]
    return embed(encoder, head, layer, batch)[0]


def is_golden(found: Float[ndarray, "..."], kept: Float[ndarray, "..."]) -> bool:
    """Tell whether an embedding is the one that was kept.

    Parameters
    ----------
    found : array of shape (d,)
        Of `golden_embedding`.
    kept : array
        As it was when the adapter was saved.

    Returns
    -------
    bool
        Up to rounding; False where one has NaN.
    """
    return found.shape == kept.shape and bool(np.abs(found - kept).max() <= TOLERANCE * np.abs(kept).max())
