"""Which encoders can be trained.

Imports no torch.
"""

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.card_rules import PIPELINE
from vidsim.errors import VidsimError


def refuse_untrainable(card: EncoderCard) -> None:
    """Refuse an encoder whose card names nothing to train.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.

    Raises
    ------
    VidsimError
        If it has no LoRA targets, or takes text alone and has another default layer than its pipeline's own embedding.
    """
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
