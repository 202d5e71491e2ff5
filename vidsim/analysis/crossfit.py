"""Cross-fit: ridge regressions that predict stimuli they have not seen, and what resamples make of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vidsim.analysis.predictions import Predictions, ratio
from vidsim.analysis.resampling import draw
from vidsim.analysis.ridge import fit_ridge

BLOCK = 1 << 22
"""Resamples times stimuli worked on at a time."""


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Hold what resamples need to know of one space.

    Parameters
    ----------
    deals : tuple of Predictions
        Of each way to deal the stimuli, and each set of attributes that the same stimuli are rated for.
    r : array of shape (a,)
        Pearson's r of predictions and ratings within folds, mean over ways.
    pull : array of shape (n, a)
        How much larger each r is by the part that each stimulus has in the fits; 0 where a split is held out.
    penalties : array of shape (a,)
        Geometric means over fits, in units of the mean squared length of a centred embedding.
    fitted : array of shape (a,)
        Fewest stimuli in a fit.
    """

    deals: tuple[Predictions, ...]
    r: Float[ndarray, " a"]
    pull: Float[ndarray, "n a"]
    penalties: Float[ndarray, " a"]
    fitted: Int[ndarray, " a"]


def cross_fit(
    matrix: Float[ndarray, "n k"],
    values: Float[ndarray, "n a"],
    out: Bool[ndarray, " n"],
    ways: Sequence[Int[ndarray, " n"] | None],
    folds: int,
) -> CrossFit:
    """Fit and predict in every fold of every way to deal the stimuli.

    Parameters
    ----------
    matrix : array of shape (n, k)
        Embeddings in model units.
    values : array of shape (n, a)
        Ratings; NaN where there is none. Every fold has rated stimuli of each attribute.
    out : array of shape (n,)
        Stimuli that are held out, where a way says so.
    ways : sequence of array of shape (n,) or None
        Orders of the stimuli, by which they are dealt to folds; None predicts those held out from all others.
    folds : int
        Of each order, 2 or more.

    Returns
    -------
    CrossFit
        Predictions, their correlations with ratings, and the part each stimulus has in them (`Ridge.pull`).
    """
    known = np.isfinite(values)
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    deals: list[Predictions] = []
    r, pull = np.zeros(values.shape[1]), np.zeros(values.shape)
    logs: list[list[float]] = [[] for _ in r]
    fitted = np.full(values.shape[1], len(values))
    for way in ways:
        for number, pattern in enumerate(patterns.T):
            columns = np.flatnonzero(which.ravel() == number)
            fold = np.where(out & pattern, 0, -1)
            if way is not None:  # every fold has as many rated stimuli, give or take one
                rated = way[pattern[way]]
                fold[rated] = np.arange(len(rated)) % folds
            deal = Predictions(columns, fold, np.zeros((len(fold), len(columns))), np.zeros((len(fold), len(columns))))
            moved = np.zeros((len(fold), len(columns)))
            for k in range(fold.max() + 1):
                test, train = fold == k, pattern & (fold != k)
                fit = fit_ridge(matrix[train], values[np.ix_(train, columns)])
                y, _ = _standard(values[np.ix_(test, columns)])
                p, spread = _standard(fit.predict(matrix[test]))
                slopes = np.divide(y - (p * y).mean(axis=0) * p, spread, out=np.zeros_like(y), where=spread > 0)
                if way is not None:
                    moved[train] += fit.pull(matrix[test], slopes)
                deal.predicted[test], deal.rated[test] = p, y
                fitted[columns] = np.minimum(fitted[columns], train.sum())
                for column, penalty in zip(columns, fit.penalties, strict=True):
                    logs[column].append(np.log(penalty))
            scale = np.sqrt((deal.predicted**2).sum(axis=0) * (deal.rated**2).sum(axis=0))
            r[columns] += ratio((deal.predicted * deal.rated).sum(axis=0), scale) / len(ways)
            pull[:, columns] += ratio(moved, scale) / len(ways)
            deals.append(deal)
    return CrossFit(tuple(deals), r, pull, np.exp([np.mean(values) for values in logs]), fitted)


def resample(
    fits: Sequence[CrossFit],
    tested: Bool[ndarray, " n"],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[Float[ndarray, "r s a"], Float[ndarray, "r s a"]]:
    """Draw stimuli with replacement, the same for all spaces; apart from each other those predicted and those fitted.

    Parameters
    ----------
    fits : sequence of CrossFit
        One of each of s spaces, about the same stimuli and attributes.
    tested : array of shape (n,)
        Stimuli that are predicted.
    resamples : int
        How often.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    tuple of array of shape (r, s, a)
        Pearson's r among those predicted, for the fits as they are; and how far those fitted move r, to first order.
    """
    shape = (resamples, len(fits), len(fits[0].r))
    drawn, pulled = np.zeros(shape), np.zeros(shape)
    step = max(1, BLOCK // len(tested))
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        times, others = np.zeros((2, rows.stop - rows.start, len(tested)))
        for counts in (times, others):
            counts[:, tested] = draw(int(tested.sum()), len(counts), rng)
        for space, fit in enumerate(fits):
            pulled[rows, space] = (others - tested) @ fit.pull
            ways = np.bincount(np.concatenate([deal.columns for deal in fit.deals]))
            for deal in fit.deals:
                drawn[rows, space, deal.columns] += deal.correlate(times) / ways[deal.columns]
    return drawn, pulled


def _standard(values: Float[ndarray, "m c"]) -> tuple[Float[ndarray, "m c"], Float[ndarray, " c"]]:
    """Set columns to mean 0 and standard deviation 1, and return the latter; all 0 where values do not differ."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    spread[spread <= 1e-12 * np.abs(values).max(axis=0)] = 0  # differ by rounding alone
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0), spread
