"""Exact search over a matrix of unit vectors in a file, memory-mapped."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped
from numpy import ndarray

from vidsim.embeddings import unit_rows
from vidsim.retrieval import exact


class Flat:
    """Compare a query with every row.

    With numpy, whose matrix products are two to three times as fast as those of faiss's flat index, and selection block
    by block (`exact.nearest`).

    Parameters
    ----------
    matrix : array of shape (n, d)
        Unit vectors; may be memory-mapped.
    """

    exact = True

    def __init__(self, matrix: Float32[ndarray, "n d"]) -> None:
        self.matrix = np.asarray(matrix)

    def __len__(self) -> int:
        return len(self.matrix)

    def rows(self, rows: Int64[ndarray, " n"]) -> Float32[ndarray, "n d"]:
        """Return some of the vectors."""
        return self.matrix[rows]

    def similarities(self, query: Float32[ndarray, " d"]) -> Float32[ndarray, " rows"]:
        """Compare a unit vector with every row."""
        return self.matrix @ query

    def nearest(
        self, queries: Float32[ndarray, "q d"], k: int
    ) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
        """Find the most similar rows, as `exact.nearest` does."""
        return exact.nearest(self.matrix, queries, k)

    def tune(self, holds: Callable[[], bool]) -> bool:
        """Tell whether it suffices: an exact search cannot be more thorough."""
        return holds()


def write(path: Path, matrix: Float32[ndarray, "n d"]) -> None:
    """Write unit vectors as `read` maps them."""
    with path.open("wb") as file:  # numpy would add a suffix to a name
        np.save(file, matrix)


def read(path: Path) -> Float32[ndarray, "n d"]:
    """Map the unit vectors of a file into memory.

    Parameters
    ----------
    path : Path
        A file that `write` has written; may be deleted while it is in use.

    Returns
    -------
    array of shape (n, d)
        Read from disk as it is used.
    """
    matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    return np.asarray(matrix)


def units(matrix: Shaped[ndarray, "n d"]) -> tuple[Float32[ndarray, "n d"], Bool[ndarray, " n"]]:
    """Scale rows to length 1 in float32, block by block.

    Parameters
    ----------
    matrix : array of shape (n, d)
        Embeddings of any float precision.

    Returns
    -------
    tuple of arrays of shape (n, d) and (n,)
        Unit vectors, and which rows are finite; a row that is zero, or not finite, is zero.

    Examples
    --------
    >>> units(np.array([[3e30, 4e30], [0, 0], [np.inf, 1]], np.float32))[1]
    array([ True,  True, False])
    """
    made = np.zeros(matrix.shape, np.float32)
    finite = np.ones(len(matrix), bool)
    rows = max(1, exact.BLOCK_BYTES // (4 * matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        block = matrix[start : start + rows]
        good = finite[start : start + rows] = np.isfinite(block).all(axis=1)
        made[start : start + rows][good] = unit_rows(block if good.all() else block[good])
    return made, finite
