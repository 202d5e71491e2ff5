"""The index: cosine search over one layer, with ids and manifest. Loads without torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Float, Float32, Int64
from numpy import ndarray

from vidsim.errors import VidsimError
from vidsim.retrieval import exact, flat, pairs
from vidsim.retrieval.arrow import text_scalar
from vidsim.retrieval.kinds import Vectors

pc: Any = pyarrow.compute  # makes its functions at import, where type checkers do not see them


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
        """Say what share of the pairs of this index's rows is less similar, 0 to 100; NaN without pairs, or of NaN."""
        return pairs.percentile(self.manifest["pairs"], similarity)

    def search(
        self,
        query: Float[ndarray, " d"],
        n: int,
        *,
        exclude: int | np.integer | Collection[int | np.integer] | None = None,
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
            Rows to leave out, from 0: the query itself.
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
            If ``n`` is below 1, the query has the wrong dimension, is zero, or not finite, ``exclude`` holds what is no
            row, or ``within`` is no mask of all rows.
        """
        if n < 1:
            raise VidsimError(f"{n} results were asked for; expected at least 1")
        unit = self._units(query[None])
        gone = self._left_out(exclude)
        self._check_mask(within)
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

    def _left_out(self, exclude: int | np.integer | Collection[int | np.integer] | None) -> Int64[ndarray, " gone"]:
        """Return the rows to leave out, each once."""
        rows: set[int] = set()
        given = () if exclude is None else exclude if np.iterable(exclude) else (exclude,)
        for row in list[object](given):
            if not isinstance(row, int | np.integer) or isinstance(row, bool) or not 0 <= row < len(self):
                raise VidsimError(f"exclude holds {row!r}: expected rows of the index, 0 to {len(self) - 1}")
            rows.add(int(row))
        return np.array(sorted(rows), np.int64)

    def _check_mask(self, within: object) -> None:
        if within is None or (isinstance(within, ndarray) and within.dtype == bool and within.shape == (len(self),)):
            return
        what = f"{within.dtype} of shape {within.shape}" if isinstance(within, ndarray) else type(within).__name__
        raise VidsimError(f"within is {what}: expected bool of shape ({len(self)},), True for rows to search")

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
