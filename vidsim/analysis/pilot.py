"""A pilot: the geometry and the temperature that judgments already there point to, for planning more of them."""

from dataclasses import dataclass

import numpy as np

from vidsim.analysis.ordinal import fit
from vidsim.analysis.reliability import reliability
from vidsim.data.simulate import simulate
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets

L2 = (2.0, 0.5)
"""Penalties of the fit; the second where the first leaves nothing. What they take, the temperature gives back."""

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
        At which simulated judges are as reliable as the pilot's; lapses and differences between people are in it.
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
        If trials are too few, or `dims` is too small.
    """
    fitted = [fit(triplets, dims, l2=l2, seed=seed).rsm for l2 in L2]
    known = [rsm for rsm in fitted if rsm.upper.std() > 1e-3]
    if not known:
        raise VidsimError(
            f"{len(triplets):,} trials of {len(triplets.ids):,} stimuli are too few to plan from: they show nothing of "
            "the geometry; plan with a random one, or judge more"
        )
    measured = _reliability(triplets, seed)
    able = [rsm for rsm in known if 0 < measured < 1 and _simulated(rsm, len(triplets), COLDEST, seed) > measured]
    if not able:
        return Pilot(known[0], 1.0, measured, matched=False)
    rsm = able[0]
    low, high = np.log(COLDEST), np.log(HOTTEST)
    while high - low > 0.01:
        middle = (low + high) / 2
        too_reliable = _simulated(rsm, len(triplets), float(np.exp(middle)), seed) > measured
        low, high = (middle, high) if too_reliable else (low, middle)
    return Pilot(rsm, float(np.exp((low + high) / 2)), measured, matched=True)


def _simulated(rsm: RSM, trials: int, temperature: float, seed: int) -> float:
    """Return the mean reliability of simulated judges, by the same chances at every temperature."""
    seeds = range(seed, seed + REPEATS)
    draws = (simulate(rsm, trials=trials, temperature=temperature, seed=s) for s in seeds)
    return float(np.mean([_reliability(judgments.triplets, seed) for judgments in draws]))


def _reliability(triplets: Triplets, seed: int) -> float:
    try:
        return reliability(triplets, splits=SPLITS, resamples=0, seed=seed).spearman_brown
    except VidsimError:  # too few pairs were judged twice
        return float("nan")
