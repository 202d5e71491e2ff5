"""Towers: the part of an encoder that is trained, run with gradients on stimuli known by their ids."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from vidsim.adapt.frame_tower import FrameTower
from vidsim.adapt.joint_tower import JointTower
from vidsim.adapt.material import Material
from vidsim.adapt.shown import Rule
from vidsim.adapt.text_tower import TextTower
from vidsim.encoders.base import Encoder
from vidsim.encoders.frame_encoder import FramedEncoder
from vidsim.encoders.sentence import SentenceEncoder
from vidsim.encoders.vision_language import VisionLanguage


@runtime_checkable
class Tower(Protocol):
    """Give embeddings of stimuli with gradients."""

    def __call__(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed stimuli; with a generator, what is random (which caption) is drawn with it."""
        ...


def tower_of(encoder: Encoder, material: Material, rule: Rule, layer: str) -> Tower:
    """Choose the tower of an encoder.

    Parameters
    ----------
    encoder : Encoder
        One that can be trained.
    material : Material
        With the captions that it reads, and the frames that it sees.
    rule : {"draw", "mean", "first"}
        Which captions of a stimulus a step shows.
    layer : str
        Layer that is trained.

    Returns
    -------
    Tower
        Of the material's stimuli.
    """
    captions, frames = material.captions, material.frames
    if isinstance(encoder, SentenceEncoder):
        assert captions is not None, "an encoder that reads needs captions"
        return TextTower(encoder, captions, rule)
    assert frames is not None, "an encoder that sees needs frames"
    if isinstance(encoder, VisionLanguage):
        return JointTower(encoder, frames, captions or {}, rule, layer)
    assert isinstance(encoder, FramedEncoder)
    return FrameTower(encoder, frames, layer)
