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
        If its card names some that it has not, or modules that are none.
    """
    targets = settings.targets
    if targets == "attention":
        targets = encoder.card.lora_targets
    elif targets == "all-linear":
        targets = linear_layers(encoder, layer)
    if settings.rank:
        _refuse_odd(encoder, settings, targets)
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


def _refuse_odd(encoder: Encoder, settings: Adapter, targets: Sequence[str]) -> None:
    """Refuse targets of which one is the end of no name, as PEFT asks for any, or of what is no linear layer."""
    name, seen = encoder.card.name, seen_by(encoder)
    there = {path: module for path, module in trunk_of(encoder).named_modules() if path.startswith(seen)}
    for end in targets:
        meant = [path for path in there if f".{path}".endswith(f".{end}")]
        odd = next((path for path in meant if not isinstance(there[path], nn.Linear)), None)
        if meant and odd is None:
            continue
        if settings.targets == "attention":
            why = f"and {odd} is no linear layer" if odd else "with which no layer ends"
            raise VidsimError(f"lora_targets of the card of {name} names {end!r}, {why}; mend the card")
        why = f" ({odd} is a {type(there[odd]).__name__})" if odd else ""
        raise Unfit("adapter.targets", f"{name} has no such linear layers: {end!r}{why}; mend adapter.targets")
