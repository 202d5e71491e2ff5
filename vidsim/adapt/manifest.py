"""Manifests: what ``vidsim.json`` in an adapter's folder says about it. Imports no torch."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsim.adapt.folder import MANIFEST, hash_file
from vidsim.encoders.card_rules import NAME
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand

FORMAT = 1

FITTED, VALIDATED = "fitted", "validated"
"""What a manifest's data call the ids of the stimuli that were fitted, and of those that the epoch was chosen on."""

CHECKED = ("weights", "config", "preprocess", "sampling")
"""What a manifest's base has of an encoder's identity; the last is missing in older manifests."""

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
    **dict.fromkeys(("preprocess", "sampling"), ("anything", lambda _: True)),  # compared as a whole
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
        ``preprocess``, ``sampling``, ``pooling``.
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

    @property
    def weights(self) -> str:
        """Return the SHA-256 of base and adapter together: tables of its embeddings are known by it."""
        files = (f"{name}{digest}" for name, digest in sorted(self.files.items()))
        return hashlib.sha256("".join((self.base["weights"], *files)).encode()).hexdigest()

    def other(self, identity: Mapping[str, Any]) -> str | None:
        """Say in what a base is not the one that the adapter was trained on.

        Parameters
        ----------
        identity : mapping of str to object
            Of the base that is here.

        Returns
        -------
        str or None
            The first of `CHECKED` that differs; what an older manifest lacks does not.
        """
        return next((what for what in CHECKED if what in self.base and self.base[what] != identity[what]), None)

    def write(self, folder: Path) -> None:
        """Write the manifest into an adapter's folder.

        Parameters
        ----------
        folder : Path
            The folder, which is there.
        """
        facts = {"format": FORMAT, **self.__dict__}
        (folder / MANIFEST).write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_manifest(folder: Place) -> Manifest:
    """Read the manifest of an adapter.

    Parameters
    ----------
    folder : str or path
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
    folder = expand(folder)
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
    older = {"sampling"} - facts["base"].keys()
    check_facts(where, facts["base"], {key: kind for key, kind in _KINDS_OF_BASE.items() if key not in older}, "base.")
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
