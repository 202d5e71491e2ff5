"""Kinds of index, and the rule that chooses one by the number of rows."""

from collections.abc import Callable
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import Float32, Int64
from numpy import ndarray

Kind = Literal["flat", "ivf-flat", "ivf-pq", "hnsw", "lancedb"]

FLAT_ROWS = 100_000
"""Up to so many rows an exact search takes some hundredths of a second."""

WHOLE_ROWS = 1_000_000
"""Up to so many rows an inverted file holds whole vectors; beyond, product codes of a thirtieth of their size."""


def choose(rows: int) -> Kind:
    """Choose the kind of an index by its size.

    Exact search (flat) as long as it is quick, then an inverted file (ivf-flat), and with product codes (ivf-pq) where
    the vectors themselves no longer fit into memory easily. A graph (hnsw) takes far longer to build than an inverted
    file, and ``lancedb`` searches on disk: both are used when asked for.

    Parameters
    ----------
    rows : int
        Number of vectors.

    Returns
    -------
    str
        The kind.

    Examples
    --------
    >>> [choose(rows) for rows in (250, 100_000, 100_001, 1_000_001)]
    ['flat', 'flat', 'ivf-flat', 'ivf-pq']
    """
    if rows <= FLAT_ROWS:
        return "flat"
    return "ivf-flat" if rows <= WHOLE_ROWS else "ivf-pq"


@runtime_checkable
class Vectors(Protocol):
    """Unit vectors that can be searched, in the order of an index's rows."""

    exact: bool
    """Whether `nearest` gives the very nearest."""

    def __len__(self) -> int:
        """Count the rows."""
        ...

    def rows(self, rows: Int64[ndarray, " n"]) -> Float32[ndarray, "n d"]:
        """Return some of the vectors."""
        ...

    def similarities(self, query: Float32[ndarray, " d"]) -> Float32[ndarray, " rows"]:
        """Compare a unit vector with every row, exactly."""
        ...

    def nearest(
        self, queries: Float32[ndarray, "q d"], k: int
    ) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
        """Find the most similar rows of unit vectors, most similar first; row -1 where no more was found."""
        ...

    def tune(self, holds: Callable[[], bool]) -> bool:
        """Search ever more thoroughly until it suffices; False where the most thorough search does not."""
        ...
