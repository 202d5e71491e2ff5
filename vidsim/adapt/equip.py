"""Equip: put in and behind an encoder what a recipe trains."""

from collections.abc import Callable, Sequence

from torch import nn

from vidsim.adapt.attached import Attached, attach, linear_layers, seen_by, targeted
from vidsim.adapt.golden import golden_embedding
from vidsim.adapt.head import Head, LinearHead
from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.recipe import Unfit
from vidsim.adapt.sections import Adapter
from vidsim.adapt.trunk import trunk_of
from vidsim.encoders.base import Encoder
from vidsim.errors import VidsimError


def equip(encoder: Encoder, layer: str, settings: Adapter, fitted: Callable[[], LinearTransform]) -> Attached:
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

    Returns
    -------
    Attached
        What is trained.

    Raises
    ------
    Unfit
        If the encoder has no such linear layers.
    VidsimError
        If its card names some that it has not.
    """
    targets = settings.targets
    if targets == "attention":
        targets = encoder.card.lora_targets
    elif targets == "all-linear":
        targets = linear_layers(encoder, layer)
    if settings.rank:
        _refuse_missing(encoder, settings, targets)
    head: nn.Module | None = None
    if settings.head == "linear":
        head = LinearHead.of(fitted())
    elif settings.head:
        width = golden_embedding(encoder, None, layer).size  # a card may leave it open, and pooling may multiply it
        head = Head(width, settings.head, settings.head_dropout)
    try:
        return attach(
            encoder,
            rank=settings.rank,
            scaling=settings.alpha,
            targets=targeted(encoder, layer, targets),
            dropout=settings.dropout,
            head=head,
        )
    except VidsimError as error:
        raise Unfit("adapter.targets", str(error)) from error


def _refuse_missing(encoder: Encoder, settings: Adapter, targets: Sequence[str]) -> None:
    """Refuse targets of which one is the end of no name: PEFT asks for any."""
    name, seen = encoder.card.name, seen_by(encoder)
    there = [f".{path}" for path, _ in trunk_of(encoder).named_modules() if path.startswith(seen)]
    for end in targets:
        if any(path.endswith(f".{end}") for path in there):
            continue
        if settings.targets == "attention":
            raise VidsimError(
                f"lora_targets of the card of {name} names {end!r}, with which no layer ends; mend the card"
            )
        raise Unfit("adapter.targets", f"{name} has no such linear layers: {end!r}; mend adapter.targets")
