"""Which encoders can be trained.

Imports no torch.
"""

from vidsim.encoders.base import EncoderCard
from vidsim.errors import VidsimError

TOGETHER = ("video_text", "vision_language")
"""Families of frames and text, which no tower of `vidsim.adapt.tower` runs."""


def refuse_untrainable(card: EncoderCard) -> None:
    """Refuse an encoder whose card names nothing to train.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.

    Raises
    ------
    VidsimError
        If it has no LoRA targets, or takes frames and text together.
    """
    if card.family in TOGETHER:
        raise VidsimError(
            f"{card.name} is of family {card.family}, which cannot be trained yet; expected a transformer that takes "
            "frames or captions alone, as timesformer-base, clip-vit-b-32 or all-MiniLM-L6-v2"
        )
    if not card.lora_targets:
        raise VidsimError(
            f"{card.name} has no LoRA targets: its card names no linear layers to train; expected a transformer, as "
            "timesformer-base, clip-vit-b-32 or all-MiniLM-L6-v2"
        )
