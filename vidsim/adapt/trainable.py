"""Which encoders can be trained.

Imports no torch.
"""

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.card_rules import PIPELINE
from vidsim.errors import VidsimError

TOGETHER = "video+text"
"""Modality of what reads frames and captions in one pass, which no tower of `vidsim.adapt.tower` runs."""


def refuse_untrainable(card: EncoderCard) -> None:
    """Refuse an encoder whose card names nothing to train.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.

    Raises
    ------
    VidsimError
        If it has no LoRA targets, takes frames and text together, or takes text and has another default layer than its
        pipeline's own embedding.
    """
    if card.modality == TOGETHER:
        raise VidsimError(
            f"{card.name} is of family {card.family}, which cannot be trained yet; expected a transformer that takes "
            "frames or captions alone, as timesformer-base, clip-vit-b-32 or all-MiniLM-L6-v2"
        )
    if not card.lora_targets:
        raise VidsimError(
            f"{card.name} has no LoRA targets: its card names no linear layers to train; expected a transformer, as "
            "timesformer-base, clip-vit-b-32 or all-MiniLM-L6-v2"
        )
    if card.modality == "text" and card.default_layer != PIPELINE:
        raise VidsimError(
            f"{card.name} has default_layer {card.default_layer!r} in its card; a text encoder is trained at its "
            f"pipeline's own embedding: set default_layer to {PIPELINE!r}"
        )
