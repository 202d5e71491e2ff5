"""Alignment: how closely the similarities of models match people's."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.columns import RankedColumns, resample
from vidsim.analysis.correlation import codes_of, rho_a, spearman
from vidsim.analysis.odd_one_out import credits
from vidsim.analysis.reliability import percentile_interval
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets

LEAST = 4
"""Stimuli below which nothing is said."""


@dataclass(frozen=True)
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
    interval : tuple of float
        95 % percentile interval of rho by bootstrap over stimuli.
    pairs : int
        Judged pairs.
    accuracies : mapping of str to float
        Odd-one-out accuracies, as `Credits.accuracies` names them.
    """

    rho: float
    rho2: float
    rho_a: float
    interval: tuple[float, float]
    pairs: int
    accuracies: Mapping[str, float]


def align(
    human: RSM, triplets: Triplets, models: Mapping[str, RSM], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Alignment]:
    """Compare models with people on the same pairs, trials and resamples of stimuli.

    Parameters
    ----------
    human : RSM
        People's similarities; NaN where a pair was never judged.
    triplets : Triplets
        Trials over the same stimuli.
    models : mapping of str to RSM
        Each holds all these stimuli.
    resamples : int
        Bootstrap resamples of the stimuli; pairs of a stimulus with itself are dropped. 0 leaves intervals NaN.
    seed : int
        Of the resamples.

    Returns
    -------
    dict of str to Alignment
        One per model.

    Raises
    ------
    VidsimError
        If there are fewer than four stimuli or two judged pairs, people's or a model's similarities are all equal, or a
        model lacks a stimulus.
    """
    n = len(human)
    if n < LEAST:
        raise VidsimError(f"{n} stimuli are too few to compare with people; expected at least {LEAST}")
    i, j = np.triu_indices(n, 1)
    judged = ~np.isnan(human.upper)
    i, j, people = i[judged], j[judged], human.upper[judged]
    if len(people) < 2 or people.min() == people.max():
        raise VidsimError(f"{len(people)} judged pairs, which do not differ: nothing can be correlated with them")
    values = [_values(name, rsm, human, judged) for name, rsm in models.items()]
    scatter = _bootstrap(np.stack(values), people, i, j, n, resamples, seed) if models else np.empty((0, 0))
    found: dict[str, Alignment] = {}
    for number, (name, rsm) in enumerate(models.items()):
        rho = spearman(values[number], people)
        interval = percentile_interval(scatter[:, number])
        accuracies = credits(rsm, triplets).accuracies()
        found[name] = Alignment(rho, rho**2, rho_a(values[number], people), interval, len(people), accuracies)
    return found


def _values(name: str, rsm: RSM, human: RSM, judged: ndarray) -> Float[ndarray, " p"]:
    lacking = [stimulus for stimulus in human.ids if stimulus not in rsm.position]
    if lacking:
        raise VidsimError(
            f"{name!r} lacks {len(lacking)} of {len(human)} judged stimuli, the first is {lacking[0]!r}; "
            "extract them first"
        )
    values = rsm.take(human.ids).upper[judged].astype(np.float64)
    if np.isnan(values).any():
        raise VidsimError(f"{name!r} has no similarity for {int(np.isnan(values).sum())} of {len(values)} judged pairs")
    if values.min() == values.max():
        raise VidsimError(f"all similarities of {name!r} are equal: its embeddings are constant; choose another layer")
    return values


def _bootstrap(
    values: Float[ndarray, "m p"],
    people: Float[ndarray, " p"],
    i: Int[ndarray, " p"],
    j: Int[ndarray, " p"],
    n: int,
    resamples: int,
    seed: int,
) -> Float[ndarray, "r m"]:
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    codes = codes_of(people)
    columns = RankedColumns.of(values)
    return resample(columns, resamples, lambda part: (drawn[part][:, i] * drawn[part][:, j], codes)).spearman
