"""Manifests: what an adapter's folder says about it, and how the adapter becomes a row like those of the catalog.

An adapter lies in ``<root>/adapters/<name>``: the LoRA weights and their configuration as PEFT has them, the head if it
has one, a golden embedding, a model card for people (``README.md``) and ``vidsim.json``, which this module reads.
Imports no torch.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidsim.encoders import catalog
from vidsim.encoders.base import EncoderCard
from vidsim.encoders.catalog import Resolved
from vidsim.errors import VidsimError

FORMAT = 1
MANIFEST, WEIGHTS, HEAD, GOLDEN = (
    "vidsim.json",
    "adapter_model.safetensors",
    "head.safetensors",
    "golden.safetensors",
)
CURVE, CARD = "curve.png", "README.md"
"""Files beside an adapter's weights that are for people; they shape no embedding. The card is written last."""

HEAD_LAYER = "head"
"""Layer that is the output of an adapter's head."""

FITTED, VALIDATED = "fitted", "validated"
"""What a manifest's data call the ids of the stimuli that were fitted, and of those that the epoch was chosen on."""

FAMILY = "vidsim.adapt.adapter:AdaptedEncoder"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SHOWN = 60
"""Characters of a value that errors show."""

RESTORE = "restore it from where the adapter came from, or train again"


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


Kind = tuple[str, Callable[[Any], bool]]
"""What a fact must be: in words, and as a test."""

_TEXT: Kind = ("text", _text)
_TEXT_OR_NULL: Kind = ("text or null", lambda value: value is None or _text(value))
_COUNT: Kind = ("a whole number, at least 0", _count)
_OBJECT: Kind = ("an object", _object)

_KINDS: Mapping[str, Kind] = {
    "name": _TEXT,
    "base": _OBJECT,
    "layer": _TEXT,
    "head": _COUNT,
    "files": (  # names, not paths: what is hashed lies in the folder
        "an object of file names and their SHA-256",
        lambda value: _object(value) and all(NAME.fullmatch(name) and _text(value[name]) for name in value),
    ),
    "recipe": _OBJECT,
    "data": _OBJECT,
    "versions": ("an object of texts", lambda value: _object(value) and all(map(_text, value.values()))),
    "seed": _COUNT,
    "parameters": _COUNT,
    "curve": ("a list of objects", lambda value: isinstance(value, list) and all(map(_object, value))),
}
"""What `vidsim.json` has."""

_KINDS_OF_BASE: Mapping[str, Kind] = {
    "encoder": _TEXT,
    **dict.fromkeys(("checkpoint", "revision", "local"), _TEXT_OR_NULL),
    **dict.fromkeys(("pooling", "weights", "config"), _TEXT),
    "preprocess": ("anything", lambda _: True),  # compared as a whole
}
_KINDS_OF_DATA: Mapping[str, Kind] = {
    **dict.fromkeys((FITTED, VALIDATED), ("a list of texts", _texts)),
    "trials": _COUNT,
}
"""None of it has to be there."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Say what an adapter is.

    Parameters
    ----------
    name : str
        Name, used as those of the catalog are. Of one that is read it is its folder's: a folder may be renamed.
    base : mapping
        The encoder it was trained on: ``encoder``, ``checkpoint``, ``revision``, ``local``, ``weights``, ``config``,
        ``preprocess``, ``pooling``.
    layer : str
        Layer of the base that was trained.
    head : int
        Width of the head's output; 0 without a head.
    files : mapping of str to str
        SHA-256 of the files that shape embeddings.
    recipe, data, versions : mapping
        How, on what and with which libraries it was trained; JSON-able.
    seed : int
        Seed of the run.
    parameters : int
        Trained weights.
    curve : sequence of mapping
        What was measured after each epoch.
    """

    name: str
    base: Mapping[str, Any]
    layer: str
    head: int
    files: Mapping[str, str]
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    versions: Mapping[str, str]
    seed: int
    parameters: int
    curve: Sequence[Mapping[str, Any]]

    @property
    def origin(self) -> dict[str, Any]:
        """Return what is known of the data, without the ids of the stimuli."""
        return {key: value for key, value in self.data.items() if key not in {FITTED, VALIDATED}}

    def write(self, folder: Path) -> None:
        """Write the manifest into an adapter's folder.

        Parameters
        ----------
        folder : Path
            The folder, which is there.
        """
        facts = {"format": FORMAT, **self.__dict__}
        (folder / MANIFEST).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def adapters_of(root: str) -> Path:
    """Return the folder of the adapters of an artefact root.

    Parameters
    ----------
    root : str
        Artefact root, a local folder.

    Returns
    -------
    Path
        ``<root>/adapters``.

    Raises
    ------
    VidsimError
        If the root is on an object store.
    """
    if "://" in root:
        raise VidsimError(f"adapters are kept in a local folder; {root!r} is an object store")
    return Path(root) / "adapters"


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


def find_adapter(root: str, name: str) -> Path | None:
    """Find an adapter by its name.

    Parameters
    ----------
    root : str
        Artefact root.
    name : str
        Name.

    Returns
    -------
    Path or None
        Its folder; None if there is none, or the root is no local folder.
    """
    if "://" in root or not NAME.fullmatch(name):
        return None
    folder = adapters_of(root) / name
    return folder if (folder / MANIFEST).is_file() else None


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an adapter.

    Parameters
    ----------
    folder : Path
        The adapter's folder.

    Returns
    -------
    Manifest
        What it says.

    Raises
    ------
    VidsimError
        If it is missing, cannot be read, lacks something, holds what it cannot hold, or is of a newer format.
    """
    path = folder / MANIFEST
    where = repr(os.fspath(path))
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise VidsimError(f"{where} cannot be read: {error}; train the adapter again") from error
    if not _object(facts) or facts.get("format") != FORMAT:
        came = facts.get("format") if _object(facts) else type(facts).__name__
        raise VidsimError(f"{where} is of format {came!r}; this vidsim reads {FORMAT}")
    facts.pop("format")
    check_facts(where, facts, _KINDS)
    check_facts(where, facts["base"], _KINDS_OF_BASE, "base.")
    known = {key: value for key, value in facts["data"].items() if key in _KINDS_OF_DATA}
    check_facts(where, known, {key: _KINDS_OF_DATA[key] for key in known}, "data.")
    return Manifest(**facts | {"name": folder.absolute().name})


def check_facts(where: str, facts: Mapping[str, Any], kinds: Mapping[str, Kind], prefix: str = "") -> None:
    """Refuse facts of an adapter's file of which one is missing, unknown, or not of its kind.

    Parameters
    ----------
    where : str
        The file, as errors name it.
    facts : mapping
        What it says; JSON-able.
    kinds : mapping of str to Kind
        What it should have, by key: in words, and as a test.
    prefix : str
        Errors put it in front of keys.

    Raises
    ------
    VidsimError
        For the first odd one.
    """
    for key in sorted(kinds.keys() | facts.keys()):
        if key not in facts:
            raise VidsimError(f"{where} lacks {prefix + key!r}; {RESTORE}")
        if key not in kinds:
            raise VidsimError(f"{where} has an unknown {prefix + key!r}; {RESTORE}")
        words, fits = kinds[key]
        if not fits(facts[key]):
            found = json.dumps(facts[key])
            found = found if len(found) <= SHOWN else f"{found[:SHOWN]}..."
            raise VidsimError(f"{where} has {found} as {prefix + key!r}, expected {words}; {RESTORE}")


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
        If there is no such base or layer, or an encoder of the catalog has the folder's name.
    """
    where = repr(os.fspath(folder))
    if manifest.name.lower() in (taken_names() if taken is None else taken):
        raise VidsimError(f"the adapter in {where} has the name of an encoder; give its folder another")
    try:
        base = catalog.card(manifest.base["encoder"])
    except VidsimError as error:
        raise VidsimError(f"the base of the adapter in {where}: {error}") from error
    if manifest.layer not in base.layers:
        raise VidsimError(
            f"the adapter in {where} names layer {manifest.layer!r}, {base.name} has none such; {RESTORE}"
        )
    layers = (*base.layers, HEAD_LAYER) if manifest.head else base.layers
    return replace(
        base,
        name=manifest.name,
        family=FAMILY,
        layers=layers,
        default_layer=HEAD_LAYER if manifest.head else manifest.layer,
        parameters=base.parameters + manifest.parameters if base.parameters else 0,
        lora_targets=(),
        options={**base.options, "adapter": os.fspath(folder)},
    )


def resolve_adapter(folder: Path, *, checkpoint: str | None = None, offline: bool = False) -> Resolved:
    """Find and hash the files of an adapter and of its base, without loading them.

    Parameters
    ----------
    folder : Path
        The adapter's folder.
    checkpoint : str, optional
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
        If the adapter's files are not those that were saved, or base, revision or preprocessing are others.
    """
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    base = manifest.base
    local = base["local"] if base["local"] and Path(base["local"]).exists() else None
    given = checkpoint or local
    resolved = catalog.resolve(
        base["encoder"],
        checkpoint=given,
        revision=None if given else base["revision"],
        pooling=base["pooling"],
        offline=offline,
    )
    identity = resolved.identity
    for what in ("weights", "config", "preprocess"):
        if identity[what] != base[what]:
            raise VidsimError(
                f"{manifest.name} was trained on {base['encoder']} with other {what} ({_short(base[what])}) than are "
                f"here ({_short(identity[what])}); give --checkpoint with revision {base['revision'] or 'that it had'}"
            )
    joined = "".join((resolved.weights_hash, *(f"{name}{digest}" for name, digest in sorted(manifest.files.items()))))
    return replace(resolved, card=card_of(manifest, folder), weights_hash=hashlib.sha256(joined.encode()).hexdigest())


def check_files(manifest: Manifest, folder: Path) -> None:
    """Refuse an adapter with a file that is not what was saved.

    Parameters
    ----------
    manifest : Manifest
        What its folder says.
    folder : Path
        The folder.

    Raises
    ------
    VidsimError
        If a file is missing or has another hash; it is named.
    """
    for name, digest in manifest.files.items():
        found = hash_file(folder / name)
        if found != digest:
            raise VidsimError(
                f"{os.fspath(folder / name)!r} is not what was saved (SHA-256 {digest[:12]} then, {found[:12]} now); "
                "restore it or train the adapter again"
            )


def hash_file(path: Path) -> str:
    """Hash a file of an adapter.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        SHA-256.

    Raises
    ------
    VidsimError
        If it is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VidsimError(
            f"{os.fspath(path)!r} of the adapter cannot be read: {error.strerror}; train it again"
        ) from error


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else json.dumps(value, sort_keys=True)
