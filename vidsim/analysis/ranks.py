"""Rank correlation of values that tie heavily, as shares of a few judgments do."""

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray


def share_codes(most: int) -> Int[ndarray, "m m"]:
    """Number the shares together / shown by size, equal shares alike.

    Parameters
    ----------
    most : int
        Largest ``shown``.

    Returns
    -------
    array of shape (most + 1, most + 1)
        The code of together / shown at ``[shown, together]``, from 0; meaningless where together > shown or shown = 0.

    Examples
    --------
    >>> share_codes(2)
    array([[0, 0, 0],
           [0, 2, 0],
           [0, 1, 2]])
    """
    shown, together = np.tril_indices(most + 1)
    shown, together = shown[1:], together[1:]  # 0 of 0 is no share
    codes = np.zeros((most + 1, most + 1), np.int64)
    # correctly rounded division: equal fractions are equal floats, and different ones differ
    codes[shown, together] = np.unique(together / shown, return_inverse=True)[1].reshape(-1)
    return codes


def spearman_of_codes(x: Int[ndarray, " p"], y: Int[ndarray, " p"], weights: Num[ndarray, " p"] | None = None) -> float:
    """Compute the Spearman correlation of integer codes, ties given their average rank.

    Nothing is sorted: ranks follow from how often each code occurs.

    Parameters
    ----------
    x, y : array of shape (p,)
        Codes from 0 on; only their order counts.
    weights : array of shape (p,), optional
        How often each item stands in the sample: the result is that of the sample written out.

    Returns
    -------
    float
        From -1 to 1; NaN for fewer than two items, or where a side is constant.

    Examples
    --------
    >>> spearman_of_codes(np.array([0, 1, 1, 3]), np.array([0, 2, 1, 3]))
    0.9486832980505138
    """
    first, spread_x = _centred_ranks(x, weights)
    second, spread_y = _centred_ranks(y, weights)
    if not (spread_x > 0 and spread_y > 0):
        return float("nan")
    products = first[x] * second[y]
    if weights is not None:
        products *= weights
    # summed, not a dot product: BLAS would start threads for it, which costs more than the sum
    return float(np.clip(products.sum() / np.sqrt(spread_x * spread_y), -1, 1))


def _centred_ranks(codes: Int[ndarray, " p"], weights: Num[ndarray, " p"] | None) -> tuple[Float[ndarray, " k"], float]:
    """Return the average rank of each code less the mean rank, and the sum of squares over the sample."""
    times = np.bincount(codes, weights).astype(np.float64)
    ranks = np.cumsum(times) - (times + times.sum()) / 2
    return ranks, float((times * ranks**2).sum())


def rho_a_of_codes(x: Int[ndarray, " p"], y: Int[ndarray, " p"], weights: Num[ndarray, " p"] | None = None) -> float:
    """Compute rho-a of integer codes, Spearman's rho expected under random breaking of ties (Schütt et al. 2023).

    In a random order of tied items each rank is the average rank on average, and independently so on the two sides:
    the expected rho is 12 / (n^3 - n) times the sum of products of centred average ranks.

    Parameters
    ----------
    x, y : array of shape (p,)
        Codes from 0 on; only their order counts.
    weights : array of shape (p,), optional
        How often each item stands in the sample: the result is that of the sample written out.

    Returns
    -------
    float
        From -1 to 1; 0 where a side is constant, NaN for fewer than two items.

    Examples
    --------
    >>> round(rho_a_of_codes(np.array([0, 1, 1, 3]), np.array([0, 2, 1, 3])), 3)
    0.9
    """
    total = float(len(x)) if weights is None else float(weights.sum())
    if total < 2:
        return float("nan")
    products = _centred_ranks(x, weights)[0][x] * _centred_ranks(y, weights)[0][y]
    if weights is not None:
        products *= weights
    return float(12 * products.sum() / (total**3 - total))
