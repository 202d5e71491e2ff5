"""Rank correlation of two sides over the pairs both know: Spearman's rho, and rho-a for tied values."""

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from vidsim.analysis.ranks import rho_a_of_codes, spearman_of_codes


def spearman(x: Num[ndarray, " p"], y: Num[ndarray, " p"], weights: Num[ndarray, " p"] | None = None) -> float:
    """Compute Spearman's rho over the items both sides know, ties given their average rank.

    Parameters
    ----------
    x, y : array of shape (p,)
        Values in any unit; an item that is NaN on one side is left out.
    weights : array of shape (p,), optional
        How often each item stands in the sample, 0 or more: the result is that of the sample written out.

    Returns
    -------
    float
        From -1 to 1; NaN for fewer than two items, or where a side is constant.

    Examples
    --------
    >>> spearman(np.array([0.1, 0.2, np.nan, 0.4]), np.array([1.0, 3.0, 0.0, 9.0]))
    1.0
    """
    return spearman_of_codes(*_shared(x, y, weights))


def rho_a(x: Num[ndarray, " p"], y: Num[ndarray, " p"], weights: Num[ndarray, " p"] | None = None) -> float:
    """Compute rho-a, Spearman's rho expected under random breaking of ties (Schütt et al. 2023).

    Spearman's rho favours a side that ties: it is divided by how much the ranks vary, and ties vary less. Rho-a counts
    a tie as half right.

    Parameters
    ----------
    x, y : array of shape (p,)
        Values in any unit; an item that is NaN on one side is left out.
    weights : array of shape (p,), optional
        How often each item stands in the sample, 0 or more: the result is that of the sample written out.

    Returns
    -------
    float
        From -1 to 1, equal to `spearman` where nothing ties; 0 where a side is constant, NaN for fewer than two items.

    Examples
    --------
    >>> round(rho_a(np.array([0.1, 0.2, 0.2, 0.4]), np.array([1.0, 3.0, 2.0, 9.0])), 3)
    0.9
    """
    return rho_a_of_codes(*_shared(x, y, weights))


def codes_of(values: Num[ndarray, " p"]) -> Int[ndarray, " p"]:
    """Number values by size from 0 on, equal values alike.

    Parameters
    ----------
    values : array of shape (p,)
        Values, none of them NaN.

    Returns
    -------
    array of shape (p,)
        Below the number of different values.

    Examples
    --------
    >>> codes_of(np.array([0.5, 0.1, 0.5]))
    array([1, 0, 1])
    """
    return np.unique(values, return_inverse=True)[1].reshape(-1)


def _shared(
    x: Num[ndarray, " p"], y: Num[ndarray, " p"], weights: Num[ndarray, " p"] | None
) -> tuple[Int[ndarray, " q"], Int[ndarray, " q"], Float[ndarray, " q"] | None]:
    known = ~(np.isnan(x) | np.isnan(y))
    return codes_of(x[known]), codes_of(y[known]), None if weights is None else weights[known].astype(np.float64)
