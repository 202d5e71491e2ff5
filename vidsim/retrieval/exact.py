"""Exact search: the most similar rows by going through all of them, block by block."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from vidsim.retrieval import gpu

BLOCK_BYTES = 1 << 24
"""Vectors that are compared at a time, small enough for a processor's cache."""

QUERIES = 256
"""Queries that are answered at a time."""

ALONE = 4
"""Up to so many queries are compared with all rows at once: their similarities take little memory."""


def blocks(matrix: Float32[ndarray, "n d"]) -> Iterable[tuple[int, Float32[ndarray, "b d"]]]:
    """Go through a matrix in blocks of rows.

    Parameters
    ----------
    matrix : array of shape (n, d)
        May be memory-mapped.

    Yields
    ------
    tuple of int and array of shape (b, d)
        Position of the first row, and the rows.
    """
    rows = max(1, BLOCK_BYTES // (4 * matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        yield start, matrix[start : start + rows]


def nearest(
    matrix: Float32[ndarray, "n d"], queries: Float32[ndarray, "q d"], k: int
) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
    """Find the rows with the largest inner products.

    On a GPU where faiss has one and there are many queries.

    Parameters
    ----------
    matrix : array of shape (n, d)
        Rows to search, of length 1 where cosines are wanted; may be memory-mapped.
    queries : array of shape (q, d)
        Queries, of length 1 likewise.
    k : int
        How many, 1 to n.

    Returns
    -------
    tuple of array of shape (q, k)
        Inner products, largest first, and rows; ties in the order of the rows.

    Examples
    --------
    >>> rows = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> nearest(rows, np.array([[0, 1]], np.float32), 2)[1]
    array([[1, 2]])
    """
    if len(queries) > ALONE and gpu.available():
        return gpu.nearest(matrix, queries, k)
    return nearest_among(blocks(matrix), queries, k) if len(queries) > ALONE else _alone(matrix, queries, k)


def nearest_among(
    parts: Iterable[tuple[int | Int64[ndarray, " _"], Float32[ndarray, "_ d"]]],
    queries: Float32[ndarray, "q d"],
    k: int,
) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
    """Find the rows with the largest inner products among rows that come in parts, each of which is read once.

    Parameters
    ----------
    parts : iterable of (int or array of shape (b,), array of shape (b, d))
        Position of the first row of a part, or numbers of its rows, and the rows; as `blocks` gives them.
    queries : array of shape (q, d)
        Queries.
    k : int
        How many, 1 to the number of rows.

    Returns
    -------
    tuple of array of shape (q, k)
        Inner products, largest first, and rows; ties in the order of the rows.
    """
    best = [_Best(queries[start : start + QUERIES], k) for start in range(0, len(queries), QUERIES)]
    for where, rows in parts:
        for some in best:
            some.see(where, rows)
    found = [some.found() for some in best] or [(np.empty((0, k), np.float32), np.empty((0, k), np.int64))]
    return np.concatenate([s for s, _ in found]), np.concatenate([r for _, r in found])


class _Best:
    """The best rows so far of some queries.

    Most blocks hold few rows that beat the k-th best so far: comparing with it costs less than sorting the block.
    """

    def __init__(self, queries: Float32[ndarray, "q d"], k: int) -> None:
        self._queries = queries
        self._k = k
        self._similarities = np.empty((len(queries), 0), np.float32)
        self._rows = np.empty((len(queries), 0), np.int64)
        self._waiting: list[tuple[ndarray, ndarray, ndarray]] = []  # query, row, similarity
        self._held = 0

    def see(self, where: int | Int64[ndarray, " b"], rows: Float32[ndarray, "b d"]) -> None:
        products = self._queries @ rows.T
        numbers = np.arange(where, where + len(rows)) if isinstance(where, int) else where
        if self._similarities.shape[1] < self._k:  # the first blocks
            self._keep(products, np.broadcast_to(numbers, products.shape))
            return
        # places in a flat array: numpy finds these many times as fast as lines and columns
        query, column = np.divmod(np.flatnonzero(products > self._similarities[:, -1:]), len(rows))
        self._waiting.append((query, numbers[column], products[query, column]))
        self._held += len(query)
        if self._held > 4 * self._k * len(self._queries):
            self._settle()

    def found(self) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
        self._settle()
        return self._similarities, self._rows

    def _settle(self) -> None:
        """Merge what waits: laid out as a matrix, one line a query, as wide as the longest."""
        if not self._held:
            return
        query, row, similarity = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        order = np.argsort(query, kind="stable")
        query, row, similarity = query[order], row[order], similarity[order]
        counts = np.bincount(query, minlength=len(self._queries))
        place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        similarities = np.full((len(self._queries), int(counts.max())), -np.inf, np.float32)
        rows = np.full(similarities.shape, np.iinfo(np.int64).max)
        similarities[query, place], rows[query, place] = similarity, row
        self._waiting, self._held = [], 0
        self._keep(similarities, rows)

    def _keep(self, similarities: Float32[ndarray, "q m"], rows: Int64[ndarray, "q m"]) -> None:
        similarities = np.concatenate([self._similarities, similarities], axis=1)
        rows = np.concatenate([self._rows, rows], axis=1)
        self._similarities, self._rows = top(similarities, rows, self._k)


def top(
    similarities: Float32[ndarray, "q m"], rows: Int64[ndarray, "q m"], k: int
) -> tuple[Float32[ndarray, "q k2"], Int64[ndarray, "q k2"]]:
    """Keep the k largest of every line, largest first; ties in the order of the rows.

    Parameters
    ----------
    similarities, rows : array of shape (q, m)
        Candidates; where two are equal at the border, either may stay unless they come in the order of the rows.
    k : int
        How many; all of them where there are fewer.

    Returns
    -------
    tuple of array of shape (q, min(k, m))
        The largest.

    Examples
    --------
    >>> top(np.array([[1, 3, 3]], np.float32), np.array([[0, 2, 1]]), 2)
    (array([[3., 3.]], dtype=float32), array([[1, 2]]))
    """
    if similarities.shape[1] > 4 * k:
        # the k-th largest value, and everything above it; among its equals the first
        border = -np.partition(-similarities, k - 1, axis=1)[:, k - 1 : k]
        above = similarities > border
        level = similarities == border
        chosen = above | (level & (np.cumsum(level, axis=1) <= k - above.sum(axis=1, keepdims=True)))
        similarities = similarities[chosen].reshape(-1, k)
        rows = rows[chosen].reshape(-1, k)
    order = np.lexsort((rows, -similarities), axis=1)[:, :k]
    return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)


def top_of(similarities: Float32[ndarray, " n"], k: int) -> Int64[ndarray, " k2"]:
    """Return the places of the k largest, largest first; ties in their order.

    Parameters
    ----------
    similarities : array of shape (n,)
        Without NaN.
    k : int
        How many, at least 1; all of them where there are fewer.

    Returns
    -------
    array of shape (min(k, n),)
        Places.

    Examples
    --------
    >>> top_of(np.array([1, 3, 2, 3], np.float32), 3)
    array([1, 3, 2])
    """
    n = len(similarities)
    if k < n:
        border = np.partition(similarities, n - k)[n - k]
        places = np.flatnonzero(similarities >= border)
    else:
        places = np.arange(n)
    return places[np.argsort(-similarities[places], kind="stable")][:k]


def _alone(
    matrix: Float32[ndarray, "n d"], queries: Float32[ndarray, "q d"], k: int
) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
    similarities, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    for line, query in enumerate(queries):
        products = matrix @ query
        rows[line] = top_of(products, k)
        similarities[line] = products[rows[line]]
    return similarities, rows
