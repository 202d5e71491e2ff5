"""Least squares on pairs of stimuli: R2 of every subset of predictors, in samples given as weights of the stimuli."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vidsim.errors import VidsimError

BLOCK = 1 << 16
"""Pairs worked on at a time where every subset has a value for every pair."""

RCOND = 1e-10
"""Directions of the predictors with less than this share of the largest variance count as none."""


@dataclass(frozen=True, eq=False)
class PairData:
    """Hold distances of pairs of stimuli: those of the predictors, and those that they are to explain.

    Parameters
    ----------
    known : array of shape (n, n)
        Which pairs count; symmetric, False on the diagonal.
    values : array of shape (m + 1, n, n)
        One symmetric matrix per predictor, then the one explained; over the known pairs each has mean 0 and population
        standard deviation 1, elsewhere it is 0.
    """

    known: Bool[ndarray, "n n"]
    values: Float[ndarray, "k n n"]

    @property
    def pairs(self) -> int:
        """Return how many pairs count."""
        return int(self.known.sum()) // 2

    @cached_property
    def upper(self) -> Float[ndarray, "k p"]:
        """Return the values of the known pairs, row by row above the diagonal."""
        return self.values[:, np.triu(self.known)]

    @classmethod
    def of(cls, explained: Float[ndarray, "n n"], predictors: dict[str, Float[ndarray, "n n"]]) -> "PairData":
        """Take the pairs that all matrices have, and standardise them.

        Parameters
        ----------
        explained : array of shape (n, n)
            Symmetric; NaN marks a missing pair, the diagonal is not looked at.
        predictors : dict of str to array of shape (n, n)
            Likewise, by name.

        Returns
        -------
        PairData
            Ready for regression.

        Raises
        ------
        VidsimError
            If there are too few pairs, a matrix is constant over them, or a predictor is a combination of others.
        """
        stack = np.array([*predictors.values(), explained], np.float64)
        known = np.isfinite(stack).all(axis=0) & ~np.eye(len(explained), dtype=bool)
        pairs = int(known.sum()) // 2
        if pairs < len(predictors) + 3:
            raise VidsimError(
                f"{pairs} pairs are known to all, too few to explain by {len(predictors)} predictors; "
                f"expected at least {len(predictors) + 3}: judge more pairs, or leave predictors out"
            )
        for number, name in enumerate([*predictors, None]):
            values = stack[number][known]
            low, high = values.min(), values.max()
            if high - low <= 1e-9 * max(abs(low), abs(high)):
                what = f"the distances of predictor {name!r}" if name is not None else "the human distances"
                raise VidsimError(f"{what} are all equal, {low:g}, over the {pairs} pairs known to all; leave it out")
            stack[number] = np.where(known, (stack[number] - values.mean()) / values.std(), 0)
        _refuse_collinear(list(predictors), stack[:-1][:, known])
        return cls(known, stack)


def subsets(predictors: int) -> list[tuple[int, ...]]:
    """List the subsets of some predictors that are not empty, small ones first.

    Parameters
    ----------
    predictors : int
        How many.

    Returns
    -------
    list of tuple of int
        2 ** predictors - 1.

    Examples
    --------
    >>> subsets(2)
    [(0,), (1,), (0, 1)]
    """
    return [chosen for size in range(1, predictors + 1) for chosen in combinations(range(predictors), size)]


def moments(data: PairData, weights: Float[ndarray, "r n"]) -> Float[ndarray, "r k k"]:
    """Sum products of constant, predictors and explained distances over pairs, in samples of the stimuli.

    A pair counts as often as both of its stimuli stand in the sample together; pairs of a stimulus with itself do not.
    The sums are those of the sample written out, at the price of products of matrices of n rows.

    Parameters
    ----------
    data : PairData
        Of n stimuli and m predictors.
    weights : array of shape (r, n)
        How often each stimulus stands in each sample, 0 or more.

    Returns
    -------
    array of shape (r, m + 2, m + 2)
        In the order constant, predictors, explained; the first element is the number of pairs in the sample.
    """
    columns = [data.known.astype(np.float64), *data.values]
    result = np.empty((len(weights), len(columns), len(columns)))
    for a, first in enumerate(columns):
        for b, second in enumerate(columns[: a + 1]):
            result[:, a, b] = result[:, b, a] = np.vecdot(weights @ (first * second), weights) / 2
    return result


def fits(sums: Float[ndarray, "r k k"], chosen: Sequence[int]) -> Float[ndarray, "r c"]:
    """Fit the explained distances by some predictors and a constant (ordinary least squares).

    Parameters
    ----------
    sums : array of shape (r, m + 2, m + 2)
        What `moments` gives.
    chosen : sequence of int
        Numbers of the predictors.

    Returns
    -------
    array of shape (r, m + 1)
        The constant, then one coefficient per predictor, 0 for those not chosen. Of coefficients that a sample does
        not determine, the smallest.
    """
    result = np.zeros((len(sums), sums.shape[1] - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums[:, 0] / sums[:, :1, 0]
        covariance = sums / sums[:, :1, :1] - means[:, :, None] * means[:, None, :]
    rows = np.array(chosen, np.int64) + 1
    defined = np.all(np.isfinite(covariance), axis=(1, 2))
    inside = covariance[defined][:, rows[:, None], rows]
    inverse = np.linalg.pinv(inside, rcond=RCOND, hermitian=True)
    result[defined[:, None] & np.isin(np.arange(result.shape[1]), rows)] = np.matvec(
        inverse, covariance[defined][:, rows, -1]
    ).ravel()
    result[:, 0] = means[:, -1] - np.vecdot(result[:, 1:], means[:, 1:-1])
    return result


def explained(sums: Float[ndarray, "r k k"], coefficients: Float[ndarray, "r c"]) -> Float[ndarray, "r 2"]:
    """Return the sums of squares of what a fit leaves, and about the sample's own mean.

    Parameters
    ----------
    sums : array of shape (r, m + 2, m + 2)
        Of the samples to predict.
    coefficients : array of shape (r, m + 1)
        As `fits` gives them, of the same or of other samples.

    Returns
    -------
    array of shape (r, 2)
        Sum of squared residuals, and total sum of squares.
    """
    full = np.concatenate([-coefficients, np.ones((len(coefficients), 1))], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = sums[:, -1, -1] - sums[:, 0, -1] ** 2 / sums[:, 0, 0]
    return np.stack([np.vecdot(np.vecmat(full, sums), full), total], axis=1)


def r_squared(sums: Float[ndarray, "r k k"]) -> Float[ndarray, "r s"]:
    """Compute R2 of every subset of predictors in every sample (Section C.2).

    Parameters
    ----------
    sums : array of shape (r, m + 2, m + 2)
        What `moments` gives.

    Returns
    -------
    array of shape (r, 2 ** m - 1)
        In the order of `subsets`; NaN in a sample whose explained distances are constant.
    """
    chosen = subsets(sums.shape[1] - 2)
    result = np.full((len(sums), len(chosen)), np.nan)
    for column, subset in enumerate(chosen):
        left, total = explained(sums, fits(sums, subset)).T
        varied = total > 1e-9 * sums[:, -1, -1]
        result[varied, column] = 1 - left[varied] / total[varied]
    return result


def held_out_r_squared(
    data: PairData, folds: int, repeats: int, rng: np.random.Generator
) -> Float[ndarray, "repeats s"]:
    """Compute R2 of every subset on pairs of stimuli that the fit has not seen.

    Stimuli are dealt to folds. A fit sees the pairs within the other folds and predicts those within its own, so that
    no stimulus stands on both sides; pairs that lie across are not used. R2 is 1 - squared errors / squared errors of
    the mean of the pairs fitted to, each summed over folds: below 0 where predictors do worse than that mean.

    Parameters
    ----------
    data : PairData
        Of n stimuli.
    folds : int
        From 2 to n / 2.
    repeats : int
        Random ways to deal.
    rng : Generator
        Deals them.

    Returns
    -------
    array of shape (repeats, 2 ** m - 1)
        In the order of `subsets`.

    Raises
    ------
    VidsimError
        If folds hold too few pairs.
    """
    n, m = len(data.known), len(data.values) - 1
    chosen = subsets(m)
    result = np.empty((repeats, len(chosen)))
    for repeat in range(repeats):
        own = np.arange(folds)[:, None] == rng.permutation(n) % folds
        train, test = moments(data, (~own).astype(np.float64)), moments(data, own.astype(np.float64))
        if train[:, 0, 0].min() < m + 3 or not test[:, 0, 0].any():
            raise VidsimError(
                f"{folds} folds of {n} stimuli leave {train[:, 0, 0].min():.0f} pairs to fit and "
                f"{test[:, 0, 0].sum():.0f} to predict; expected at least {m + 3} and 1: take another number of folds"
            )
        empty = np.zeros((folds, m + 1))
        empty[:, 0] = train[:, 0, -1] / train[:, 0, 0]
        total = explained(test, empty)[:, 0].sum()
        for column, subset in enumerate(chosen):
            result[repeat, column] = 1 - explained(test, fits(train, subset))[:, 0].sum() / total
    return result


def influence(
    data: PairData, coefficients: Float[ndarray, "s c"], r2: Float[ndarray, " s"], pairs: slice
) -> Float[ndarray, "s b"]:
    """Say how much each pair moves R2 of each fit: the derivative by the pair's weight.

    Parameters
    ----------
    data : PairData
        All pairs.
    coefficients : array of shape (s, m + 1)
        Of fits to all of them.
    r2 : array of shape (s,)
        What these fits explain.
    pairs : slice
        Which pairs, in the order of `PairData.upper`.

    Returns
    -------
    array of shape (s, b)
        Sums to 0 over all pairs.
    """
    values = data.upper[:, pairs]
    left = (values[-1] - coefficients[:, :1] - coefficients[:, 1:] @ values[:-1]) ** 2
    # the explained distances have mean square 1, so that R2 = 1 - mean square of what is left
    return ((1 - r2[:, None]) * values[-1] ** 2 - left) / data.pairs


def _refuse_collinear(names: list[str], columns: Float[ndarray, "m p"]) -> None:
    """Raise an error that names the first predictor that those before it determine."""
    correlations = columns @ columns.T / columns.shape[1]
    for number in range(1, len(names)):
        before = correlations[:number, :number]
        weights = np.linalg.pinv(before, rcond=RCOND, hermitian=True) @ correlations[:number, number]
        if 1 - weights @ correlations[:number, number] > 1e-8:
            continue
        twins = np.flatnonzero(np.abs(correlations[number, :number]) > 1 - 1e-8)
        others: Int[ndarray, " k"] = twins[:1] if len(twins) else np.flatnonzero(np.abs(weights) > 1e-6)
        listed = " and ".join(repr(names[int(other)]) for other in others)
        raise VidsimError(
            f"predictor {names[number]!r} is determined by {listed}: their shares cannot be told apart; leave one out"
        )
