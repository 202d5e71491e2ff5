"""The index: cosine search over one layer, with ids, manifest and checksums. Loads without torch."""

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from vidsim.embeddings import Embeddings
from vidsim.errors import IndexCorrupted, VidsimError
from vidsim.retrieval import approximate, construct, exact, flat, kinds, pairs
from vidsim.retrieval.arrow import text_scalar
from vidsim.retrieval.kinds import Vectors
from vidsim.retrieval.manifest import (
    built,
    command,
    folder_of,
    intact,
    manifest_or_none,
    read_manifest,
    shape_of,
    verify,
)

pc: Any = pyarrow.compute  # makes its functions at import, where type checkers do not see them

__all__ = ["Hit", "Index", "build", "built", "intact", "load", "read_manifest", "refresh"]

MIN_RECALL = 0.95

Kind = Literal["auto", "flat", "ivf-flat", "ivf-pq", "hnsw"]
"""Kinds of index that `build` makes; ``lancedb`` is `stored.build`'s."""


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
    row : int
        Its row of the index.
    """

    rank: int
    id: str
    path: str
    similarity: float
    row: int


class Index:
    """Search one layer of one encoder by cosine similarity.

    Parameters
    ----------
    vectors : Vectors
        Unit vectors that can be searched, in the order of ``entries``.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``.
    manifest : mapping
        What the index was built from, and how.
    attributes : pyarrow.Table, optional
        What is known of the rows, in the same order.
    """

    def __init__(
        self, vectors: Vectors, entries: pa.Table, manifest: Mapping[str, Any], attributes: pa.Table | None = None
    ) -> None:
        self._vectors = vectors
        self._entries = entries
        self._attributes = attributes
        self.manifest = manifest

    def __len__(self) -> int:
        return self._entries.num_rows

    @property
    def ids(self) -> list[str]:
        """Return the ids in order."""
        return self._entries["id"].to_pylist()

    @property
    def attributes(self) -> pa.Table | None:
        """Return what is known of the rows, in their order: captions, ratings, tags; None where nothing was asked."""
        return self._attributes

    def find(self, column: str, value: str) -> int | None:
        """Return the first row whose ``id``, ``path`` or ``content`` is ``value``; None if there is none."""
        try:
            row = pc.index(self._entries[column], text_scalar(value)).as_py()
        except UnicodeEncodeError:  # an argument that is not valid UTF-8 names nothing that is stored
            return None
        return None if row < 0 else row

    def value(self, column: str, row: int) -> str:
        """Return the ``id``, ``path`` or ``content`` of a row."""
        return self._entries[column][row].as_py()

    def column(self, name: str) -> pa.ChunkedArray:
        """Return the ``id``, ``path`` or ``content`` of all rows."""
        return self._entries[name]

    def vector(self, row: int) -> Float32[ndarray, " d"]:
        """Return the unit vector of a row."""
        return self.vectors(np.array([row]))[0]

    def vectors(self, rows: Int64[ndarray, " n"]) -> Float32[ndarray, "n d"]:
        """Return the unit vectors of some rows."""
        return self._vectors.rows(rows)

    def similarities(self, query: Float[ndarray, " d"]) -> Float32[ndarray, " rows"]:
        """Compare a query with every row, exactly (Eq. 1).

        Parameters
        ----------
        query : array of shape (d,)
            An embedding of the same layer, of any length but zero.

        Returns
        -------
        array of shape (rows,)
            Cosine similarities, in the order of the rows.

        Raises
        ------
        VidsimError
            If the query has the wrong dimension, is zero, or not finite.
        """
        return self._vectors.similarities(self._units(query[None])[0])

    def percentile(self, similarity: float) -> float:
        """Say what share of the pairs of this index's rows is less similar, 0 to 100; NaN where there are no pairs."""
        return pairs.percentile(self.manifest["pairs"], similarity)

    def search(
        self,
        query: Float[ndarray, " d"],
        n: int,
        *,
        exclude: int | Collection[int] | None = None,
        least: bool = False,
        within: Bool[ndarray, " rows"] | None = None,
    ) -> list[Hit]:
        """Find the stimuli most similar to a query (Eq. 1).

        Parameters
        ----------
        query : array of shape (d,)
            An embedding of the same layer, of any length but zero.
        n : int
            How many results, at least 1; fewer come back if the index is smaller.
        exclude : int or collection of int, optional
            Rows to leave out: the query itself.
        least : bool
            Find the least similar instead. Exact in every kind of index: all rows are compared.
        within : array of bool of shape (rows,), optional
            Only these rows. Exact in every kind of index: all of these are compared.

        Returns
        -------
        list of Hit
            Most similar first, or least similar; ties in the order of the rows.

        Raises
        ------
        VidsimError
            If ``n`` is below 1, or the query has the wrong dimension, is zero, or not finite.
        """
        if n < 1:
            raise VidsimError(f"{n} results were asked for; expected at least 1")
        unit = self._units(query[None])
        gone = np.array(sorted({exclude} if isinstance(exclude, int) else set(exclude or ())), np.int64)
        if not (self._vectors.exact or least or within is not None):
            wanted = min(len(self), n + len(gone))
            similarities, rows = self._vectors.nearest(unit, wanted)
            there = (rows[0] >= 0) & ~np.isin(rows[0], gone)
            if there.sum() >= min(n, len(self) - len(gone)):
                return self._hits(rows[0][there][:n], similarities[0][there][:n])
        chosen = np.ones(len(self), bool) if within is None else within.copy()
        chosen[gone] = False
        return self._hits(*self._among(unit[0], chosen, n, least=least))

    def search_many(
        self, queries: Float[ndarray, "q d"], n: int
    ) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
        """Find the rows most similar to each of many queries; much faster than one by one.

        Parameters
        ----------
        queries : array of shape (q, d)
            Embeddings of the same layer, of any length but zero.
        n : int
            How many, at least 1; all rows where the index is smaller.

        Returns
        -------
        tuple of array of shape (q, n)
            Cosine similarities, largest first, and rows; -1 where an approximate index has met fewer.

        Raises
        ------
        VidsimError
            If ``n`` is below 1, or a query has the wrong dimension, is zero, or not finite.
        """
        if n < 1:
            raise VidsimError(f"{n} results were asked for; expected at least 1")
        return self._vectors.nearest(self._units(queries), min(n, len(self)))

    def _units(self, queries: Float[ndarray, "q d"]) -> Float32[ndarray, "q d"]:
        dims = self.manifest["dims"]
        if queries.shape[1] != dims:
            raise VidsimError(
                f"the query has {queries.shape[1]} dimensions, the index {dims}; both must come from one layer"
            )
        units, finite = flat.units(queries)
        if not finite.all() or not units.any(axis=1).all():
            raise VidsimError("the query's embedding is zero or not finite; no direction to compare")
        return units

    def _among(
        self, unit: Float32[ndarray, " d"], chosen: Bool[ndarray, " rows"], n: int, *, least: bool
    ) -> tuple[Int64[ndarray, " k"], Float32[ndarray, " k"]]:
        """Compare with the chosen rows alone where they are few, else with all."""
        sign = np.float32(-1 if least else 1)
        if chosen.sum() * 8 < len(self):
            rows = np.flatnonzero(chosen)
            similarities = sign * (self._vectors.rows(rows) @ unit)
            best = exact.top_of(similarities, n)
            return rows[best], sign * similarities[best]
        similarities = sign * self._vectors.similarities(unit)
        similarities[~chosen | np.isnan(similarities)] = -np.inf  # NaN: what a store has lost since
        best = exact.top_of(similarities, n)
        best = best[similarities[best] > -np.inf]
        return best, sign * similarities[best]

    def _hits(self, rows: Int64[ndarray, " k"], similarities: Float32[ndarray, " k"]) -> list[Hit]:
        found = zip(rows.tolist(), np.clip(similarities, -1, 1).tolist(), strict=True)
        return [Hit(rank, self.value("id", r), self.value("path", r), s, r) for rank, (r, s) in enumerate(found, 1)]


def build(
    root: str,
    embeddings: Embeddings,
    entries: pa.Table,
    *,
    encoder: str,
    layer: str,
    provenance: Mapping[str, object],
    kind: Kind = "auto",
    min_recall: float = MIN_RECALL,
    attributes: pa.Table | None = None,
    seed: int = 0,
) -> Index:
    """Build an index and put it under ``faiss/`` of the artefact root.

    Recall@10 is measured against exact search on rows of the index that serve as queries, and stands in the manifest.
    The new files are written first and the manifest that names them is replaced last, in one step, so a searching
    process sees the old index or the new one.

    Parameters
    ----------
    root : str
        Artefact root, a folder or URI.
    embeddings : Embeddings
        One layer. Those that are zero are left out: they have no direction.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``; a row for every id of ``embeddings``, in any order.
    encoder, layer : str
        Names under which it will be found.
    provenance : mapping
        JSON-able facts: table, store version, spec, checkpoint.
    kind : {"auto", "flat", "ivf-flat", "ivf-pq", "hnsw"}
        Kind; by the number of rows as `kinds.choose` has it.
    min_recall : float
        Least recall@10, 0 to 1; the search is made as thorough as it takes.
    attributes : pyarrow.Table, optional
        What is known of the stimuli: a column ``id`` and others, a row for every id, in any order.
    seed : int
        Seed of training and samples.

    Returns
    -------
    Index
        The index, ready to search.

    Raises
    ------
    VidsimError
        If faiss is missing, there is nothing to index, an embedding is not finite, the recall is not reached, or the
        files cannot be written; what was there is unchanged.
    """
    found = construct.material(embeddings, entries, encoder, layer)
    facts = {"encoder": encoder, "layer": layer, "provenance": dict(provenance)}
    return _of(construct.anew(root, found, facts, kind=kind, min_recall=min_recall, attributes=attributes, seed=seed))


def refresh(
    root: str,
    embeddings: Embeddings,
    entries: pa.Table,
    *,
    encoder: str,
    layer: str,
    provenance: Mapping[str, object],
    kind: Kind | None = None,
    min_recall: float = MIN_RECALL,
    attributes: pa.Table | None = None,
    seed: int = 0,
) -> tuple[Index, str]:
    """Bring an index up to date, without training it again where that is not needed.

    New rows are added to what was trained, rows that have gone or changed leave it, and recall is measured again. It is
    built anew where there is none or a damaged one, where its kind, its encoder or what shaped its embeddings is
    another, where it has doubled or halved since it was trained, where rows leave a graph (hnsw), and where recall
    would be too low. The swap is atomic, as in `build`.

    Parameters
    ----------
    root, embeddings, entries, encoder, layer, provenance, min_recall, attributes, seed
        As `build` has them; ``provenance`` tells what shaped the embeddings, but for its entries ``version`` and
        ``attributes``.
    kind : str, optional
        As `build` has it; by default what was asked for before, or ``"auto"``.

    Returns
    -------
    tuple of Index and str
        The index, and what was done: ``"built"``, or ``"refreshed"``.

    Raises
    ------
    VidsimError
        As `build` does.
    """
    found = construct.material(embeddings, entries, encoder, layer)
    facts: dict[str, Any] = {"encoder": encoder, "layer": layer, "provenance": dict(provenance)}
    before = manifest_or_none(root, encoder, layer)  # what was asked outlives damaged files
    asked = kind or (before["asked"] if before else "auto")
    wanted = kinds.choose(len(found.matrix)) if asked == "auto" else asked
    parts = None
    if (
        before
        and before["kind"] == wanted
        and shape_of(before["provenance"]) == shape_of(json.loads(json.dumps(facts["provenance"])))
    ):
        try:
            old = parts_of(root, encoder, layer, thorough=True, change=True)
        except IndexCorrupted:
            old = None
        if old is not None and old.manifest == before:
            parts = construct.refreshed(
                root, old, found, {**facts, "asked": asked}, min_recall=min_recall, attributes=attributes, seed=seed
            )
    done = "built" if parts is None else "refreshed"
    if parts is None:
        parts = construct.anew(root, found, facts, kind=asked, min_recall=min_recall, attributes=attributes, seed=seed)
    return _of(parts), done


def _of(parts: construct.Parts) -> Index:
    return Index(parts.vectors, parts.entries, parts.manifest, parts.attributes)


def load(root: str, encoder: str, layer: str, *, thorough: bool = False) -> Index:
    """Load an index after checking its files; they are memory-mapped, and read as they are used.

    Parameters
    ----------
    root : str
        Artefact root.
    encoder, layer : str
        Names it was built under.
    thorough : bool
        Compare the whole content of the files with their SHA-256, instead of `seal.intact`'s quicker sums.

    Returns
    -------
    Index
        The index.

    Raises
    ------
    VidsimError
        If there is none, or faiss is missing where the kind needs it.
    IndexCorrupted
        If a file is missing, altered, or of a newer version.
    """
    return _of(parts_of(root, encoder, layer, thorough=thorough))


def parts_of(root: str, encoder: str, layer: str, *, thorough: bool = False, change: bool = False) -> construct.Parts:
    """Load what an index consists of; as `load`, with ``change`` into memory where it is to be changed."""
    folder = folder_of(root, encoder, layer)
    manifest = read_manifest(root, encoder, layer)
    if manifest is None:
        raise VidsimError(f"no index of {encoder} {layer} in {folder.place!r}; build one: {command(encoder)}")

    def checked(path: Path, what: str) -> Path:
        verify(path, manifest["files"][what], folder.place, encoder, thorough=thorough)
        return path

    files = {what: file["name"] for what, file in manifest["files"].items()}
    try:
        tables: dict[str, pa.Table] = {}
        for what in ("entries", "attributes"):
            if what in files:
                with folder.get(files[what]) as path:
                    tables[what] = mapped(checked(path, what))
        if manifest["kind"] == "lancedb":
            from vidsim.retrieval import stored

            vectors = stored.read(root, manifest, tables["entries"])
            return construct.Parts(vectors, tables["entries"], manifest, tables.get("attributes"))
        with folder.get(files["vectors"]) as path:
            matrix = flat.read(checked(path, "vectors"))
        if manifest["kind"] == "flat":
            vectors = flat.Flat(matrix)
        else:
            with folder.get(files["structure"]) as path:
                vectors = approximate.read(
                    checked(path, "structure"), manifest["kind"], matrix, manifest["parameters"], change=change
                )
    except FileNotFoundError as error:
        if manifest != read_manifest(root, encoder, layer):  # swapped between the manifest and its files
            return parts_of(root, encoder, layer, thorough=thorough, change=change)
        raise IndexCorrupted(
            f"the index in {folder.place!r} lacks a file that its manifest names; rebuild it: {command(encoder)}"
        ) from error
    return construct.Parts(vectors, tables["entries"], manifest, tables.get("attributes"))


def mapped(path: Path) -> pa.Table:
    """Read a table, memory-mapped: what is not asked for is not read."""
    from pyarrow import feather

    with suppress(ValueError):
        return feather.read_table(path, memory_map=True)
    raise IndexCorrupted(f"{path.name!r} is not a table; rebuild the index")
