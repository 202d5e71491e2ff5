"""The card of an adapter: how it becomes a row like those of the catalog. Imports no torch."""

import json
import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from vidsim.adapt.folder import MANIFEST
from vidsim.adapt.manifest import RESTORE, Manifest, check_files, read_manifest
from vidsim.encoders import catalog
from vidsim.encoders.base import EncoderCard
from vidsim.encoders.card_rules import NAME
from vidsim.encoders.catalog import Resolved
from vidsim.errors import NoEncoder, VidsimError
from vidsim.paths import Place, expand

FAMILY = "vidsim.adapt.adapter:AdaptedEncoder"

HEAD_LAYERS = ("head", "adapter_head")
"""Names of the layer that is the output of an adapter's head: the first that its base has not (SigLIP has one)."""


def check_name(name: str) -> None:
    """Refuse a name that an adapter cannot have.

    Parameters
    ----------
    name : str
        Name of a new adapter.

    Raises
    ------
    VidsimError
        If it is no file name, or an encoder of the catalog has it.
    """
    if not NAME.fullmatch(name):
        raise VidsimError(f"no adapter can be called {name!r}; expected letters, digits, '.', '_' and '-'")
    if name.lower() in taken_names():
        raise VidsimError(f"{name!r} is the name of an encoder; choose another for the adapter")


def taken_names() -> frozenset[str]:
    """Return the names that no adapter may have, those of encoders, in lower case."""
    return frozenset(known.lower() for known in (*catalog.cards(), *catalog.ALIASES))


def refuse_folder(manifest: Manifest, folder: Path, taken: Collection[str] | None = None) -> None:
    """Refuse an adapter by the name of its folder, which anybody may change.

    Parameters
    ----------
    manifest : Manifest
        What it says.
    folder : Path
        Where it lies.
    taken : collection of str, optional
        Of `taken_names`, where many adapters are looked at.

    Raises
    ------
    VidsimError
        If an adapter cannot have it, or an encoder of the catalog has.
    """
    if not NAME.fullmatch(manifest.name):
        raise VidsimError(
            f"the adapter in {os.fspath(folder)!r} cannot be called so; give its folder a name of letters, digits, "
            "'.', '_' and '-', a letter or a digit first"
        )
    if manifest.name.lower() in (taken_names() if taken is None else taken):
        raise VidsimError(f"the adapter in {os.fspath(folder)!r} has the name of an encoder; give its folder another")


def card_of(manifest: Manifest, folder: Path, taken: Collection[str] | None = None) -> EncoderCard:
    """Describe an adapter as the catalog describes encoders.

    Parameters
    ----------
    manifest : Manifest
        What it says.
    folder : Path
        Where it lies.
    taken : collection of str, optional
        Of `taken_names`, where many cards are wanted.

    Returns
    -------
    EncoderCard
        The base's card under the adapter's name; with a head, it is the last layer and the default one.

    Raises
    ------
    VidsimError
        If there is no such base or layer, or the folder has a name that no adapter can have.
    """
    where = repr(os.fspath(folder))
    refuse_folder(manifest, folder, taken)
    try:
        base = catalog.card(manifest.base["encoder"])
    except NoEncoder as error:  # which lists all there are; several adapters may have lost the same one
        raise VidsimError(
            f"the base of the adapter in {where}: no encoder named {manifest.base['encoder']!r}; put its card back"
        ) from error
    except VidsimError as error:
        raise VidsimError(f"the base of the adapter in {where}: {error}") from error
    if manifest.layer not in base.layers:
        raise VidsimError(
            f"the adapter in {where} names layer {manifest.layer!r}, {base.name} has none such; {RESTORE}"
        )
    own = next(name for name in HEAD_LAYERS if name not in base.layers)
    return replace(
        base,
        name=manifest.name,
        family=FAMILY,
        layers=(*base.layers, own) if manifest.head else base.layers,
        default_layer=own if manifest.head else manifest.layer,
        parameters=base.parameters + manifest.parameters if base.parameters else 0,
        lora_targets=(),
        options={**base.options, "adapter": os.fspath(folder)},
    )


def resolve_adapter(folder: Place, *, checkpoint: Place | None = None, offline: bool = False) -> Resolved:
    """Find and hash the files of an adapter and of its base, without loading them.

    Parameters
    ----------
    folder : str or path
        The adapter's folder.
    checkpoint : str or path, optional
        Folder of the base's checkpoint, instead of the one it was trained on or the hub.
    offline : bool
        Never ask the hub.

    Returns
    -------
    Resolved
        Its weights' hash is that of base and adapter together.

    Raises
    ------
    CheckpointUnavailable
        If the base is nowhere.
    VidsimError
        If the adapter's files are not those that were saved, or base, revision, preprocessing or
        sampling are others.
    """
    folder = expand(folder)
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    base = manifest.base
    _refuse_pooling(manifest, folder)
    local = base["local"] if base["local"] and os.access(base["local"], os.F_OK) else None
    given = checkpoint or local
    resolved = catalog.resolve(
        base["encoder"],
        checkpoint=given,
        revision=None if given else base["revision"],
        pooling=base["pooling"],
        offline=offline,
    )
    identity = resolved.identity
    if what := manifest.other(identity):
        lay = f", which lay in {base['local']!r}" if base["local"] else ""
        right = f"revision {base['revision']}" if base["revision"] else f"the files that it was trained on{lay}"
        mend = f"give --checkpoint with {right}, or train again"
        if what == "sampling":  # of the card, not of the checkpoint
            mend = f"give the card of {base['encoder']} frames, fps and windows as they were, or train again"
        raise VidsimError(
            f"{manifest.name} was trained on {base['encoder']} with other {what} ({_short(base[what])}) than are "
            f"here ({_short(identity[what])}); {mend}"
        )
    return replace(resolved, card=card_of(manifest, folder), weights_hash=manifest.weights)


def _refuse_pooling(manifest: Manifest, folder: Path) -> None:
    """Refuse a rule that the base does not know; the user has named none."""
    base, rule = catalog.card(manifest.base["encoder"]), manifest.base["pooling"]
    try:
        catalog.pooling_of(base, rule)
    except VidsimError:
        raise VidsimError(
            f"{os.fspath(folder / MANIFEST)!r} has {rule!r} as 'base.pooling', which {base.name} cannot have; {RESTORE}"
        ) from None


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else json.dumps(value, sort_keys=True)
