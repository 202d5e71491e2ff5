"""The index: exact cosine search over one layer, with ids, manifest and checksums. Loads without torch."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from types import ModuleType
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float
from numpy import ndarray
from pyarrow import feather

from vidsim.embeddings import Embeddings, unit_rows
from vidsim.errors import IndexCorrupted, VidsimError
from vidsim.retrieval.artefacts import Artefacts, artefacts, digest

FORMAT = 1
MANIFEST = "manifest.json"
CHUNK_BYTES = 2**24
ABANDONED_SECONDS = 3600.0
MANIFEST_KEYS = {"format", "encoder", "layer", "kind", "metric", "rows", "dims", "files", "provenance"}


@dataclass(frozen=True)
class Hit:
    """One search result.

    Parameters
    ----------
    rank : int
        From 1.
    id, path : str
        The stimulus found.
    similarity : float
        Cosine similarity, -1 to 1 (Eq. 1).
    """

    rank: int
    id: str
    path: str
    similarity: float


class Index:
    """Search one layer of one encoder by cosine similarity.

    Parameters
    ----------
    vectors : faiss.Index
        Unit vectors, in the order of ``entries``.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``.
    manifest : mapping
        What the index was built from.
    """

    def __init__(self, vectors: Any, entries: pa.Table, manifest: Mapping[str, Any]) -> None:
        self._vectors = vectors
        self._entries = entries
        self.manifest = manifest

    def __len__(self) -> int:
        return self._entries.num_rows

    @property
    def ids(self) -> list[str]:
        """Return the ids in order."""
        return self._entries["id"].to_pylist()

    def find(self, column: str, value: str) -> int | None:
        """Return the first row whose ``id``, ``path`` or ``content`` is ``value``; None if there is none."""
        try:
            row = pc.index(self._entries[column], value).as_py()
        except UnicodeEncodeError:  # an argument that is not valid UTF-8 names nothing that is stored
            return None
        return None if row < 0 else row

    def value(self, column: str, row: int) -> str:
        """Return the ``id``, ``path`` or ``content`` of a row."""
        return self._entries[column][row].as_py()

    def vector(self, row: int) -> Float[ndarray, " d"]:
        """Return the unit vector of a row."""
        return self._vectors.reconstruct(row)

    def search(self, query: Float[ndarray, " d"], n: int, *, exclude: int | None = None) -> list[Hit]:
        """Find the stimuli most similar to a query (Eq. 1).

        Parameters
        ----------
        query : array of shape (d,)
            An embedding of the same layer, of any length but zero.
        n : int
            How many results, at least 1; fewer come back if the index is smaller.
        exclude : int, optional
            A row to leave out: the query itself.

        Returns
        -------
        list of Hit
            Most similar first; ties in the order of the rows.

        Raises
        ------
        VidsimError
            If ``n`` is below 1, or the query has the wrong dimension, is zero, or not finite.
        """
        if n < 1:
            raise VidsimError(f"{n} results were asked for; expected at least 1")
        dims = self.manifest["dims"]
        if len(query) != dims:
            raise VidsimError(f"the query has {len(query)} dimensions, the index {dims}; both must come from one layer")
        if not np.isfinite(query).all() or not query.any():
            raise VidsimError("the query's embedding is zero or not finite; no direction to compare")
        wanted = min(len(self), n + (exclude is not None))
        similarities, rows = self._vectors.search(unit_rows(query[None].astype(np.float32)), wanted)
        found = sorted(
            ((row, s) for row, s in zip(rows[0].tolist(), similarities[0].tolist(), strict=True) if row != exclude),
            key=lambda pair: (-pair[1], pair[0]),
        )
        return [self._hit(rank, row, similarity) for rank, (row, similarity) in enumerate(found[:n], 1)]

    def _hit(self, rank: int, row: int, similarity: float) -> Hit:
        return Hit(rank, self.value("id", row), self.value("path", row), similarity)


def build(
    root: str,
    embeddings: Embeddings,
    entries: pa.Table,
    *,
    encoder: str,
    layer: str,
    provenance: Mapping[str, object],
) -> Index:
    """Build an exact index and put it under ``faiss/`` of the artefact root.

    The new files are written first and the manifest that names them is replaced last, in one step, so a searching
    process sees the old index or the new one.

    Parameters
    ----------
    root : str
        Artefact root, a folder or URI.
    embeddings : Embeddings
        One layer.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``; a row for every id of ``embeddings``, in any order.
    encoder, layer : str
        Names under which it will be found.
    provenance : mapping
        JSON-able facts: table, store version, spec, checkpoint.

    Returns
    -------
    Index
        The index, ready to search.

    Raises
    ------
    VidsimError
        If faiss is missing, there are no embeddings, or the files cannot be written.
    """
    faiss = _faiss()
    if not len(embeddings):
        raise VidsimError(f"no embeddings of {encoder} {layer} to index")
    position = {name: row for row, name in enumerate(entries["id"].to_pylist())}
    table = entries.select(["id", "path", "content"]).take([position[i] for i in embeddings.ids]).combine_chunks()
    vectors = faiss.IndexFlatIP(embeddings.matrix.shape[1])
    rows = max(1, CHUNK_BYTES // (4 * embeddings.matrix.shape[1]))
    for start in range(0, len(embeddings), rows):
        vectors.add(unit_rows(embeddings.matrix[start : start + rows]).astype(np.float32, copy=False))
    folder = _folder(root, encoder, layer)
    generation = token_hex(4)
    writers: dict[str, Callable[[Path], None]] = {
        "vectors": lambda path: faiss.write_index(vectors, os.fspath(path)),
        "entries": lambda path: feather.write_feather(table, path, compression="uncompressed"),
    }
    files: dict[str, dict[str, str]] = {}
    for what, write in writers.items():
        name = f"{what}-{generation}"
        files[what] = {"name": name, "sha256": folder.put(name, write)}
    manifest = {
        "format": FORMAT,
        "encoder": encoder,
        "layer": layer,
        "kind": "flat",
        "metric": "cosine",
        "rows": len(embeddings),
        "dims": embeddings.matrix.shape[1],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
        "provenance": dict(provenance),
    }
    replaced = _files(_manifest_or_none(root, encoder, layer))
    folder.put(MANIFEST, lambda path: _write_json(path, manifest))
    # another process may be building too: what is its own stays, unless it has been left behind long ago
    abandoned = {name for name, age in folder.files().items() if age > ABANDONED_SECONDS}
    for name in (replaced | abandoned) - _files(manifest) - {MANIFEST}:
        folder.remove(name)
    return Index(vectors, table, manifest)


def intact(root: str, encoder: str, layer: str) -> dict[str, Any] | None:
    """Return the manifest of an index whose files are all there and unaltered; imports no faiss.

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
    manifest = _manifest_or_none(root, encoder, layer)
    if manifest is None:
        return None
    folder = _folder(root, encoder, layer)
    try:
        for file in manifest["files"].values():
            with folder.get(file["name"]) as path:
                _verify(path, file, folder.place, encoder)
    except (FileNotFoundError, IndexCorrupted):
        return None
    return manifest


def load(root: str, encoder: str, layer: str) -> Index:
    """Load an index after checking its files.

    Parameters
    ----------
    root : str
        Artefact root.
    encoder, layer : str
        Names it was built under.

    Returns
    -------
    Index
        The index.

    Raises
    ------
    VidsimError
        If there is none, or faiss is missing.
    IndexCorrupted
        If a file is missing, altered, or of a newer version.
    """
    faiss = _faiss()
    folder = _folder(root, encoder, layer)
    manifest = read_manifest(root, encoder, layer)
    if manifest is None:
        raise VidsimError(f"no index of {encoder} {layer} in {folder.place!r}; build one: {_command(encoder)}")
    try:
        with folder.get(manifest["files"]["vectors"]["name"]) as path:
            _verify(path, manifest["files"]["vectors"], folder.place, encoder)
            vectors = faiss.read_index(os.fspath(path))
        with folder.get(manifest["files"]["entries"]["name"]) as path:
            _verify(path, manifest["files"]["entries"], folder.place, encoder)
            entries = feather.read_table(path, memory_map=False)
    except FileNotFoundError as error:
        if manifest != read_manifest(root, encoder, layer):  # swapped between the manifest and its files
            return load(root, encoder, layer)
        raise IndexCorrupted(
            f"the index in {folder.place!r} lacks a file that its manifest names; rebuild it: {_command(encoder)}"
        ) from error
    return Index(vectors, entries, manifest)


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
        If the manifest cannot be understood.
    VidsimError
        If a newer vidsim has made it.
    """
    folder = _folder(root, encoder, layer)
    try:
        with folder.get(MANIFEST) as path:
            manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = f"the manifest in {folder.place!r} is not JSON; rebuild the index: {_command(encoder)}"
        raise IndexCorrupted(message) from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(found, int) and found > FORMAT:
        raise VidsimError(
            f"the index in {folder.place!r} has format {found}, this vidsim reads up to {FORMAT}; upgrade vidsim"
        )
    if not isinstance(manifest, dict) or not manifest.keys() >= MANIFEST_KEYS or len(_files(manifest)) < 2:
        raise IndexCorrupted(f"the manifest in {folder.place!r} lacks entries; rebuild the index: {_command(encoder)}")
    return manifest


def built(root: str) -> Sequence[tuple[str, str]]:
    """List the (encoder, layer) pairs that have an index, in alphabetical order."""
    found = (name.split("/") for name in artefacts(root, "faiss").files())
    return sorted((unquote(f[0]), unquote(f[1])) for f in found if len(f) == 3 and f[2] == MANIFEST)


def _folder(root: str, encoder: str, layer: str) -> Artefacts:
    return artefacts(root, "faiss", quote(encoder, safe=""), quote(layer, safe=""))


def _manifest_or_none(root: str, encoder: str, layer: str) -> dict[str, Any] | None:
    try:
        return read_manifest(root, encoder, layer)
    except IndexCorrupted:
        return None


def _files(manifest: Mapping[str, Any] | None) -> set[str]:
    """Name the files of a manifest; fewer than two where it is damaged."""
    match manifest:
        case {
            "files": {
                "vectors": {"name": str(vectors), "sha256": str()},
                "entries": {"name": str(entries), "sha256": str()},
            }
        }:
            return {vectors, entries}
        case _:
            return set()


def _command(encoder: str) -> str:
    return f"vidsim index FOLDER --encoder {encoder}"


def _verify(path: Path, file: Mapping[str, str], place: str, encoder: str) -> None:
    if digest(path) != file["sha256"]:
        raise IndexCorrupted(
            f"{file['name']!r} in {place!r} is not what was written (checksum differs); rebuild it: {_command(encoder)}"
        )


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")


def _faiss() -> ModuleType:
    try:
        import faiss
    except ImportError as error:
        raise VidsimError("faiss is not installed: pip install 'vidsim[cpu]' (or 'vidsim[gpu]', never both)") from error
    return faiss
