"""The Mantel test: whether two matrices over the same stimuli agree better than by chance."""

from jaxtyping import Float
from numpy import ndarray


def mantel_z(first: Float[ndarray, "n n"], second: Float[ndarray, "n n"]) -> float:
    """Compute how many standard deviations two matrices agree better than with stimuli shuffled (Mantel 1967).

    Parameters
    ----------
    first, second : array of shape (n, n)
        Symmetric, 0 on the diagonal; at least 4 rows.

    Returns
    -------
    float
        (Z - E[Z]) / sd[Z] for Z the sum of products, over all orders of the rows and columns of one of them; NaN where
        one is constant.
    """
    n = len(first)
    totals, squares, shared = zip(
        *((m.sum() ** 2, (m**2).sum(), (m.sum(axis=1) ** 2).sum()) for m in (first, second)), strict=True
    )
    # products of two entries: of the same pair, of pairs with one stimulus in common, of pairs with none
    kinds = [(2 * q, 4 * (h - q), t - 4 * h + 2 * q) for t, q, h in zip(totals, squares, shared, strict=True)]
    ways = (2 * n * (n - 1), 4 * n * (n - 1) * (n - 2), n * (n - 1) * (n - 2) * (n - 3))
    expected = first.sum() * second.sum() / (n * (n - 1))
    variance = sum(a * b / w for a, b, w in zip(*kinds, ways, strict=True)) - expected**2
    scale = (squares[0] * squares[1]) ** 0.5
    if not variance > 1e-12 * scale:
        return float("nan")
    return float(((first * second).sum() - expected) / variance**0.5)
