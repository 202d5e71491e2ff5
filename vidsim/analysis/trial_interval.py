"""Intervals for means over trials, such as accuracies, by bootstrap over the stimuli."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.reliability import even_interval, percentile_interval
from vidsim.analysis.resampling import draw, scaled, stimulus_freedom, trial_means, widening
from vidsim.analysis.sharing import Sharing
from vidsim.check import at_least


def trial_interval(
    values: Float[ndarray, " t"], rows: Int[ndarray, "t 3"], *, resamples: int = 1000, seed: int = 0, even: bool = False
) -> tuple[float, float]:
    """Give a 95 % interval for a mean over trials by bootstrap over stimuli.

    In a resample a trial counts as often as its three stimuli were drawn together: the product of their counts. That
    multiplies the noise of single trials by about seven, as a trial drawn eight times carries its noise eight times.
    The deviations of the resamples from their mean are therefore scaled to the variance of the mean, as `Sharing` finds
    it, widened by Student's t over the normal for n / 2 degrees of freedom, and laid about the mean: as
    `vidsim.analysis.alignment.align` does for differences between models, with the same numbers where it is ``even``.

    Parameters
    ----------
    values : array of shape (t,)
        One value a trial, such as the credit of one model less that of another.
    rows : array of shape (t, 3)
        Positions of the three stimuli of each trial.
    resamples : int
        Bootstrap resamples of the n stimuli that occur in the trials.
    seed : int
        Of the resamples.
    even : bool
        Lay the interval evenly about the mean, for differences: see `vidsim.analysis.differences.estimates`.

    Returns
    -------
    tuple of float
        Low and high end; NaN without trials or with fewer than two resamples.

    Raises
    ------
    VidsimError
        If there are fewer than no resamples, or the seed is below 0.

    Examples
    --------
    >>> from itertools import combinations
    >>> rows = np.array(list(combinations(range(8), 3)))
    >>> low, high = trial_interval((rows.sum(axis=1) % 2).astype(float), rows)
    >>> low < 0.5 < high
    True
    """
    return trial_intervals(values[None], rows, resamples=resamples, seed=seed, even=even)[0]


def trial_intervals(
    values: Float[ndarray, "k t"],
    rows: Int[ndarray, "t 3"],
    *,
    resamples: int = 1000,
    seed: int = 0,
    even: bool = False,
) -> list[tuple[float, float]]:
    """Give what `trial_interval` gives for several means over the same trials, resampling once.

    Parameters
    ----------
    values : array of shape (k, t)
        Of each mean, one value a trial.
    rows : array of shape (t, 3)
        Positions of the three stimuli of each trial.
    resamples : int
        Bootstrap resamples of the n stimuli that occur in the trials.
    seed : int
        Of the resamples.
    even : bool
        Lay the interval evenly about the mean, for differences: see `vidsim.analysis.differences.estimates`.

    Returns
    -------
    list of tuple of float
        Low and high end for each; NaN without trials or with fewer than two resamples.

    Raises
    ------
    VidsimError
        If there are fewer than no resamples, or the seed is below 0.
    """
    at_least(0, resamples=resamples, seed=seed)
    unknown = float("nan"), float("nan")
    if not len(rows):
        return [unknown] * len(values)
    present, flat = np.unique(rows, return_inverse=True)
    rows, n = flat.reshape(rows.shape), len(present)
    stream = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])  # that of `Scatter`
    means = trial_means(values, rows, draw(n, resamples, stream)).T
    sharing, found = Sharing.of(rows, n), [unknown] * len(values)
    for k, (row, own) in enumerate(zip(values, means, strict=True)):
        if np.isfinite(own).sum() > 1:
            value = float(row.mean())
            variance = sharing.variance((row - value) / len(row))
            moved = widening(stimulus_freedom(n)) * scaled(own, variance)
            low, high = even_interval(moved) if even else percentile_interval(moved)
            found[k] = value + low, value + high
    return found
