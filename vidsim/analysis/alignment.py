"""Alignment: how closely the similarities of models match people's, and how models differ in that."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.correlation import rho_a, spearman
from vidsim.analysis.mcnemar import mcnemar
from vidsim.analysis.multiple import max_statistic
from vidsim.analysis.odd_one_out import CHANCE
from vidsim.analysis.reliability import percentile_interval
from vidsim.analysis.sample import Sample
from vidsim.analysis.scatter import OVER, Scatter
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets

MOST_COMPARED = 20
"""Models of which every two are compared; of more, each is compared with a named one."""

COMPARED = ("rho", "three_way", "two_way", "two_way_first")
"""Statistics in which models are compared."""


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
class Difference:
    """Hold how two models differ in one statistic, on the same resamples.

    Parameters
    ----------
    first, second : str
        The models.
    statistic : str
        One of `COMPARED`.
    difference : float
        First less second.
    interval : tuple of float
        Its 95 % interval.
    p_value : float
        Of the difference against 0, two-sided, from the resamples.
    p_corrected : float
        The same, corrected for all comparisons in this statistic (max-statistic).
    interval_corrected : tuple of float
        Interval that holds all these differences together with 95 % confidence.
    mcnemar : float
        McNemar's exact p-value, where single trials are right or wrong (ties count as wrong); NaN elsewhere. It takes
        trials as independent.
    """

    first: str
    second: str
    statistic: str
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_corrected: float
    interval_corrected: tuple[float, float]
    mcnemar: float


@dataclass(frozen=True, eq=False)
class Alignments:
    """Hold how closely several models match people.

    Parameters
    ----------
    models : mapping of str to Alignment
        One per model.
    differences : tuple of Difference
        Differences between models, for each statistic of `COMPARED`.
    """

    models: Mapping[str, Alignment]
    differences: tuple[Difference, ...]


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
        A model that all others are compared with. By default every two are compared, if they are `MOST_COMPARED` at
        most.
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
        model lacks a stimulus, or participants are to be resampled and unknown.
    """
    if over not in OVER:
        raise VidsimError(f"no way to resample {over!r}: expected 'stimuli', 'participants' or 'both'")
    if against is not None and against not in models:
        raise VidsimError(f"no model {against!r} to compare with; there are: {', '.join(models)}")
    sample = Sample.of(triplets, models, context, participants)
    names = list(models)
    values = _values(sample)
    scatter = Scatter(sample, over, resamples, seed) if resamples and names else None
    single = np.eye(len(names))
    deviations = {name: _deviations(scatter, name, single, resamples) for name in values}
    together = max_statistic(values["rho"], deviations["rho"])
    found: dict[str, Alignment] = {}
    for number, name in enumerate(names):
        rho = float(values["rho"][number])
        own = {
            statistic: _interval(values[statistic][number], scattered[:, number])
            for statistic, scattered in deviations.items()
        }
        own["rho2"] = _squared(own["rho"])
        found[name] = Alignment(
            rho,
            rho**2,
            float(values["rho_a"][number]),
            len(sample.pairs),
            {statistic: float(values[statistic][number]) for statistic in CHANCE},
            own,
            float(max_statistic(values["rho"][[number]], deviations["rho"][:, [number]]).p_values[0]),
            float(together.p_values[number]),
            _ends(together.intervals[number]),
        )
    return Alignments(found, _compare(names, values, sample, scatter, against, resamples))


def _compare(
    names: list[str],
    values: dict[str, Float[ndarray, " m"]],
    sample: Sample,
    scatter: Scatter | None,
    against: str | None,
    resamples: int,
) -> tuple[Difference, ...]:
    number = {name: k for k, name in enumerate(names)}
    names = sorted(names, key=lambda name: -values["rho"][number[name]])  # so that differences in rho are not below 0
    if against is not None:
        pairs = [(name, against) for name in names if name != against]
    else:
        pairs = list(combinations(names, 2)) if len(names) <= MOST_COMPARED else []
    if not pairs:
        return ()
    contrasts = np.zeros((len(pairs), len(names)))
    for row, (first, second) in enumerate(pairs):
        contrasts[row, number[first]], contrasts[row, number[second]] = 1, -1
    found: list[Difference] = []
    for statistic in COMPARED:
        differences = contrasts @ values[statistic]
        deviations = _deviations(scatter, statistic, contrasts, resamples)
        together = max_statistic(differences, deviations)
        right = sample.credits[statistic] == 1 if statistic in {"three_way", "two_way_first"} else None
        for row, (first, second) in enumerate(pairs):
            uneven = float("nan")
            if right is not None:
                a, b = right[number[first]], right[number[second]]
                uneven = mcnemar(int((a & ~b).sum()), int((~a & b).sum()))
            found.append(
                Difference(
                    first,
                    second,
                    statistic,
                    float(differences[row]),
                    _interval(differences[row], deviations[:, row]),
                    float(max_statistic(differences[[row]], deviations[:, [row]]).p_values[0]),
                    float(together.p_values[row]),
                    _ends(together.intervals[row]),
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


def _deviations(
    scatter: Scatter | None, statistic: str, contrasts: Float[ndarray, "c m"], resamples: int
) -> Float[ndarray, "r c"]:
    if scatter is None:
        return np.full((resamples, len(contrasts)), np.nan)
    return np.stack([scatter.deviations(statistic, contrast) for contrast in contrasts], axis=1)


def _interval(value: float, deviations: Float[ndarray, " r"]) -> tuple[float, float]:
    low, high = percentile_interval(deviations)
    return float(value + low), float(value + high)


def _squared(interval: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of the square; from 0 where the sign is open."""
    low, high = interval
    squares = low**2, high**2
    return (0.0 if low < 0 < high else min(squares)), max(squares)


def _ends(interval: Float[ndarray, " 2"]) -> tuple[float, float]:
    return float(interval[0]), float(interval[1])
