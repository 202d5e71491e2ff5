"""RSM: a representational similarity matrix with its ids and, where people judged, the counts behind it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from vidsim.check import refuse_axes, whole_numbers
from vidsim.embeddings import Embeddings, positions, rows_of, unit_rows
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    import pyarrow as pa

ROUNDING = 64
"""Similarities that differ by less than this many units of rounding of the largest are the same."""

ASYMMETRIC = "are not symmetric; expected the same value for (i, j) and (j, i)"


DIGITS = 12
"""Decimals of a computed similarity: what float64 products of vectors of any length hold without rounding errors."""


@dataclass(frozen=True, eq=False)
class RSM:
    """Hold the similarity of every pair of stimuli, together with the stimulus ids.

    Parameters
    ----------
    ids : sequence of str
        One id per row and column, all distinct.
    similarities : array of shape (n, n)
        Symmetric, up to rounding, which is averaged out; for judgments the share of trials in which a pair stayed
        together, 0 to 1. NaN means never judged.
    counts : array of shape (n, n), optional
        How often each pair was judged; 0 on the diagonal. None where nothing was judged: a model's RSM.

    Raises
    ------
    VidsimError
        If ids repeat, a matrix is not square in their number or not symmetric, a similarity is infinite, or a count is
        no whole number of at least 0.

    Examples
    --------
    >>> import numpy as np
    >>> human = RSM(("a", "b", "c"), np.array([[1, 0.25, np.nan], [0.25, 1, 0.5], [np.nan, 0.5, 1]]))
    >>> human.take(["c", "b"]).distances
    array([[0. , 0.5],
           [0.5, 0. ]])
    >>> human.upper
    array([0.25,  nan, 0.5 ])
    """

    ids: Sequence[str]
    similarities: Float[ndarray, "n n"]
    counts: Int[ndarray, "n n"] | None = None

    def __post_init__(self) -> None:
        n = len(self.position)
        _refuse_shape("similarities", self.similarities, n)
        if self.similarities.dtype.kind in "biu":  # whether two are of one category
            object.__setattr__(self, "similarities", self.similarities.astype(np.float64))
        if self.similarities.dtype.kind != "f":
            raise VidsimError(f"similarities of type {self.similarities.dtype} were given; expected floats")
        if _infinite(self.similarities):
            raise VidsimError("a similarity is infinite; expected numbers, or NaN for a pair that was never judged")
        if not _symmetric(self.similarities):
            object.__setattr__(self, "similarities", _evened(self.similarities))
        if self.counts is None:
            return
        _refuse_shape("counts", self.counts, n)
        object.__setattr__(self, "counts", whole_numbers("counts", self.counts))
        if self.counts.min(initial=0) < 0:
            raise VidsimError(f"a count is {self.counts.min()}; expected 0 or more")
        if not _symmetric(self.counts):
            raise VidsimError(f"the counts {ASYMMETRIC}")

    @cached_property
    def position(self) -> dict[str, int]:
        """Map each id to its row."""
        return positions(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def distances(self) -> Float[ndarray, "n n"]:
        """Return the dissimilarities, 1 - similarity."""
        return 1 - self.similarities

    @property
    def upper(self) -> Float[ndarray, " p"]:
        """Return the similarities of the n (n - 1) / 2 pairs above the diagonal, row by row."""
        return self.similarities[np.triu_indices(len(self), 1)]

    @property
    def upper_counts(self) -> Int[ndarray, " p"]:
        """Return the counts of the pairs, in the order of `upper`; all 0 where nothing was judged."""
        where = np.triu_indices(len(self), 1)
        return np.zeros(len(where[0]), np.int64) if self.counts is None else self.counts[where]

    def take(self, ids: Sequence[str]) -> "RSM":
        """Select stimuli by id, in the order asked for.

        Parameters
        ----------
        ids : sequence of str
            Ids to keep.

        Returns
        -------
        RSM
            Rows and columns of ``ids``.

        Raises
        ------
        VidsimError
            If an id is not here.
        """
        rows = rows_of(ids, self.position, "in the similarity matrix")
        where = np.ix_(rows, rows)
        return RSM(tuple(ids), self.similarities[where], None if self.counts is None else self.counts[where])

    def table(self) -> "pa.Table":
        """Return the matrix as an Arrow table.

        Returns
        -------
        pyarrow.Table
            Columns ``id``, ``similarity`` (a list per row) and, where there are counts, ``count`` (likewise).
        """
        import pyarrow as pa

        def rows(matrix: ndarray) -> pa.Array:
            # lists of any length: LanceDB takes lists of one length for vectors, and refuses NaN in them
            starts = np.arange(len(self) + 1, dtype=np.int64) * len(self)
            return pa.LargeListArray.from_arrays(pa.array(starts), pa.array(matrix.ravel()))

        columns = {"id": pa.array(self.ids, pa.string()), "similarity": rows(self.similarities)}
        if self.counts is not None:
            columns["count"] = rows(self.counts)
        return pa.table(columns)

    @classmethod
    def from_table(cls, table: "pa.Table") -> "RSM":
        """Read back what `table` gives.

        Parameters
        ----------
        table : pyarrow.Table
            Columns ``id``, ``similarity`` and perhaps ``count``.

        Returns
        -------
        RSM
            The matrix.

        Raises
        ------
        VidsimError
            If a column is missing, or does not hold a row of the matrix in each of its cells.
        """
        import pyarrow as pa

        lacking = {"id", "similarity"}.difference(table.column_names)
        if lacking:
            raise VidsimError(f"the table has no column {min(lacking)!r}; expected one that RSM.table has made")

        def matrix(name: str) -> ndarray:
            n, cells = table.num_rows, table[name].combine_chunks()
            lists = isinstance(cells, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray)
            if not lists or any(length != n for length in cells.value_lengths().to_pylist()):
                raise VidsimError(f"column {name!r} of the table holds no matrix; expected {n} lists of {n} numbers")
            # Lance gives null for an item that is NaN in lists of one length, which older stores hold
            return cells.flatten().to_numpy(zero_copy_only=False).reshape(n, n)

        counts = matrix("count") if "count" in table.column_names else None
        return cls(tuple(table["id"].to_pylist()), matrix("similarity"), counts)


def cosine_rsm(embeddings: Embeddings) -> RSM:
    """Compute the cosine similarity of every pair of embeddings (Eq. 1).

    Parameters
    ----------
    embeddings : Embeddings
        One vector per stimulus; a zero vector has similarity 0 to all others.

    Returns
    -------
    RSM
        Similarities from -1 to 1, in float64, to `DIGITS` decimals: what is equal but for rounding is equal.

    Raises
    ------
    VidsimError
        If an embedding is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> cosine_rsm(Embeddings(("a", "b"), np.array([[1.0, 0.0], [3.0, 4.0]]))).similarities
    array([[1. , 0.6],
           [0.6, 1. ]])
    """
    unit = unit_rows(embeddings.matrix.astype(np.float64))
    _refuse_undirected(unit, embeddings.ids)
    return _rsm(embeddings.ids, unit @ unit.T)


def pearson_rsm(embeddings: Embeddings) -> RSM:
    """Compute Pearson's correlation of every pair of embeddings: Eq. 1 on embeddings centred on their own mean.

    Parameters
    ----------
    embeddings : Embeddings
        One vector per stimulus, none of them constant.

    Returns
    -------
    RSM
        Similarities from -1 to 1, in float64, to `DIGITS` decimals: what is equal but for rounding is equal.

    Raises
    ------
    VidsimError
        If an embedding is constant or not finite: it correlates with nothing.

    Examples
    --------
    >>> import numpy as np
    >>> pearson_rsm(Embeddings(("a", "b"), np.array([[1.0, 2.0, 3.0], [4.0, 2.0, 0.0]]))).similarities
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    rows, lengths = _centred(embeddings.matrix, embeddings.ids)
    return _rsm(embeddings.ids, rows @ rows.T / lengths / lengths[:, None])


def cosine_blocks(embeddings: Embeddings, rows: int = 1024) -> Iterator[tuple[slice, Float[ndarray, "b n"]]]:
    """Compute the cosine RSM a block of rows at a time, for more stimuli than a whole matrix has room for (Eq. 1).

    Parameters
    ----------
    embeddings : Embeddings
        One vector per stimulus; a zero vector has similarity 0 to all others.
    rows : int
        Rows of a block, from 1. A block takes rows x n values of memory, and the next is made while the last is held.

    Returns
    -------
    iterator of (slice, array of shape (b, n))
        Which rows, and their similarities to all stimuli; in the precision of the embeddings, float32 or better.

    Raises
    ------
    VidsimError
        If ``rows`` is below 1, or an embedding is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> embeddings = Embeddings(("a", "b", "c"), np.array([[1.0, 0.0], [3.0, 4.0], [0.0, 2.0]]))
    >>> [(part.start, block.tolist()) for part, block in cosine_blocks(embeddings, rows=2)]
    [(0, [[1.0, 0.6, 0.0], [0.6, 1.0, 0.8]]), (2, [[0.0, 0.8, 1.0]])]
    """
    parts, unit = _parts(len(embeddings), rows), unit_rows(embeddings.matrix)
    _refuse_undirected(unit, embeddings.ids)
    return _blocks(unit, parts)


def pearson_blocks(embeddings: Embeddings, rows: int = 1024) -> Iterator[tuple[slice, Float[ndarray, "b n"]]]:
    """Compute what `pearson_rsm` does a block of rows at a time, as `cosine_blocks` does.

    Parameters
    ----------
    embeddings : Embeddings
        One vector per stimulus, none of them constant.
    rows : int
        Rows of a block, from 1.

    Returns
    -------
    iterator of (slice, array of shape (b, n))
        Which rows, and their similarities to all stimuli; in the precision of the embeddings, float32 or better.

    Raises
    ------
    VidsimError
        If ``rows`` is below 1, or an embedding is constant or not finite.
    """
    matrix, parts = embeddings.matrix, _parts(len(embeddings), rows)
    unit = np.empty(matrix.shape, np.promote_types(matrix.dtype, np.float32))
    for part in parts:
        centred, lengths = _centred(matrix[part], embeddings.ids[part])
        unit[part] = centred / lengths[:, None]
    return _blocks(unit, parts)


def square(upper: ndarray, n: int, diagonal: float | int) -> ndarray:
    """Lay pair values out as a symmetric matrix.

    Parameters
    ----------
    upper : array of shape (n (n - 1) / 2,)
        One value per pair, row by row above the diagonal.
    n : int
        Rows of the matrix.
    diagonal : number
        Value of the diagonal.

    Returns
    -------
    array of shape (n, n)
        In the precision of ``upper``.

    Examples
    --------
    >>> import numpy as np
    >>> square(np.array([1, 2, 3]), 3, 0)
    array([[0, 1, 2],
           [1, 0, 3],
           [2, 3, 0]])
    """
    matrix = np.full((n, n), diagonal, upper.dtype)
    start = 0
    for row in range(n - 1):  # no index arrays: they would be twice as large as the matrix
        stop = start + n - 1 - row
        matrix[row, row + 1 :] = upper[start:stop]
        start = stop
    for a, b in _tiles(n):
        if a == b:
            inner = matrix[a, a]
            below = np.tril_indices(len(inner), -1)
            inner[below] = inner.T[below]
        else:
            matrix[a, b] = matrix[b, a].T
    return matrix


def _refuse_undirected(unit: Float[ndarray, "n d"], ids: Sequence[str]) -> None:
    lost = np.isnan(unit[:, :1]).any(axis=1)  # `unit_rows` leaves whole rows
    if lost.any():
        name = ids[int(np.argmax(lost))]
        raise VidsimError(f"the embedding of {name!r} is not finite: it is similar to nothing; leave it out")


def _rsm(ids: Sequence[str], similarities: Float[ndarray, "n n"]) -> RSM:
    similarities = (similarities + similarities.T) / 2  # a product of blocks need not be symmetric to the last bit
    # equal embeddings would differ by rounding errors, and break ties by the order of rows
    np.round(similarities, DIGITS, out=similarities)
    np.fill_diagonal(similarities, 1.0)
    return RSM(ids, similarities)


def _blocks(unit: Float[ndarray, "n d"], parts: Sequence[slice]) -> Iterator[tuple[slice, Float[ndarray, "b n"]]]:
    for part in parts:
        block = unit[part] @ unit.T
        np.fill_diagonal(block[:, part], 1.0)
        yield part, block


def _parts(n: int, rows: int) -> list[slice]:
    if rows < 1:
        raise VidsimError(f"blocks of {rows} rows were asked for; expected at least 1")
    return [slice(start, min(n, start + rows)) for start in range(0, n, rows)]


def _centred(matrix: Shaped[ndarray, "n d"], ids: Sequence[str]) -> tuple[Float[ndarray, "n d"], Float[ndarray, " n"]]:
    """Take each row's mean off, in float64; return the lengths of what is left too."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
        means = matrix.mean(axis=1, dtype=np.float64)
        rows = np.subtract(matrix, means[:, None], dtype=np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    # equal values, less their mean, leave rounding errors
    varies = (lengths > 1e-13 * matrix.shape[1] ** 0.5 * np.abs(means)) & np.isfinite(lengths)
    if not varies.all():
        name = ids[int(np.argmin(varies))]
        raise VidsimError(
            f"the embedding of {name!r} is constant or not finite: it correlates with nothing; leave it out"
        )
    return rows, lengths


def _tiles(n: int, size: int = 512) -> Iterator[tuple[slice, slice]]:
    """Go through the diagonal and what lies below it, in tiles that fit the processor's cache."""
    blocks = _parts(n, size)
    return ((blocks[row], blocks[column]) for row in range(len(blocks)) for column in range(row + 1))


def _same(a: ndarray, b: ndarray) -> bool:
    """Tell whether all values are equal; NaN equals NaN."""
    differ = a != b
    return not differ.any() or not (differ & ~(np.isnan(a) & np.isnan(b))).any()


def _refuse_shape(what: str, matrix: ndarray, n: int) -> None:
    refuse_axes(what, matrix, f"({n}, {n})")
    if matrix.shape != (n, n):
        raise VidsimError(f"{what} of shape {matrix.shape} were given for {n} ids; expected ({n}, {n})")


def _infinite(similarities: Float[ndarray, "n n"]) -> bool:
    # the sum of squares is quicker than a look at each, and finite as a rule
    flat = similarities.ravel(order="K")
    return not isfinite(np.vdot(flat, flat)) and bool(np.isinf(similarities).any())


def _symmetric(matrix: Shaped[ndarray, "n n"]) -> bool:
    return all(_same(matrix[a, b], matrix[b, a].T) for a, b in _tiles(len(matrix), 256))


def _evened(similarities: Float[ndarray, "n n"]) -> Float[ndarray, "n n"]:
    """Average both halves of a matrix where they differ by rounding alone."""
    unit = min(np.finfo(similarities.dtype).eps, np.finfo(np.float32).eps)  # nobody computes in float16
    most = unit * ROUNDING * max(np.nanmax(similarities), -np.nanmin(similarities))
    made = np.empty_like(similarities)
    for a, b in _tiles(len(similarities)):
        one, other = similarities[a, b], similarities[b, a].T
        if not np.allclose(one, other, rtol=0, atol=most, equal_nan=True):
            raise VidsimError(f"the similarities {ASYMMETRIC}")
        made[a, b] = (one + other) / 2
        made[b, a] = made[a, b].T
    return made
