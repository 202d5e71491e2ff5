"""Differences: which models are compared, and what resamples tell of each comparison, alone and among all others."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.analysis.multiple import max_statistic
from vidsim.analysis.reliability import even_interval, percentile_interval
from vidsim.errors import VidsimError

MOST_COMPARED = 20
"""Models of which every two are compared; of more, each is compared with a named one."""

Deviations = Callable[[str, Float[ndarray, " m"]], Float[ndarray, " r"]]
"""Gives the deviations of a statistic in r resamples, for what each of m models is multiplied by before they are added,
on the scale of its uncertainty."""


@dataclass(frozen=True)
class Difference:
    """Hold how two models differ in one statistic, on the same resamples.

    Parameters
    ----------
    first, second : str
        The models.
    statistic : str
        In what.
    difference : float
        First less second.
    interval : tuple of float
        Its 95 % bootstrap interval.
    p_value : float
        Of the difference against 0, two-sided, from the resamples.
    p_corrected : float
        The same, corrected for all comparisons in this statistic (max-statistic).
    """

    first: str
    second: str
    statistic: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_corrected: float


@dataclass(frozen=True)
class Estimate:
    """Hold what resamples tell of one statistic, alone and among others; all but its value is NaN without them.

    Parameters
    ----------
    value : float
        The statistic, 0 under its null hypothesis where it is tested.
    interval : tuple of float
        Its 95 % interval.
    p_value : float
        Against 0, two-sided.
    p_corrected : float
        The same, corrected for the number of statistics (max-statistic).
    interval_corrected : tuple of float
        Interval that holds all of them together with 95 % confidence.
    """

    value: float
    interval: tuple[float, float]
    p_value: float
    p_corrected: float
    interval_corrected: tuple[float, float]


def check_against(against: str | None, models: Collection[str]) -> None:
    """Refuse to compare with a model that there is not.

    Parameters
    ----------
    against : str, optional
        Its name.
    models : collection of str
        Those there are.

    Raises
    ------
    VidsimError
        If it is none of them.
    """
    if against is not None and against not in models:
        raise VidsimError(f"no model {against!r} to compare with; there are: {', '.join(models)}")


def compared_pairs(names: Sequence[str], values: Float[ndarray, " m"], against: str | None) -> list[tuple[int, int]]:
    """Say which models are compared, the better one first, so that no difference is below 0.

    Parameters
    ----------
    names : sequence of str
        The m models.
    values : array of shape (m,)
        What the better is better in.
    against : str, optional
        A model that all others are compared with, and come before. By default every two are compared, if they are
        `MOST_COMPARED` at most.

    Returns
    -------
    list of tuple of int
        Numbers of the models of each pair.

    Examples
    --------
    >>> names, values = ["a", "b", "c"], np.array([0.1, 0.5, 0.3])
    >>> compared_pairs(names, values, None), compared_pairs(names, values, "b")
    ([(1, 2), (1, 0), (2, 0)], [(2, 1), (0, 1)])
    """
    order = sorted(range(len(names)), key=lambda number: -values[number])
    if against is not None:
        return [(number, names.index(against)) for number in order if names[number] != against]
    return list(combinations(order, 2)) if len(names) <= MOST_COMPARED else []


def estimates(
    statistic: str,
    values: Float[ndarray, " c"],
    contrasts: Float[ndarray, "c m"],
    deviations: Deviations | None,
    *,
    tested: bool = False,
) -> list[Estimate]:
    """Lay intervals about contrasts of models, and test each against 0, alone and corrected for their number.

    Parameters
    ----------
    statistic : str
        In what.
    values : array of shape (c,)
        Values of the contrasts.
    contrasts : array of shape (c, m)
        What each model's value is multiplied by before they are added.
    deviations : callable, optional
        Of the statistic in resamples.
    tested : bool
        Lay intervals evenly about the values, as the test against 0 does, so that the two never disagree. Percentiles
        would where resamples are skewed: models that differ in a trial or two do not differ in most resamples.

    Returns
    -------
    list of Estimate
        One each.
    """
    scatter = np.empty((0, len(values)))
    if deviations is not None and len(contrasts):
        scatter = np.stack([deviations(statistic, contrast) for contrast in contrasts], axis=1)
    together = max_statistic(values, scatter)
    found: list[Estimate] = []
    for k, value in enumerate(values.tolist()):
        alone = max_statistic(values[[k]], scatter[:, [k]])
        low, high = even_interval(scatter[:, k]) if tested else percentile_interval(scatter[:, k])
        first, last = together.intervals[k].tolist()
        p_values = float(alone.p_values[0]), float(together.p_values[k])
        found.append(Estimate(value, (value + low, value + high), *p_values, (first, last)))
    return found


def compare(
    pairs: Sequence[tuple[int, int]], values: Mapping[str, Float[ndarray, " m"]], deviations: Deviations | None
) -> Iterator[tuple[str, tuple[int, int], Estimate]]:
    """Compare pairs of models in several statistics; the comparisons in one are corrected for their number.

    Parameters
    ----------
    pairs : sequence of tuple of int
        Numbers of the models.
    values : mapping of str to array of shape (m,)
        Of each model, by statistic.
    deviations : callable, optional
        Of the statistics in resamples.

    Yields
    ------
    tuple
        Statistic, pair, and first less second.
    """
    if not pairs:
        return
    for statistic, column in values.items():
        unit = np.eye(len(column))
        contrasts = np.stack([unit[first] - unit[second] for first, second in pairs])
        differences = estimates(statistic, contrasts @ column, contrasts, deviations, tested=True)
        for pair, difference in zip(pairs, differences, strict=True):
            yield statistic, pair, difference
