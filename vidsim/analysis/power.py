"""Power: how reliable a human RSM, and how well measured an alignment, a number of trials would give."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.special import ndtri
from scipy.stats import rankdata

from vidsim.analysis.mantel import mantel_z
from vidsim.analysis.reliability import reliability
from vidsim.check import at_least
from vidsim.data.simulate import expected_rsm, planted_rsm, simulate
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, square
from vidsim.triplets import Triplets

NOISE_DIMS = 10
"""Dimensions of the geometry that keeps a simulated model from the truth."""

ONE_SIDED = 1.6449
"""Standard normal deviate of p = 0.05, one-sided."""


@dataclass(frozen=True)
class Spread:
    """Describe a quantity over simulations.

    Parameters
    ----------
    mean : float
        Mean over the simulations in which it is defined; NaN where it never is.
    low, high : float
        Their central 95 %; NaN where it is defined in fewer than two.
    """

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Aligned:
    """Say how a model of a given true alignment would fare.

    Parameters
    ----------
    true : float
        Spearman correlation of the model with the human RSM of infinitely many trials.
    measured : Spread
        That with the human RSM of this many trials, over the pairs seen.
    significant : float
        Share of simulations in which it is larger than 0, p < 0.05 one-sided by a Mantel test.
    """

    true: float
    measured: Spread
    significant: float


@dataclass(frozen=True)
class Outlook:
    """Say what a number of trials would give.

    Parameters
    ----------
    trials : int
        How many, of random triplets.
    pairs : float
        Pairs seen, mean over simulations.
    judgments_per_pair : float
        Three judgments a trial, over the pairs seen; mean over simulations.
    reliability : Spread
        Split-half over trials, Spearman-Brown; of pairs judged at least twice, so that with few trials it speaks of few
        pairs.
    perfect : Spread
        Spearman correlation of the truth itself with the human RSM: what no model can pass, other than by chance.
    alignments : tuple of Aligned
        One for each true alignment asked for.
    """

    trials: int
    pairs: float
    judgments_per_pair: float
    reliability: Spread
    perfect: Spread
    alignments: tuple[Aligned, ...]


@dataclass(frozen=True)
class Power:
    """Hold a power analysis.

    Parameters
    ----------
    stimuli : int
        How many.
    temperature, lapse : float
        Of the simulated judges.
    simulations : int
        How often each number of trials was simulated.
    outlooks : tuple of Outlook
        One for each number of trials, in increasing order.
    """

    stimuli: int
    temperature: float
    lapse: float
    simulations: int
    outlooks: tuple[Outlook, ...]


def power(
    rsm: RSM,
    *,
    trials: Sequence[int],
    temperature: float,
    lapse: float = 0.0,
    alignments: Sequence[float] = (0.3, 0.5, 0.7),
    simulations: int = 20,
    splits: int = 20,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Power:
    """Simulate judges of a known geometry, and measure what different numbers of trials show of it.

    Within a simulation a larger number of trials goes on where a smaller one ended. The judges differ by chance alone,
    not by taste; where the geometry was fitted to judgments of people who do, their differences count as chance.

    Parameters
    ----------
    rsm : RSM
        The true similarity of every pair, such as `planted_rsm` or an ordinal embedding gives; 5 stimuli or more.
    trials : sequence of int
        Numbers of trials, each 1 or more.
    temperature, lapse : float
        Of the judges, as `simulate` takes them.
    alignments : sequence of float
        True Spearman correlations of models with the human RSM of infinitely many trials, from 0 to 1.
    simulations : int
        How often to simulate, 1 or more.
    splits : int
        Halvings per reliability, 1 or more.
    seed : int
        Same seed, same result.
    progress : callable, optional
        Called with the number of simulations done and of all.

    Returns
    -------
    Power
        Means and central 95 % over simulations.

    Raises
    ------
    VidsimError
        If a similarity is missing, or an argument lies outside its range.
    """
    if not len(trials):
        raise VidsimError("trials are []: expected at least one number, each 1 or more")
    for count in trials:
        at_least(1, trials=count)
    counts = sorted(set(trials))
    at_least(1, simulations=simulations, splits=splits)
    at_least(0, seed=seed)
    if not all(0 <= a <= 1 for a in alignments):
        raise VidsimError(f"alignments are {list(alignments)}: expected correlations from 0 to 1")
    if len(rsm) < 5:
        raise VidsimError(f"{len(rsm)} stimuli are too few for a power analysis; expected at least 5")
    truth = expected_rsm(rsm, temperature=temperature, lapse=lapse)
    if np.ptp(truth.upper) == 0:
        raise VidsimError("all pairs are equally similar to these judges; lower the temperature or the lapse rate")
    # shape: simulation, number of trials; what: pairs, reliability, perfect, alignments, their z
    found = np.empty((simulations, len(counts), 3 + 2 * len(alignments)))
    for number in range(simulations):
        draw, halve, *noises = (
            int(s) for s in np.random.SeedSequence([seed, number]).generate_state(2 + len(alignments))
        )
        models = [truth, *(aligned_model(truth, a, s) for a, s in zip(alignments, noises, strict=True))]
        triplets = simulate(rsm, trials=counts[-1], temperature=temperature, lapse=lapse, seed=draw).triplets
        for column, count in enumerate(counts):
            part = triplets.select(np.arange(count))
            human = part.rsm()
            rhos, zs = np.transpose([_alignment(human, model) for model in models])
            pairs = np.count_nonzero(human.upper_counts)
            halves = _reliability(part, splits, halve)
            found[number, column] = [pairs, halves, *rhos, *zs[1:]]
        if progress:
            progress(number + 1, simulations)
    return Power(
        stimuli=len(rsm),
        temperature=temperature,
        lapse=lapse,
        simulations=simulations,
        outlooks=tuple(_outlook(count, found[:, c], alignments) for c, count in enumerate(counts)),
    )


def aligned_model(truth: RSM, alignment: float, seed: int = 0) -> RSM:
    """Make a model whose Spearman correlation with the truth is given.

    It mixes the normal scores of the truth with those of a random geometry that has nothing to do with it: as in a real
    model, errors of pairs that share a stimulus go together.

    Parameters
    ----------
    truth : RSM
        Complete similarities.
    alignment : float
        The correlation, 0 to 1.
    seed : int
        Of the random geometry.

    Returns
    -------
    RSM
        Similarities in units of a standard normal.

    Examples
    --------
    >>> from scipy.stats import spearmanr
    >>> truth = planted_rsm(30, 5)
    >>> float(spearmanr(aligned_model(truth, 0.5).upper, truth.upper).statistic.round(3))
    0.5
    """
    n = len(truth)
    ranks = rankdata(truth.upper)
    signal = _normal_scores(ranks)
    noise = _normal_scores(rankdata(planted_rsm(n, NOISE_DIMS, seed).upper))
    size = (signal**2).sum()
    noise -= signal * (signal * noise).sum() / size
    noise *= np.sqrt(size / (noise**2).sum())

    def mixed(share: float) -> Float[ndarray, " p"]:
        return share * signal + np.sqrt(1 - share**2) * noise

    low, high = -1.0, 1.0
    while high - low > 1e-4:
        share = (low + high) / 2
        low, high = (share, high) if _correlation(rankdata(mixed(share)), ranks) < alignment else (low, share)
    return RSM(tuple(truth.ids), square(mixed(high), n, 0.0))


def _alignment(human: RSM, model: RSM) -> tuple[float, float]:
    """Return the Spearman correlation over the pairs seen, and its z by a Mantel test."""
    seen = human.upper_counts > 0
    judged, predicted = human.upper[seen], rankdata(model.upper[seen])
    ranks = rankdata(judged)
    rho = _correlation(ranks, predicted)
    if np.isnan(rho):
        return rho, rho
    n = len(human)
    centred = np.zeros(len(seen))
    centred[seen] = ranks - ranks.mean()
    whole = rankdata(model.upper)
    return rho, mantel_z(square(centred, n, 0.0), square(whole - whole.mean(), n, 0.0))


def _reliability(triplets: Triplets, splits: int, seed: int) -> float:
    try:
        return reliability(triplets, splits=splits, resamples=0, seed=seed).spearman_brown
    except VidsimError:  # too few pairs were judged twice
        return float("nan")


def _outlook(trials: int, found: Float[ndarray, "s q"], alignments: Sequence[float]) -> Outlook:
    pairs, halves, perfect = found[:, :3].T
    rhos, zs = np.split(found[:, 3:], 2, axis=1)
    return Outlook(
        trials=trials,
        pairs=float(pairs.mean()),
        judgments_per_pair=float((3 * trials / pairs).mean()),
        reliability=_spread(halves),
        perfect=_spread(perfect),
        alignments=tuple(
            Aligned(float(a), _spread(rhos[:, k]), float((zs[:, k] > ONE_SIDED).mean()))
            for k, a in enumerate(alignments)
        ),
    )


def _spread(values: Float[ndarray, " s"]) -> Spread:
    known = values[~np.isnan(values)]
    if not len(known):
        return Spread(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(known, [2.5, 97.5]) if len(known) > 1 else (np.nan, np.nan)
    return Spread(float(known.mean()), float(low), float(high))


def _normal_scores(ranks: Float[ndarray, " p"]) -> Float[ndarray, " p"]:
    scores = ndtri(ranks / (len(ranks) + 1))
    return scores - scores.mean()


def _correlation(x: Float[ndarray, " p"], y: Float[ndarray, " p"]) -> float:
    x, y = x - x.mean(), y - y.mean()
    scale = (x**2).sum() * (y**2).sum()  # summed: for dot products BLAS would start threads
    return float((x * y).sum() / np.sqrt(scale)) if scale > 0 else float("nan")
