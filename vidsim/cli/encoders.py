"""Encoders by name, for verbs: those of the catalog, and the adapters of an artefact root."""

from pathlib import Path
from typing import TYPE_CHECKING

from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard
    from vidsim.encoders.catalog import Resolved


def find_card(name: str, root: str) -> "EncoderCard":
    """Find the card of an encoder or an adapter.

    Parameters
    ----------
    name : str
        Name.
    root : str
        Artefact root, in which adapters lie.

    Returns
    -------
    EncoderCard
        An adapter's is that of its base, under its own name.

    Raises
    ------
    VidsimError
        If there is none of this name.
    """
    from vidsim.adapt.card import card_of, taken_names
    from vidsim.adapt.folder import find_adapter
    from vidsim.adapt.manifest import read_manifest
    from vidsim.encoders import catalog

    folder = find_adapter(root, name)
    if folder is not None:
        return card_of(read_manifest(folder), folder)
    try:
        return catalog.card(name)
    except VidsimError:
        from difflib import get_close_matches

        catalog.own_cards().refuse(name)
        trained = {one.name.lower(): one.name for one in adapters(root)}
        near = get_close_matches(name.lower(), [*trained, *taken_names()], 1)
        if near and near[0] in trained:
            raise VidsimError(f"no encoder named {name!r}; did you mean the adapter {trained[near[0]]!r}?") from None
        raise


def adapters(root: str) -> list[Path]:
    """List the adapters of an artefact root.

    Parameters
    ----------
    root : str
        Artefact root; an object store has none.

    Returns
    -------
    list of Path
        Their folders, which have their names, in alphabetical order. Whether an adapter can be called so,
        `vidsim.adapt.card.card_of` tells.
    """
    from vidsim.adapt.folder import MANIFEST, adapters_of

    folder = None if "://" in root else adapters_of(root)
    if folder is None or not folder.is_dir():
        return []
    return sorted(one for one in folder.iterdir() if one.name[0] != "." and (one / MANIFEST).is_file())


def resolve(
    card: "EncoderCard", *, checkpoint: str | None = None, revision: str | None = None, pooling: str | None = None
) -> "Resolved":
    """Find and hash the files of an encoder or an adapter.

    Parameters
    ----------
    card : EncoderCard
        Of `find_card`.
    checkpoint : str, optional
        Local folder of the (base's) checkpoint.
    revision : str, optional
        Commit on the hub.
    pooling : str, optional
        Rule from token map to vector.

    Returns
    -------
    Resolved
        The encoder.

    Raises
    ------
    VidsimError
        If files are missing or do not fit, or an adapter was asked for with another revision or pooling than its own.
    """
    from vidsim.encoders import catalog

    if "adapter" not in card.options:
        return catalog.resolve(card, checkpoint=checkpoint, revision=revision, pooling=pooling)
    from vidsim.adapt.card import resolve_adapter

    found = resolve_adapter(Path(card.options["adapter"]), checkpoint=checkpoint)
    if revision not in {None, found.revision} or pooling not in {None, found.pooling}:
        raise VidsimError(f"{card.name} is an adapter, with revision and pooling of its own; leave these options out")
    return found
