"""Alignment: how closely the similarities of models match people's, and how models differ in that."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.correlation import rho_a, spearman
from vidsim.analysis.differences import Deviations, Difference, check_against, compare, compared_pairs, estimates
from vidsim.analysis.mcnemar import mcnemar
from vidsim.analysis.odd_one_out import CHANCE
from vidsim.analysis.sample import Sample
from vidsim.analysis.scatter import OVER, Scatter
from vidsim.check import at_least, one_of
from vidsim.rsm import RSM
from vidsim.triplets import Triplets

COMPARED = ("rho", "three_way", "two_way", "two_way_first")
"""Statistics in which models are compared."""

LEGAL: Mapping[str, tuple[float, float]] = {"rho": (-1.0, 1.0), "rho_a": (-1.0, 1.0)}
"""Values that statistics can take; accuracies from 0 to 1."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Hold how closely one model matches people.

    Parameters
    ----------
    rho : float
        Spearman's rho over the judged pairs.
    rho2 : float
        Its square, the paper's "explained variance"; to be compared with the reliability r_SB.
    rho_a : float
        Rho-a, which does not favour ties.
    pairs : int
        Judged pairs.
    accuracies : mapping of str to float
        Odd-one-out accuracies, as `Credits.accuracies` names them.
    intervals : mapping of str to tuple of float
        95 % bootstrap interval of rho, rho2, rho_a and each accuracy; NaN without resamples.
    p_value : float
        Of rho against 0, two-sided, from the same resamples.
    p_corrected : float
        The same, corrected for the number of models (max-statistic).
    interval_corrected : tuple of float
        Interval of rho that holds those of all models together with 95 % confidence.
    """

    rho: float
    rho2: float
    rho_a: float
    pairs: int
    accuracies: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    p_value: float
    p_corrected: float
    interval_corrected: tuple[float, float]


@dataclass(frozen=True)
class AlignmentDifference(Difference):
    """Hold how two models differ in one statistic of `COMPARED`.

    Parameters
    ----------
    interval_corrected : tuple of float
        Interval that holds all these differences together with 95 % confidence.
    mcnemar : float
        McNemar's exact p-value, where single trials are right or wrong (ties count as wrong); NaN elsewhere. It takes
        trials as independent.
    """

    interval_corrected: tuple[float, float]
    mcnemar: float


@dataclass(frozen=True, eq=False)
class Alignments:
    """Hold how closely several models match people.

    Parameters
    ----------
    models : mapping of str to Alignment
        One per model.
    differences : tuple of AlignmentDifference
        Differences between models, for each statistic of `COMPARED`.
    """

    models: Mapping[str, Alignment]
    differences: tuple[AlignmentDifference, ...]


def align(
    triplets: Triplets,
    models: Mapping[str, RSM],
    *,
    context: str = "split",
    over: str = "stimuli",
    participants: Int[ndarray, " u"] | None = None,
    against: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Alignments:
    """Compare models with people on the same pairs, trials and resamples.

    Intervals are bootstrap deviations of a statistic, laid about it and scaled as `Scatter` describes. On simulated
    judges (500 studies of 50 stimuli) those over stimuli cover the truth in 93 to 97 of 100 studies; plain percentile
    intervals of the same resamples are a third too wide.

    Parameters
    ----------
    triplets : Triplets
        Judged trials.
    models : mapping of str to RSM
        Each holds all these stimuli.
    context : {"split", "any"}
        Whether trials whose third stimulus lies outside count for the similarity of the pair inside. Accuracies are of
        whole trials.
    over : {"stimuli", "participants", "both"}
        What is resampled: intervals say what would be with other stimuli, other people (and other judgments of theirs),
        or both other.
    participants : array of shape (t,) or (t + m,), optional
        The number of each trial's participant; for ``context="any"`` those of ``triplets.outside`` follow
        (`vidsim.analysis.reliability.restrict_people` gives both).
    against : str, optional
        A model that all others are compared with. By default every two are compared, if they are
        `vidsim.analysis.differences.MOST_COMPARED` at most.
    resamples : int
        Bootstrap resamples; 0 leaves intervals and their p-values NaN.
    seed : int
        Of the resamples.

    Returns
    -------
    Alignments
        Of all models.

    Raises
    ------
    VidsimError
        If there are fewer than four stimuli or two judged pairs, people's or a model's similarities are all equal, a
        model lacks a stimulus, participants are to be resampled and unknown, or a number is out of range.
    """
    at_least(0, resamples=resamples, seed=seed)
    one_of("way to resample", over, OVER)
    check_against(against, models)
    sample = Sample.of(triplets, models, context, participants)
    names = list(models)
    values = _values(sample)
    deviations = Scatter(sample, over, resamples, seed).deviations if resamples and names else None
    single = np.eye(len(names))
    tests = {name: estimates(name, column, single, deviations) for name, column in values.items()}
    found: dict[str, Alignment] = {}
    for number, name in enumerate(names):
        rho = tests["rho"][number]
        own = {statistic: _within(statistic, each[number].interval) for statistic, each in tests.items()}
        own["rho2"] = _squared(own["rho"])
        found[name] = Alignment(
            rho.value,
            rho.value**2,
            tests["rho_a"][number].value,
            len(sample.pairs),
            {statistic: tests[statistic][number].value for statistic in CHANCE},
            own,
            rho.p_value,
            rho.p_corrected,
            _within("rho", rho.interval_corrected),
        )
    pairs = compared_pairs(names, values["rho"], against)
    return Alignments(found, _compare(names, pairs, values, sample, deviations))


def _compare(
    names: list[str],
    pairs: list[tuple[int, int]],
    values: dict[str, Float[ndarray, " m"]],
    sample: Sample,
    deviations: Deviations | None,
) -> tuple[AlignmentDifference, ...]:
    found: list[AlignmentDifference] = []
    for statistic, (first, second), own in compare(pairs, {name: values[name] for name in COMPARED}, deviations):
        uneven = float("nan")
        if statistic in {"three_way", "two_way_first"}:
            a, b = sample.credits[statistic][[first, second]] == 1
            uneven = mcnemar(int((a & ~b).sum()), int((~a & b).sum()))
        found.append(
            AlignmentDifference(
                names[first],
                names[second],
                statistic,
                own.value,
                _within(statistic, own.interval, difference=True),
                own.p_value,
                own.p_corrected,
                _within(statistic, own.interval_corrected, difference=True),
                uneven,
            )
        )
    return tuple(found)


def _values(sample: Sample) -> dict[str, Float[ndarray, " m"]]:
    people = sample.together / sample.shown
    means = {
        name: credit.mean(axis=1) if credit.shape[1] else np.full(len(credit), np.nan)
        for name, credit in sample.credits.items()
    }
    return {
        "rho": np.array([spearman(row, people) for row in sample.values]),
        "rho_a": np.array([rho_a(row, people) for row in sample.values]),
        **means,
    }


def _within(statistic: str, interval: tuple[float, float], *, difference: bool = False) -> tuple[float, float]:
    """Cut an interval off where the statistic, or the difference of two, cannot be: few stimuli make it wide."""
    low, high = LEGAL.get(statistic, (0.0, 1.0))
    first, last = np.clip(interval, low - high if difference else low, high - low if difference else high)
    return float(first), float(last)


def _squared(interval: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of the square; from 0 where the sign is open."""
    low, high = interval
    squares = low**2, high**2
    return (0.0 if low < 0 < high else min(squares)), max(squares)
