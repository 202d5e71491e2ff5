"""Intervals for means over trials, such as accuracies, by bootstrap over the stimuli."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import stdtrit

from vidsim.analysis.sharing import Sharing

CHUNK = 1 << 21
"""Weights of trials at a time, so that memory stays bounded."""


def trial_interval(
    values: Float[ndarray, " t"], rows: Int[ndarray, "t 3"], *, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Give a 95 % interval for a mean over trials by bootstrap over stimuli.

    In a resample a trial counts as often as its three stimuli were drawn together: the product of their counts. That
    multiplies the noise of single trials by about seven, as a trial drawn eight times carries its noise eight times.
    The deviations of the resamples from their mean are therefore scaled to the variance of the mean, as `Sharing` finds
    it, widened by Student's t over the normal for n / 2 degrees of freedom, and laid about the mean: as
    `vidsim.analysis.alignment.align` does for differences between models, with the same numbers.

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

    Returns
    -------
    tuple of float
        Low and high end; NaN without trials or with fewer than two resamples.

    Examples
    --------
    >>> from itertools import combinations
    >>> rows = np.array(list(combinations(range(8), 3)))
    >>> low, high = trial_interval((rows.sum(axis=1) % 2).astype(float), rows)
    >>> low < 0.5 < high
    True
    """
    if not len(values):
        return float("nan"), float("nan")
    present, flat = np.unique(rows, return_inverse=True)
    rows, n = flat.reshape(rows.shape), len(present)
    value = float(values.mean())
    means = _resampled(values - value, rows, n, resamples, seed)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        return float("nan"), float("nan")
    drawn = float(means.var(ddof=1))
    variance = Sharing.of(rows, n).variance((values - value) / len(values))
    scale = np.sqrt(variance / drawn) if drawn > 0 else 0.0
    scale *= stdtrit(n / 2, 0.975) / stdtrit(np.inf, 0.975)
    low, high = value + scale * (np.percentile(means, [2.5, 97.5]) - means.mean())
    return float(low), float(high)


def _resampled(
    deviations: Float[ndarray, " t"], rows: Int[ndarray, "t 3"], n: int, resamples: int, seed: int
) -> Float[ndarray, " r"]:
    """Compute the mean in resamples of the stimuli; NaN where no trial is left."""
    stream = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])  # that of `Scatter`
    drawn = stream.multinomial(n, np.full(n, 1 / n), size=resamples).T.astype(np.float64)
    step = max(1, CHUNK // len(rows))
    means = np.full(resamples, np.nan)
    for start in range(0, resamples, step):
        part = drawn[:, start : start + step]
        weights = part[rows[:, 0]]
        weights *= part[rows[:, 1]]
        weights *= part[rows[:, 2]]
        total = weights.sum(axis=0)
        np.divide(deviations @ weights, total, out=means[start : start + step], where=total > 0)
    return means
