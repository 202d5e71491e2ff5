"""Recall of an index: how many of the very nearest it finds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from vidsim.retrieval.kinds import Vectors

AT = 10
QUERIES = 256
"""Queries of a sample. Of 2,560 neighbours at a recall of .95, the standard error is about .004."""

TOLERANCE = 1e-6
"""Neighbours that are as near as this to the k-th count as found in its place: copies are equal in all but rounding."""

Search = Callable[[Float32[ndarray, "q d"], int], tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]]


@dataclass(frozen=True, eq=False)
class Sample:
    """Queries among an index's own rows, and what exact search finds for them.

    Parameters
    ----------
    rows : array of shape (q,)
        The queries' rows.
    queries : array of shape (q, d)
        Their unit vectors.
    border : array of shape (q,)
        Similarity of the k-th nearest other row.
    k : int
        `AT`, or the number of other rows where there are fewer.
    """

    rows: Int64[ndarray, " q"]
    queries: Float32[ndarray, "q d"]
    border: Float32[ndarray, " q"]
    k: int

    def recall(self, search: Search, vectors: Callable[[Int64[ndarray, " n"]], Float32[ndarray, "n d"]]) -> float:
        """Measure the share of the k nearest others that a search finds.

        Parameters
        ----------
        search : callable
            From queries and a number to similarities and rows, -1 where none was found.
        vectors : callable
            From rows to unit vectors: similarities are computed from these, whatever the search says.

        Returns
        -------
        float
            0 to 1.
        """
        if not self.k or not len(self.rows):
            return 1.0
        _, found = search(self.queries, self.k + 1)
        others = (found != self.rows[:, None]) & (found >= 0)
        others &= np.cumsum(others, axis=1) <= self.k
        distinct, place = np.unique(np.where(others, found, 0), return_inverse=True)
        there = vectors(distinct)
        place = place.reshape(found.shape)
        similarities = np.stack([there[line] @ query for line, query in zip(place, self.queries, strict=True)])
        near = others & (similarities >= self.border[:, None] - TOLERANCE)
        return float(near.sum() / (self.k * len(self.rows)))


def samples(
    n: int,
    vectors: Callable[[Int64[ndarray, " n"]], Float32[ndarray, "n d"]],
    exactly: Search,
    seed: int,
    queries: int = QUERIES,
) -> tuple[Sample, Sample]:
    """Draw two samples of an index's rows that share no row: one to tune with, one held out to measure with.

    Of a single row, both are empty.

    Parameters
    ----------
    n : int
        Rows of the index.
    vectors : callable
        From rows to unit vectors.
    exactly : callable
        Exact search.
    seed : int
        Seed of the draw.
    queries : int
        Size of each, at least 1; half the rows where there are fewer.

    Returns
    -------
    tuple of Sample
        For tuning, and held out.
    """
    size = min(queries, n // 2)
    rows = np.random.default_rng(seed).permutation(n)[: 2 * size]
    k = min(AT, n - 1)
    asked = vectors(rows)
    similarities, found = exactly(asked, k + 1) if size else (np.empty((0, k + 1), np.float32), rows[:, None])
    itself = found == rows[:, None]
    itself[~itself.any(axis=1), -1] = True  # pushed out by copies of it
    border = similarities[~itself].reshape(-1, k)[:, -1] if size else np.empty(0, np.float32)
    tuning, held = slice(0, size), slice(size, None)
    return (
        Sample(rows[tuning], asked[tuning], border[tuning], k),
        Sample(rows[held], asked[held], border[held], k),
    )


def reach(vectors: Vectors, least: float, tuning: Sample, held: Sample) -> dict[str, Any]:
    """Search as thoroughly as it takes for a recall, on the sample for tuning and on the one held out.

    Parameters
    ----------
    vectors : Vectors
        What is searched; its parameters are tuned upward.
    least : float
        Recall wanted, 0 to 1.
    tuning, held : Sample
        As `samples` draws them.

    Returns
    -------
    dict
        ``at``, ``recall``, ``queries``: what a manifest says; the recall of the last parameters tried, whether it
        suffices or not.
    """
    reached = 0.0

    def holds() -> bool:
        nonlocal reached
        for sample in (tuning, held):
            reached = sample.recall(vectors.nearest, vectors.rows)
            if reached < least:
                return False
        return True

    vectors.tune(holds)
    return {"at": AT, "recall": reached, "queries": len(held.rows)}
