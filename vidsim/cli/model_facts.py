"""What there is to know about an encoder or an adapter, for people and for machines."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard

ADAPTER = "adapter"
"""Family of what `vidsim train` leaves."""


def facts_of(card: "EncoderCard") -> dict[str, Any]:
    """Gather what is known.

    Parameters
    ----------
    card : EncoderCard
        Of an encoder or an adapter.

    Returns
    -------
    dict of str to object
        The card's own fields, ready for JSON, and what follows from them: ``aliases``, ``dims`` (widths of the layers),
        ``cached`` (whether it works without network) with ``copy`` and ``folder`` (which copy, and where).
    """
    from vidsim.encoders.locate import find_copy

    if ADAPTER in card.options:
        return _facts_of_adapter(card)
    copy = find_copy(card)
    where, folder = copy or (None, None)
    return {
        **_fields(card),
        "aliases": aliases_of(card),
        "dims": _dims(card),
        "cached": copy is not None,
        "copy": where,
        "folder": None if folder is None else os.fspath(folder),
    }


def aliases_of(card: "EncoderCard") -> list[str]:
    """Return the other names of an encoder."""
    from vidsim.encoders.catalog import ALIASES

    return [alias for alias, name in ALIASES.items() if name == card.name]


def _facts_of_adapter(card: "EncoderCard") -> dict[str, Any]:
    """Say the same of an adapter: its checkpoint is the base, and it is here if that is."""
    from vidsim.adapt.manifest import read_manifest
    from vidsim.encoders import catalog

    folder = Path(card.options[ADAPTER])
    made = read_manifest(folder)
    base = facts_of(catalog.card(made.base["encoder"]))
    local = made.base["local"]
    return {
        **_fields(card),
        "family": ADAPTER,
        "checkpoint": made.base["encoder"],
        "revision": made.base["revision"],
        "aliases": [],
        "lora_targets": [],
        "dims": list(dict.fromkeys((*base["dims"], *([made.head] if made.head else [])))),
        "cached": base["cached"] or bool(local and os.access(local, os.F_OK)),
        "copy": ADAPTER,
        "folder": os.fspath(folder),
        "trained": made.parameters,
        "data": made.origin,
        "seed": made.seed,
    }


def _dims(card: "EncoderCard") -> list[int]:
    """Return the widths of the layers, without repeats, in order of depth; none where they differ at large."""
    if not card.width:
        return []
    return list(dict.fromkeys((card.width, card.embedding_width)))


def _fields(card: "EncoderCard") -> dict[str, Any]:
    # asdict of the card would copy every layer's name
    return {
        **vars(card),
        "sampling": card.sampling and asdict(card.sampling),
        "layers": list(card.layers),
        "lora_targets": list(card.lora_targets),
        "options": dict(card.options),
    }
