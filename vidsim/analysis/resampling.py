"""Resampling: means over trials in resamples of the stimuli, and deviations on the scale of their uncertainty."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import stdtrit

CHUNK = 1 << 21
"""Weights of trials at a time, so that memory stays bounded."""


def draw(items: int, resamples: int, rng: np.random.Generator) -> Float[ndarray, "r n"]:
    """Draw items with replacement, as many as there are: how often each is drawn in each resample."""
    return rng.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)


def trial_means(
    values: Float[ndarray, "k t"], rows: Int[ndarray, "t 3"], drawn: Float[ndarray, "r n"]
) -> Float[ndarray, "r k"]:
    """Compute means over trials in resamples of the stimuli.

    A trial counts as often as its three stimuli were drawn together: the product of their counts.

    Parameters
    ----------
    values : array of shape (k, t)
        Values of the trials.
    rows : array of shape (t, 3)
        Positions of the stimuli of each trial.
    drawn : array of shape (r, n)
        How often each stimulus is drawn.

    Returns
    -------
    array of shape (r, k)
        NaN where no trial is left.
    """
    means = np.full((len(drawn), len(values)), np.nan)
    step = max(1, CHUNK // max(1, len(rows)))
    for start in range(0, len(drawn), step):
        part = drawn[start : start + step].T
        weights = part[rows[:, 0]] * part[rows[:, 1]] * part[rows[:, 2]]
        total = weights.sum(axis=0)[:, None]
        np.divide(weights.T @ values.T, total, out=means[start : start + step], where=total > 0)
    return means


def scaled(deviations: Float[ndarray, " r"], variance: float) -> Float[ndarray, " r"]:
    """Lay a statistic's values in resamples about 0, with another variance.

    Parameters
    ----------
    deviations : array of shape (r,)
        Values in resamples; NaN where there is none.
    variance : float
        That is wanted, 0 or more.

    Returns
    -------
    array of shape (r,)
        With mean 0 and that variance, over those known; 0 where they do not differ.
    """
    known = deviations[np.isfinite(deviations)]
    drawn = float(known.var(ddof=1)) if len(known) > 1 else 0.0
    if not drawn > 0:
        return np.where(np.isfinite(deviations), 0.0, np.nan)
    return (deviations - known.mean()) * np.sqrt(variance / drawn)


def widening(freedom: float) -> float:
    """Compute how much wider Student's t is than the normal, at 95 %.

    Parameters
    ----------
    freedom : float
        Degrees of freedom, more than 0.

    Returns
    -------
    float
        Their ratio, at least 1.

    Examples
    --------
    >>> round(widening(10.0), 3), round(widening(float("inf")), 3)
    (1.137, 1.0)
    """
    return float(stdtrit(freedom, 0.975) / stdtrit(np.inf, 0.975))


def stimulus_freedom(stimuli: int) -> float:
    """Say how many degrees of freedom a variance over stimuli has.

    Parameters
    ----------
    stimuli : int
        How many.

    Returns
    -------
    float
        Half as many: in simulations it scatters as that of so many independent values (2 / cv squared).
    """
    return stimuli / 2
