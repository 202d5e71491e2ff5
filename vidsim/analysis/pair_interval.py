"""Intervals for statistics of pairs, such as R2 of distances, by bootstrap over the stimuli."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from vidsim.analysis.resampling import widening


def pair_intervals(
    values: Float[ndarray, " s"],
    resampled: Float[ndarray, "r s"],
    noise: Float[ndarray, " s"],
    known: Bool[ndarray, "n n"],
) -> list[tuple[float, float]]:
    """Give 95 % intervals for statistics of pairs by bootstrap over stimuli.

    In a resample a pair counts as often as both of its stimuli were drawn together, and pairs of a stimulus with itself
    are dropped. That multiplies the noise of single judgments by about three, as a pair drawn four times carries its
    noise four times. The deviations of the resamples from their mean are therefore scaled to the variance of the
    statistic, as `pair_variance` finds it, widened by Student's t over the normal for n - 1 stimuli, and laid about the
    statistic itself.

    Parameters
    ----------
    values : array of shape (s,)
        The statistics.
    resampled : array of shape (r, s)
        In resamples of the n stimuli; resamples with a NaN are left out.
    noise : array of shape (s,)
        Sum over pairs of squared influences, the derivatives of a statistic by the weights of pairs.
    known : array of shape (n, n)
        Which pairs count; symmetric, False on the diagonal.

    Returns
    -------
    list of tuple of float
        Low and high end for each statistic; NaN for fewer than two resamples.
    """
    resampled = resampled[np.all(np.isfinite(resampled), axis=1)]
    if len(resampled) < 2:
        return [(float("nan"), float("nan"))] * len(values)
    drawn = resampled.var(axis=0, ddof=1)
    scale = np.sqrt(np.divide(pair_variance(drawn, noise, known), drawn, out=np.zeros_like(drawn), where=drawn > 0))
    scale *= widening(float(len(known) - 1))
    low, high = values + scale * (np.percentile(resampled, [2.5, 97.5], axis=0) - resampled.mean(axis=0))
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def pair_variance(
    drawn: Float[ndarray, " s"], noise: Float[ndarray, " s"], known: Bool[ndarray, "n n"]
) -> Float[ndarray, " s"]:
    """Turn the variance of statistics of pairs over resamples of stimuli into their sampling variance.

    A statistic is about a sum of influences of its p pairs. Its variance is that of single pairs, plus the covariance
    of pairs that share a stimulus. Resamples multiply both by how the weights of pairs, products of multinomial counts,
    vary together. And influences taken about their own mean are too small by the variance of that mean.

    Parameters
    ----------
    drawn : array of shape (s,)
        Variance over resamples.
    noise : array of shape (s,)
        Sum over pairs of squared influences.
    known : array of shape (n, n)
        Which pairs count, n at least 4; symmetric, False on the diagonal.

    Returns
    -------
    array of shape (s,)
        Variances, 0 or more.
    """
    n = len(known)
    degrees = known.sum(axis=1)
    p = degrees.sum() / 2
    two, three, four = np.cumprod([1 - k / n for k in range(1, 4)])  # mean products of different draws
    # mean product of the weights of a pair with itself, with one that shares a stimulus, and with one that does not
    same, touching, apart = four + 2 * three + two, four + three, four
    covariance = (two**2 * drawn - (same - apart) * noise) / (touching - apart)
    share = 1 / p + (degrees * (degrees - 1)).sum() / p**2  # of pairs of pairs, those that vary together
    return np.maximum(noise + covariance, 0) / max(1 - share, 1 / n)
