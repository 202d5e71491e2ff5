"""Evaluation: what a training run reports about its adapters beside baselines and people, on validation stimuli."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from vidsim.adapt.scores import METRICS, scores
from vidsim.analysis.alignment import align
from vidsim.analysis.differences import check_against
from vidsim.analysis.reliability import reliability
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

UNKNOWN = (float("nan"), float("nan"))
"""Interval that is not known."""


@dataclass(frozen=True)
class Measured:
    """Hold how closely one model matches people.

    Parameters
    ----------
    scores : mapping of str to float
        As `vidsim.adapt.scores.scores` gives them.
    intervals : mapping of str to tuple of float
        95 % bootstrap interval over stimuli of each metric; NaN where it is not known.
    differences : mapping of str to tuple of float
        Difference to the base, low and high end of its 95 % interval on the same resamples; none of the base itself.
    """

    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    differences: Mapping[str, tuple[float, float, float]] = field(default_factory=dict[str, tuple[float, float, float]])


@dataclass(frozen=True)
class Ceiling:
    """Hold how reliable people's similarities of the validation stimuli are.

    Parameters
    ----------
    spearman_brown : float
        Split-half reliability r_SB, what rho squared is to be compared with: at most 1, and below -1 where halves
        disagree widely; NaN where it is not known.
    interval : tuple of float
        Its 95 % interval by bootstrap over stimuli, as `vidsim.analysis.reliability.reliability` gives it.
    """

    spearman_brown: float
    interval: tuple[float, float]

    @property
    def rho(self) -> float:
        """Return the rho that is expected of a perfect model, sqrt(r_SB); NaN where r_SB is negative or unknown."""
        return self.spearman_brown**0.5 if self.spearman_brown >= 0 else float("nan")

    @property
    def rho_interval(self) -> tuple[float, float]:
        """Return its interval; ends below 0 are 0."""
        low, high = (max(end, 0.0) ** 0.5 if end == end else end for end in self.interval)
        return low, high


@dataclass(frozen=True)
class Evaluation:
    """Hold what a run reports.

    Parameters
    ----------
    models : mapping of str to Measured
        Baselines and adapters, by name.
    base : str
        Name of that which differences are from.
    ceiling : Ceiling
        Of people.
    stimuli, pairs, trials : int
        What scores are of.
    seeds : mapping of str to tuple of float
        Mean of each metric over several seeds and the ends of its 95 % interval; empty for one seed.
    """

    models: Mapping[str, Measured]
    base: str
    ceiling: Ceiling
    stimuli: int
    pairs: int
    trials: int
    seeds: Mapping[str, tuple[float, float, float]]


def evaluate(
    validation: Triplets,
    models: Mapping[str, Embeddings],
    base: str,
    *,
    runs: Sequence[str] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Compare models with people on validation stimuli (METHODS, section 3).

    Parameters
    ----------
    validation : Triplets
        Trials among them.
    models : mapping of str to Embeddings
        Baselines and adapters.
    base : str
        Name of the base among them.
    runs : sequence of str
        Names of those that differ in their seed alone.
    resamples : int
        Bootstrap resamples over stimuli, the same for all models.
    seed : int
        Of resamples and halves.

    Returns
    -------
    Evaluation
        Intervals are NaN where there are too few stimuli, or the embeddings of a model are not finite or all alike;
        there are no differences to such a base.

    Raises
    ------
    VidsimError
        If the base is none of the models, or a model lacks a stimulus.
    """
    check_against(base, models)
    human = validation.rsm()
    found = {name: scores(embeddings, validation, human) for name, embeddings in models.items()}
    correlated = {name: one for name, one in models.items() if np.isfinite(found[name]["rho"])}
    intervals: dict[str, Mapping[str, tuple[float, float]]] = {}
    differences: dict[str, dict[str, tuple[float, float, float]]] = {}
    try:
        aligned = align(
            validation,
            {name: cosine_rsm(one.take(validation.ids)) for name, one in correlated.items()},
            against=base if base in correlated else None,
            resamples=resamples,
            seed=seed,
        )
    except VidsimError:  # too few stimuli to resample
        pass
    else:
        intervals = {name: one.intervals for name, one in aligned.models.items()}
        for one in aligned.differences if base in correlated else ():
            differences.setdefault(one.first, {})[one.statistic] = (one.difference, *one.interval)
    measured = {
        name: Measured(
            own,
            {metric: intervals.get(name, {}).get(metric, UNKNOWN) for metric in METRICS},
            differences.get(name, {}),
        )
        for name, own in found.items()
    }
    of = found[base]
    return Evaluation(
        measured,
        base,
        ceiling_of(validation, resamples, seed),
        len(validation.ids),
        int(of["pairs"]),
        int(of["trials"]),
        over_seeds([found[name] for name in runs]),
    )


def over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float, float]]:
    """Average scores over seeds, with Student's interval of the mean.

    Parameters
    ----------
    runs : sequence of mapping
        Scores of each seed.

    Returns
    -------
    dict of str to tuple of float
        Mean, and low and high end of the 95 % interval of the mean over all seeds there are, on the same stimuli. One
        more seed scatters about it sqrt(n + 1) times as widely. Empty for fewer than two seeds.

    Examples
    --------
    >>> mean, low, high = over_seeds([{"rho": r} for r in (0.1, 0.2, 0.3)])["rho"]
    >>> round(mean, 3), round(low, 3), round(high, 3)
    (0.2, -0.048, 0.448)
    """
    n = len(runs)
    if n < 2:
        return {}
    found: dict[str, tuple[float, float, float]] = {}
    for metric in (name for name in METRICS if name in runs[0]):
        values = np.array([run[metric] for run in runs])
        mean = float(values.mean())
        half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
        least = -1.0 if metric == "rho" else 0.0
        found[metric] = (mean, float(np.maximum(mean - half, least)), float(np.minimum(mean + half, 1.0)))
    return found


def kept_row(curve: Sequence[Mapping[str, Any]], select: str | None) -> Mapping[str, Any]:
    """Find the epoch that a run has kept.

    Parameters
    ----------
    curve : sequence of mapping
        What was measured after each epoch, from 0 on.
    select : str or None
        The metric that chose it.

    Returns
    -------
    mapping
        The first of those with the best score; without validation the last.

    Examples
    --------
    >>> kept_row([{"epoch": 0, "rho": 0.1}, {"epoch": 1, "rho": 0.3}, {"epoch": 2, "rho": None}], "rho")["epoch"]
    1
    """
    if select is None or select not in curve[0]:
        return curve[-1]
    return max(curve, key=lambda row: (row[select] is not None, row[select] or 0.0, -row["epoch"]))


def drawable(curve: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a run has measured anything that can be drawn: a loss or a score.

    Parameters
    ----------
    curve : sequence of mapping
        What was measured after each epoch.

    Returns
    -------
    bool
        False where a transform was fitted and nothing held out.
    """
    return any(row["losses"] or any(row.get(name) is not None for name in METRICS) for row in curve)


def ceiling_of(validation: Triplets, resamples: int = 0, seed: int = 0) -> Ceiling:
    """Estimate how reliable people's similarities are, and so how far a model can get.

    Parameters
    ----------
    validation : Triplets
        Trials among the validation stimuli.
    resamples : int
        For the interval; 0 leaves it NaN.
    seed : int
        Of halves and resamples.

    Returns
    -------
    Ceiling
        NaN where too few pairs were judged twice.
    """
    try:
        found = reliability(validation, resamples=resamples, seed=seed)
    except VidsimError:  # too few pairs were judged twice
        return Ceiling(float("nan"), UNKNOWN)
    return Ceiling(found.spearman_brown, found.interval)
