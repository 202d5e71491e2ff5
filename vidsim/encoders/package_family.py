"""Families of other packages: the class that a card names, made into an encoder."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from vidsim.encoders.base import Encoder, EncoderCard, Reduce
from vidsim.encoders.card_rules import beyond_json
from vidsim.encoders.package_cards import in_words
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from torch import Tensor

METHODS = ("prepare", "encode")


def make_encoder(card: EncoderCard, given: Any, device: str) -> Encoder:
    """Import the class of a family and make an encoder of it.

    Parameters
    ----------
    card : EncoderCard
        Its family is written module:Class.
    given : EncoderCard or Resolved
        What the class is made from.
    device : str
        As torch names it.

    Returns
    -------
    Encoder
        The encoder; it has what the protocol asks for. Of another package, it refuses to return features of another
        width than its card says.

    Raises
    ------
    VidsimError
        If the module or the class raises anything, or what it makes is no encoder.
    KeyboardInterrupt
        If it came meanwhile.
    """
    what = f"family {card.family!r} of {card.name}"
    module, _, name = card.family.partition(":")
    doing = "loaded"
    try:
        family = getattr(import_module(module), name)
        doing = "made"
        made = family(given, device)
        doing = "used"
        wrong = _wrong(made)
        if not wrong and module.partition(".")[0] != "vidsim" and card.width and given.pooling != "flatten":
            with suppress(AttributeError):  # of a class with slots
                made.encode = _of_its_width(made, card)
    except (KeyboardInterrupt, VidsimError):
        raise
    except BaseException as error:  # another package's code may fail in any way
        raise VidsimError(f"{what} cannot be {doing}: {in_words(error)}") from error
    if wrong:
        raise VidsimError(f"{what} cannot be used: {wrong}")
    return made


def _wrong(made: Any) -> str | None:
    """Say what keeps an object from being an encoder."""
    missing = [name for name in ("card", "provenance", *METHODS) if not hasattr(made, name)]
    missing += [f"{name}()" for name in METHODS if name not in missing and not callable(getattr(made, name))]
    if missing:
        return (
            f"{type(made).__name__} has no {', '.join(missing)}; "
            "expected card, provenance, prepare(stimulus) and encode(batch, layers, reduce)"
        )
    if not isinstance(made.provenance, Mapping):
        return f"provenance expected a dict, {made.provenance!r} came"
    wrong = beyond_json(dict(made.provenance), "provenance")
    return " ".join(wrong) if wrong else None


def _of_its_width(made: Encoder, card: EncoderCard) -> Any:
    """Hold what an encoder returns against the width that its card says, before it is reduced."""
    from vidsim.encoders.frame_encoder import check_width

    encode = made.encode

    def checked(batch: Any, layers: Sequence[str], reduce: Reduce) -> Any:
        widths: dict[str, int] = {}

        def measured(layer: str, features: "Tensor") -> "Tensor":
            if features.ndim == 2:  # other shapes are refused behind this
                widths[layer] = features.shape[1]
            return reduce(layer, features)

        found = encode(batch, layers, measured)
        # a sentence encoder's embedding may be wider than its blocks
        check_width(card, {layer: width for layer, width in widths.items() if width != card.embedding_width})
        return found

    return checked
