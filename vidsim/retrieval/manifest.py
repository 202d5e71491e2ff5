"""Manifests: what the folder of an index says about it, and how new files take the place of old ones."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote, unquote

from vidsim.errors import IndexCorrupted, VidsimError
from vidsim.retrieval import seal
from vidsim.retrieval.artefacts import Artefacts, artefacts

FORMAT = 2
"""Version of the layout; raised when an older vidsim could no longer read what this one writes."""

MANIFEST = "manifest.json"
ABANDONED_SECONDS = 3600.0
KEYS = {
    *("format", "encoder", "layer", "kind", "asked", "metric", "rows", "dims", "files", "provenance"),
    *("recall", "min_recall", "pairs", "parameters"),
}
FILES = {"entries"}
"""Files that an index of any kind has."""


def folder_of(root: str, encoder: str, layer: str) -> Artefacts:
    """Return the folder of an index; it need not exist."""
    return artefacts(root, "faiss", quote(encoder, safe=""), quote(layer, safe=""))


def built(root: str) -> Sequence[tuple[str, str]]:
    """List the (encoder, layer) pairs that have an index, in alphabetical order."""
    found = (name.split("/") for name in artefacts(root, "faiss").files())
    return sorted((unquote(f[0]), unquote(f[1])) for f in found if len(f) == 3 and f[2] == MANIFEST)


def command(encoder: str) -> str:
    """Return the command that builds an index of an encoder."""
    return f"vidsim index FOLDER --encoder {encoder}"


def read_manifest(root: str, encoder: str, layer: str) -> dict[str, Any] | None:
    """Return an index's manifest, None where there is no index.

    Parameters
    ----------
    root : str
        Artefact root.
    encoder, layer : str
        Names of the index.

    Returns
    -------
    dict or None
        The manifest.

    Raises
    ------
    IndexCorrupted
        If the manifest cannot be understood, or is of another index.
    VidsimError
        If a newer vidsim has made it.
    """
    folder = folder_of(root, encoder, layer)
    try:
        with folder.get(MANIFEST) as path:
            manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = f"the manifest in {folder.place!r} is not JSON; rebuild the index: {command(encoder)}"
        raise IndexCorrupted(message) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise VidsimError(
            f"the index in {folder.place!r} has format {found}, this vidsim reads up to {FORMAT}; upgrade vidsim"
        )
    if isinstance(found, int) and found < FORMAT:
        raise IndexCorrupted(
            f"the index in {folder.place!r} is of an older vidsim (format {found}); rebuild it: {command(encoder)}"
        )
    if not isinstance(manifest, dict) or not manifest.keys() >= KEYS or not names(manifest):
        raise IndexCorrupted(f"the manifest in {folder.place!r} lacks entries; rebuild the index: {command(encoder)}")
    if (manifest["encoder"], manifest["layer"]) != (encoder, layer):
        other = f"{manifest['encoder']} {manifest['layer']}"
        raise IndexCorrupted(
            f"the index in {folder.place!r} is of {other}, not of {encoder} {layer}; rebuild it: {command(encoder)}"
        )
    return manifest


def manifest_or_none(root: str, encoder: str, layer: str) -> dict[str, Any] | None:
    """Return an index's manifest, None where there is none or a damaged one; as `read_manifest` otherwise."""
    try:
        return read_manifest(root, encoder, layer)
    except IndexCorrupted:
        return None


def intact(root: str, encoder: str, layer: str) -> dict[str, Any] | None:
    """Return the manifest of an index whose files are all there and unaltered; reads them whole, imports no faiss.

    Parameters
    ----------
    root : str
        Artefact root.
    encoder, layer : str
        Names of the index.

    Returns
    -------
    dict or None
        The manifest; None where there is no index, or a damaged one.

    Raises
    ------
    VidsimError
        If a newer vidsim has made the index.
    """
    manifest = manifest_or_none(root, encoder, layer)
    if manifest is None:
        return None
    folder = folder_of(root, encoder, layer)
    try:
        for file in manifest["files"].values():
            with folder.get(file["name"]) as path:
                verify(path, file, folder.place, encoder, thorough=True)
    except (FileNotFoundError, IndexCorrupted):
        return None
    return manifest


def shape_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of an index's provenance determines vectors: not the store's version, what is known, what is gone."""
    return {name: value for name, value in provenance.items() if name not in {"version", "attributes", "gone"}}


def verify(path: Path, file: Mapping[str, Any], place: str, encoder: str, *, thorough: bool) -> None:
    """Refuse a file that is not what was written.

    Parameters
    ----------
    path : Path
        The file.
    file : mapping
        What the manifest says of it.
    place, encoder : str
        For the message.
    thorough : bool
        As `seal.intact` has it.

    Raises
    ------
    IndexCorrupted
        If it has been altered or cut off.
    """
    if not seal.intact(path, file, thorough=thorough):
        raise IndexCorrupted(
            f"{file['name']!r} in {place!r} is not what was written (checksum differs); rebuild it: {command(encoder)}"
        )


def publish(
    root: str,
    manifest: Mapping[str, Any],
    writers: Mapping[str, Callable[[Path], None]],
    keep: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write the files of an index, then replace the manifest that names them, in one step.

    Who searches meanwhile has the old index or the new one.

    Parameters
    ----------
    root : str
        Artefact root.
    manifest : mapping
        What is to be said of the index, but ``format``, ``created`` and ``files``.
    writers : mapping of str to callable
        For every file, what writes it at a local path.
    keep : mapping, optional
        Files of the present generation that stay, as its manifest names them.

    Returns
    -------
    dict
        The whole manifest.

    Raises
    ------
    VidsimError
        If a file cannot be written; what was there is unchanged.
    """
    encoder, layer = manifest["encoder"], manifest["layer"]
    folder = folder_of(root, encoder, layer)
    generation = token_hex(4)
    files: dict[str, dict[str, Any]] = {what: dict(file) for what, file in (keep or {}).items()}
    for what, write in writers.items():
        name = f"{what}-{generation}"
        found: dict[str, Any] = {}

        def sealed(path: Path, write: Callable[[Path], None] = write, found: dict[str, Any] = found) -> None:
            write(path)
            found.update(seal.seal(path))

        files[what] = {"name": name, "sha256": folder.put(name, sealed), **found}
    whole = {
        "format": FORMAT,
        **manifest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
    }
    replaced = names(manifest_or_none(root, encoder, layer))
    folder.put(MANIFEST, lambda path: write_json(path, whole))
    # another process may be building too: what is its own stays, unless it has been left behind long ago
    abandoned = {name for name, age in folder.files().items() if age > ABANDONED_SECONDS}
    for name in (replaced | abandoned) - names(whole) - {MANIFEST}:
        folder.remove(name)
    return whole


def names(manifest: Mapping[str, Any] | None) -> set[str]:
    """Name the files of a manifest; none where it is damaged."""
    files = (manifest or {}).get("files")
    if not isinstance(files, dict) or not files.keys() >= FILES:
        return set()
    found: set[str] = set()
    for file in files.values():
        match file:
            case {"name": str(name), "sha256": str(), "size": int(), "block": int(), "sums": str()}:
                found.add(name)
            case _:
                return set()
    return found


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with one entry a line."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
