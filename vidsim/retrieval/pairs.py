"""How similar pairs of an index's own rows are: what a percentile is measured against."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

PAIRS = 1_000_000
QUANTILES = 1001


def quantiles(matrix: Float32[ndarray, "n d"], seed: int) -> dict[str, Any]:
    """Measure the distribution of similarity over pairs of rows.

    All pairs where they are `PAIRS` at most. Else so many, each of which is as likely as any other: rows are compared
    with those some steps further on, round the end, at random step widths, so that each counts equally often.

    Parameters
    ----------
    matrix : array of shape (n, d)
        Unit vectors; may be memory-mapped.
    seed : int
        Seed of the sample.

    Returns
    -------
    dict
        ``pairs``, how many were measured, and ``quantiles``, `QUANTILES` of them from the least to the greatest; none
        of a single row.

    Examples
    --------
    >>> quantiles(np.eye(2, dtype=np.float32), 0)["pairs"]
    1
    """
    n = len(matrix)
    rng = np.random.default_rng(seed)
    if n * (n - 1) // 2 <= PAIRS:
        products = matrix @ matrix.T
        similarities = products[np.triu_indices(n, 1)]
    else:
        if n > PAIRS:
            matrix = matrix[np.sort(rng.choice(n, PAIRS, replace=False))]
            n = PAIRS
        # steps below n / 2 meet no pair twice
        steps = np.sort(rng.choice((n - 1) // 2, -(-PAIRS // n), replace=False)) + 1
        similarities = np.concatenate([_at(matrix, int(step)) for step in steps])
    if not len(similarities):
        return {"pairs": 0, "quantiles": []}
    found = np.quantile(similarities.astype(float), np.linspace(0, 1, QUANTILES))
    return {"pairs": len(similarities), "quantiles": [round(q, 6) for q in found.tolist()]}


def percentile(pairs: Mapping[str, Any], similarity: float) -> float:
    """Say what share of the pairs is less similar; equal ones count half.

    Parameters
    ----------
    pairs : mapping
        As `quantiles` gives it.
    similarity : float
        Cosine similarity, -1 to 1.

    Returns
    -------
    float
        0 to 100; NaN where there are no pairs, or the similarity is NaN.

    Examples
    --------
    >>> percentile({"quantiles": [0.0, 0.5, 1.0]}, 0.25)
    25.0
    """
    among: Sequence[float] = pairs["quantiles"]
    if not among or np.isnan(similarity):
        return float("nan")
    values = np.asarray(among)
    left, right = np.searchsorted(values, similarity, "left"), np.searchsorted(values, similarity, "right")
    if right > left:
        place = (left + right - 1) / 2
    elif left in {0, len(values)}:
        place = 0.0 if left == 0 else len(values) - 1.0
    else:
        place = left - 1 + (similarity - values[left - 1]) / (values[left] - values[left - 1])
    return float(100 * place / (len(values) - 1))


def _at(matrix: Float32[ndarray, "n d"], step: int) -> Float32[ndarray, " n"]:
    """Compare every row with the one ``step`` further on."""
    rows = max(1, (1 << 23) // (4 * matrix.shape[1]))
    found = np.empty(len(matrix), np.float32)
    for start in range(0, len(matrix), rows):
        here = matrix[start : start + rows]
        there = matrix[np.arange(start + step, start + step + len(here)) % len(matrix)]
        found[start : start + rows] = np.einsum("ij,ij->i", here, there)
    return found
