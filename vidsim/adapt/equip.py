"""Equip: put in and behind an encoder what a recipe trains."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from vidsim.adapt.attached import Attached, attach
from vidsim.adapt.golden import golden_embedding
from vidsim.adapt.head import Head, LinearHead
from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.sections import Adapter
from vidsim.adapt.targets import find_targets
from vidsim.encoders.base import Encoder


def equip(
    encoder: Encoder,
    layer: str,
    settings: Adapter,
    fitted: Callable[[], LinearTransform],
    embed: Callable[[], Float[Tensor, "n d"]],
) -> Attached:
    """Attach LoRA weights and a head to an encoder.

    Parameters
    ----------
    encoder : Encoder
        One that can be trained. It is changed.
    layer : str
        Layer that is trained.
    settings : Adapter
        Rank, targets, dropout, head.
    fitted : callable
        Fits what a linear head begins as.
    embed : callable
        Embeds a stimulus or more by the layer, following gradients.

    Returns
    -------
    Attached
        What is trained.

    Raises
    ------
    Unfit
        If the encoder has no such linear layers as the targets are.
    VidsimError
        If its card names some that it has not, or modules that are none.
    """
    targets = find_targets(encoder, layer, settings.targets, embed) if settings.rank else ()
    head: nn.Module | None = None
    if settings.head == "linear":
        head = LinearHead.of(fitted())
    elif settings.head:
        width = golden_embedding(encoder, None, layer).size  # a card may leave it open, and pooling may multiply it
        head = Head(width, settings.head, settings.head_dropout)
    return attach(
        encoder, rank=settings.rank, scaling=settings.alpha, targets=targets, dropout=settings.dropout, head=head
    )
