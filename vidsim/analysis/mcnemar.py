"""McNemar's test: of two models that judge the same trials, whether one agrees with people more often."""

from scipy.special import bdtr


def mcnemar(towards: int, away: int) -> float:
    """Compute McNemar's exact p-value (McNemar 1947), two-sided, by the binomial distribution with chance 1/2.

    Only trials on which exactly one of the two models agrees with people count. The test takes trials as independent;
    trials that share a stimulus are not, so `vidsim.analysis.trial_interval.trial_interval` should stand beside it.

    Parameters
    ----------
    towards : int
        Trials on which only the second model agrees with people, 0 or more.
    away : int
        Trials on which only the first does, 0 or more.

    Returns
    -------
    float
        Chance of counts at least as uneven, 0 to 1; 1 where there is no such trial.

    Examples
    --------
    >>> round(mcnemar(9, 1), 6)
    0.021484
    """
    # the distribution is symmetric, so the two tails are alike
    return min(1.0, 2 * float(bdtr(min(towards, away), towards + away, 0.5)))
