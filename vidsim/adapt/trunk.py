"""Trunk: the network inside an encoder that takes the LoRA weights."""

from torch import nn

from vidsim.adapt.trainable import refuse_untrainable
from vidsim.encoders.base import Encoder
from vidsim.encoders.image import ImageEncoder
from vidsim.encoders.sentence import SentenceEncoder
from vidsim.encoders.video_text import VideoText
from vidsim.encoders.video_transformer import VideoTransformer
from vidsim.encoders.vision_language import VisionLanguage
from vidsim.errors import VidsimError

FAMILIES = (VideoTransformer, ImageEncoder, VideoText, VisionLanguage)
"""Families that see and can be trained."""


def trunk_of(encoder: Encoder) -> nn.Module:
    """Return the network of the transformers library inside an encoder: it takes the LoRA weights.

    Parameters
    ----------
    encoder : Encoder
        One that can be trained.

    Returns
    -------
    Module
        The network.

    Raises
    ------
    VidsimError
        If the encoder cannot be trained.
    """
    refuse_untrainable(encoder.card)
    if isinstance(encoder, SentenceEncoder):
        return encoder.model[0].model
    if isinstance(encoder, FAMILIES):
        return encoder.model
    raise VidsimError(f"{encoder.card.name} is of family {encoder.card.family}, which cannot be trained yet")
