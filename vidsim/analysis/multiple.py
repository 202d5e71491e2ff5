"""Multiple comparisons: many statistics from the same resamples, judged together by their largest deviation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Simultaneous:
    """Hold what can be said of several statistics at once (Westfall and Young 1993, single step).

    Parameters
    ----------
    p_values : array of shape (s,)
        Chance that the largest of all standardized deviations is as large as this statistic's own, two-sided; never
        below 1 / (resamples + 1). NaN where a statistic or its scatter is unknown.
    intervals : array of shape (s, 2)
        Intervals that hold all statistics together with 95 % confidence; NaN likewise.
    """

    p_values: Float[ndarray, " s"]
    intervals: Float[ndarray, "s 2"]


def max_statistic(values: Float[ndarray, " s"], deviations: Float[ndarray, "r s"]) -> Simultaneous:
    """Correct several statistics for their number by the distribution of the largest (max-statistic).

    Each statistic is divided by the standard deviation of its deviations, so that none dominates by its unit. As all
    come from the same resamples, what they have in common costs nothing: ten copies of one statistic are corrected like
    one.

    Parameters
    ----------
    values : array of shape (s,)
        Statistics that are 0 under their null hypotheses, such as differences.
    deviations : array of shape (r, s)
        Of the statistics in r resamples about their mean, on the statistics' scale of uncertainty. Resamples with a NaN
        are left out.

    Returns
    -------
    Simultaneous
        Corrected p-values and intervals; NaN for fewer than two resamples.

    Examples
    --------
    >>> deviations = np.random.default_rng(0).normal(size=(999, 3))
    >>> max_statistic(np.array([0.0, 1.0, 9.0]), deviations - deviations.mean(axis=0)).p_values.round(2)
    array([1.  , 0.67, 0.  ])
    """
    known = np.isfinite(values) & (np.isfinite(deviations).sum(axis=0) > 1)
    p_values, intervals = np.full(len(values), np.nan), np.full((len(values), 2), np.nan)
    part = deviations[:, known]
    part = part[np.isfinite(part).all(axis=1)]
    if len(part) > 1 and known.any():
        spread = part.std(axis=0, ddof=1)
        scaled = np.divide(np.abs(part), spread, out=np.zeros_like(part), where=spread > 0)
        largest = np.sort(scaled.max(axis=1))
        # a statistic that does not vary at all is beyond doubt wherever it is not 0
        own = np.abs(values[known])
        standard = np.divide(own, spread, out=np.where(own > 0, np.inf, 0.0), where=spread > 0)
        as_large = len(largest) - np.searchsorted(largest, standard)
        p_values[known] = (1 + as_large) / (1 + len(largest))
        reach = np.percentile(largest, 95) * spread
        intervals[known] = np.stack([values[known] - reach, values[known] + reach], axis=1)
    return Simultaneous(p_values, intervals)
