"""A pilot: the geometry and the temperature that judgments already there point to, for planning more of them."""

from dataclasses import dataclass

import numpy as np

from vidsim.analysis.ordinal import fit
from vidsim.analysis.reliability import reliability
from vidsim.data.simulate import simulate
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets

L2 = 2.0
"""Penalty of the fit; what it takes from the similarities, the temperature gives back."""

COLDEST, HOTTEST = 0.05, 20.0
REPEATS, SPLITS = 3, 40
"""Simulations per temperature, and halvings of each."""


@dataclass(frozen=True, eq=False)
class Pilot:
    """Hold what a pilot points to.

    Parameters
    ----------
    rsm : RSM
        Similarities of the judged stimuli, from an ordinal embedding.
    temperature : float
        At which simulated judges are as reliable as the pilot's. It stands for lapses and for differences between people
        too.
    reliability : float
        The pilot's, split-half over trials, Spearman-Brown; NaN where it cannot be computed.
    matched : bool
        Whether a temperature could be matched; where not, it is 1, that of the embedding, and too pessimistic.
    """

    rsm: RSM
    temperature: float
    reliability: float
    matched: bool


def pilot(triplets: Triplets, dims: int, *, seed: int = 0) -> Pilot:
    """Fit an ordinal embedding to judgments, and judges to their reliability.

    The embedding alone would make judges who are too noisy: a penalised fit to few trials keeps similarities small. So
    trials are simulated from it, as many as there are, at the temperature where their split-half reliability is that
    of the judgments.

    Parameters
    ----------
    triplets : Triplets
        Judgments of the pilot.
    dims : int
        Dimensions of the embedding, 1 or more.
    seed : int
        Same seed, same result.

    Returns
    -------
    Pilot
        What `power` takes.

    Raises
    ------
    VidsimError
        If there is no trial, or `dims` is too small.
    """
    rsm = fit(triplets, dims, l2=L2, seed=seed).rsm
    measured = _reliability(triplets, seed)
    if not 0 < measured < 1:
        return Pilot(rsm, 1.0, measured, matched=False)

    def too_reliable(log_temperature: float) -> bool:
        simulated = [
            _reliability(simulate(rsm, trials=len(triplets), temperature=np.exp(log_temperature), seed=s).triplets, s)
            for s in range(seed, seed + REPEATS)
        ]
        return bool(np.mean(simulated) > measured)

    low, high = np.log(COLDEST), np.log(HOTTEST)
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if too_reliable(middle) else (low, middle)
    return Pilot(rsm, float(np.exp((low + high) / 2)), measured, matched=True)


def _reliability(triplets: Triplets, seed: int) -> float:
    try:
        return reliability(triplets, splits=SPLITS, resamples=0, seed=seed).spearman_brown
    except VidsimError:  # too few pairs were judged twice
        return float("nan")
