"""Calibration: the temperature at which similarities predict people's choices best, and how far it can be trusted."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from scipy.optimize import brentq

from vidsim.analysis.choice import LEAST, MOST, odd_probabilities
from vidsim.analysis.trial_interval import trial_interval, trial_intervals
from vidsim.check import at_least
from vidsim.errors import VidsimError


class Resampling(TypedDict):
    """How intervals are made."""

    resamples: int
    seed: int


CHANCE = float(np.log(3))
"""Negative log-likelihood of a trial where all three are equally likely, in nats."""

FOLDS = 6
"""Of the stimuli. A trial lies in three of them at most, so there is always a half of the folds that it is not in."""

LEAST_TRIALS = 10
"""Of each half of the folds, to fit a temperature to."""

DEALS = 100
"""Ways to deal the stimuli that are tried, until each half of the folds holds enough trials."""

BINS = 15
"""Most bins of a reliability curve: as many as Guo et al. (2017), "On calibration of modern neural networks", use."""

BIN_TRIALS = 20
"""Fewest trials of a bin, where there is more than one."""

ROUNDING = 1e-3
"""How far from 1 the sum of three probabilities may be, as in half precision."""


@dataclass(frozen=True)
class Bin:
    """Hold a point of a reliability curve: trials in which the predicted odd one was about equally likely.

    Parameters
    ----------
    confidence : float
        Mean probability of the predicted odd one, 1/3 to 1.
    right : float
        Share of trials in which it is people's.
    interval : tuple of float
        95 % interval of ``right`` by bootstrap over stimuli, within 0 to 1; NaN without resamples.
    trials : int
        How many.
    """

    confidence: float
    right: float
    interval: tuple[float, float]
    trials: int


@dataclass(frozen=True)
class Score:
    """Hold how well probabilities predict people's choices.

    Parameters
    ----------
    nll : float
        Mean negative log-likelihood a trial, in nats; that of chance is ln 3.
    nll_interval : tuple of float
        95 % interval by bootstrap over stimuli; NaN without resamples.
    ece : float
        Expected calibration error, 0 to 1 (Guo et al. 2017, Eq. 3): how far confidence and share of right predictions
        lie apart, mean over bins that hold as many trials each.
    ece_interval : tuple of float
        95 % interval by bootstrap over stimuli, for the bins and the signs of their gaps as they are; not below 0.
    ece_noise : float
        What perfect probabilities would have for an error: that of the shares of so many trials.
    curve : tuple of Bin
        The bins, least sure first.
    """

    nll: float
    nll_interval: tuple[float, float]
    ece: float
    ece_interval: tuple[float, float]
    ece_noise: float
    curve: tuple[Bin, ...]


@dataclass(frozen=True)
class Calibrated:
    """Hold a temperature and what it achieves on stimuli that it was not fitted to.

    Parameters
    ----------
    temperature : float
        Fitted to all trials, in the unit of the similarities.
    interval : tuple of float
        Its 95 % interval by bootstrap over stimuli; NaN without resamples, infinite where all is compatible with
        chance.
    held_out : tuple of float
        Lowest and highest temperature fitted to half of the stimuli.
    stimuli, trials : int
        How many.
    accuracy : float
        Share of trials in which the predicted odd one is people's; ties share. No temperature changes it.
    accuracy_interval : tuple of float
        95 % interval by bootstrap over stimuli.
    calibrated, uncalibrated : Score
        Of held-out temperatures, and of temperature 1.
    gain : float
        Negative log-likelihood of temperature 1 less that of held-out temperatures: above 0 where these are better.
    gain_interval : tuple of float
        95 % interval by bootstrap over stimuli.
    """

    temperature: float
    interval: tuple[float, float]
    held_out: tuple[float, float]
    stimuli: int
    trials: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    calibrated: Score
    uncalibrated: Score
    gain: float
    gain_interval: tuple[float, float]


def fit_temperature(similarities: Float[ndarray, "t 3"], odd: Int[ndarray, " t"]) -> float:
    """Find the temperature at which people's choices are most likely (Guo et al. 2017, section 4.2).

    The negative log-likelihood is convex in 1 / temperature, so there is one minimum, where the similarity of the pair
    that stayed together is on average what `odd_probabilities` expects it to be.

    Parameters
    ----------
    similarities : array of shape (t, 3)
        Of the pairs (a, b), (a, c) and (b, c) of each trial, one trial at least; finite.
    odd : array of shape (t,)
        Which of a, b, c was chosen: 0, 1 or 2.

    Returns
    -------
    float
        Within the legal temperatures: their highest where similarities do not predict choices at all, their lowest
        where they predict every one.

    Raises
    ------
    VidsimError
        If there is no trial, a similarity is not finite, a choice is not 0, 1 or 2, or there are not as many of both.

    Examples
    --------
    >>> similarities = np.array([[0.9, 0.1, 0.1], [0.9, 0.1, 0.1], [0.9, 0.1, 0.1]])
    >>> fitted = fit_temperature(similarities, np.array([2, 2, 0]))
    >>> round(fitted, 4), round(float(0.8 / np.log(4)), 4)
    (0.5771, 0.5771)
    """
    if not len(odd):
        raise VidsimError("there is no trial to fit a temperature to; expected at least one")
    _check_trials(odd, similarities=similarities)
    if not np.isfinite(similarities).all():
        raise VidsimError("a similarity is not finite; expected numbers, such as cosines")
    pairs = similarities.T.astype(np.float64)
    pairs -= pairs[2 - odd, np.arange(len(odd))]  # less that of the pair that stayed together

    def surplus(log: float) -> float:
        """Return by how much similarities are expected to be higher than they are; falls with the temperature."""
        weights = np.exp((pairs - pairs.max(axis=0)) * np.exp(-log))
        return float(((weights * pairs).sum(axis=0) / weights.sum(axis=0)).mean())

    low, high = np.log(LEAST), np.log(MOST)
    if surplus(high) >= 0:
        return MOST
    if surplus(low) <= 0:
        return LEAST
    root: Any = brentq(surplus, low, high, xtol=1e-12)
    return float(np.exp(root))


def calibrate(
    similarities: Float[ndarray, "t 3"],
    rows: Int[ndarray, "t 3"],
    odd: Int[ndarray, " t"],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Calibrated:
    """Fit a temperature, and measure on stimuli that were not fitted to what it achieves.

    Stimuli are dealt to six folds, and a temperature is fitted to each of the 20 halves of the folds, with the trials
    wholly within; they are dealt anew, up to 100 times, where a half would hold fewer than 10. Every trial is then
    predicted at the (geometric) mean temperature of the halves that hold none of its stimuli: at least one, as it has
    three.

    Parameters
    ----------
    similarities : array of shape (t, 3)
        Of the pairs (a, b), (a, c) and (b, c) of each trial; finite.
    rows : array of shape (t, 3)
        Positions of the stimuli a, b, c of each trial.
    odd : array of shape (t,)
        Which of a, b, c was chosen: 0, 1 or 2.
    resamples : int
        Bootstrap resamples of the stimuli; below 2 the intervals are NaN.
    seed : int
        Of the folds and resamples.

    Returns
    -------
    Calibrated
        The temperature fitted to all trials, and scores beside those of temperature 1.

    Raises
    ------
    VidsimError
        If a half of the folds holds too few trials however they are dealt, a similarity is not finite, a choice is not
        0, 1 or 2, there are not as many similarities, rows and choices, a number is below 0, or similarities predict
        choices no better than chance.
    """
    at_least(0, resamples=resamples, seed=seed)
    _check_trials(odd, similarities=similarities, rows=rows)
    names, flat = np.unique(rows, return_inverse=True)
    rows, n = flat.reshape(rows.shape), len(names)
    inside, outside = _halves(rows, n, seed)
    temperature = fit_temperature(similarities, odd)
    if temperature == MOST:
        raise VidsimError(
            "similarities predict choices no better than chance: people choose as often against them, and no "
            "temperature mends that; choose another encoder or layer"
        )
    logs = np.log([fit_temperature(similarities[half], odd[half]) for half in inside])
    own = np.exp(logs @ outside / outside.sum(axis=0))  # of each trial
    fitted = odd_probabilities(similarities.astype(np.float64) / own[:, None], 1.0)
    plain = odd_probabilities(similarities.astype(np.float64), 1.0)
    how: Resampling = {"resamples": resamples, "seed": seed}
    right = _right(fitted, odd)[1]
    gains = _losses(plain, odd) - _losses(fitted, odd)
    pulls = _pulls(temperature, similarities, odd)
    pulled, accurate, gained = trial_intervals(np.stack([pulls, right, gains]), rows, **how)
    low, high = (1 / temperature + end for end in pulled)
    return Calibrated(
        temperature=temperature,
        interval=(1 / high, float("inf") if low <= 0 else 1 / low),
        held_out=(float(np.exp(logs.min())), float(np.exp(logs.max()))),
        stimuli=n,
        trials=len(rows),
        accuracy=float(right.mean()),
        accuracy_interval=_within(accurate),
        calibrated=score(fitted, rows, odd, **how),
        uncalibrated=score(plain, rows, odd, **how),
        gain=float(gains.mean()),
        gain_interval=gained,
    )


def score(
    probabilities: Float[ndarray, "t 3"],
    rows: Int[ndarray, "t 3"],
    odd: Int[ndarray, " t"],
    *,
    bins: int = BINS,
    resamples: int = 1000,
    seed: int = 0,
) -> Score:
    """Measure how well probabilities predict people's choices.

    Bins hold as many trials each (Nixon et al. 2019, "Measuring calibration in deep learning"); equal confidences stay
    in one.

    Parameters
    ----------
    probabilities : array of shape (t, 3)
        Of each stimulus of each trial to be the odd one; one trial at least.
    rows : array of shape (t, 3)
        Positions of the stimuli.
    odd : array of shape (t,)
        Which of the three was chosen: 0, 1 or 2.
    bins : int
        Most bins, from 1; fewer where that would leave less than 20 trials in one.
    resamples : int
        Bootstrap resamples of the stimuli; below 2 the intervals are NaN.
    seed : int
        Of the resamples.

    Returns
    -------
    Score
        Likelihood and calibration error.

    Raises
    ------
    VidsimError
        If there is no trial, probabilities are negative or do not sum to 1, a choice is not 0, 1 or 2, there are not as
        many probabilities, rows and choices, or a number is out of range.

    Examples
    --------
    >>> rows = np.array(list(combinations(range(6), 3)))
    >>> found = score(np.tile([0.5, 0.3, 0.2], (20, 1)), rows, np.repeat([0, 1], 10), resamples=0)
    >>> round(found.nll, 4), found.ece, [(point.confidence, point.right) for point in found.curve]
    (0.9486, 0.0, [(0.5, 0.5)])
    """
    at_least(1, bins=bins)
    at_least(0, resamples=resamples, seed=seed)
    _check_probabilities(probabilities, rows, odd)
    how: Resampling = {"resamples": resamples, "seed": seed}
    losses = _losses(probabilities, odd)
    confidence, right = _right(probabilities, odd)
    gaps, variance = right - confidence, confidence * (1 - confidence)
    curve: list[Bin] = []
    signed, noise = np.empty_like(gaps), 0.0
    for part in _bins(confidence, bins):
        gap = gaps[part].sum()
        signed[part] = gaps[part] * (1 if gap >= 0 else -1)
        noise += float(np.sqrt(2 / np.pi * variance[part].sum())) / len(gaps)
        ends = _within(trial_interval(right[part], rows[part], **how))
        curve.append(Bin(float(confidence[part].mean()), float(right[part].mean()), ends, len(part)))
    lost, wrong = trial_intervals(np.stack([losses, signed]), rows, **how)
    return Score(
        nll=float(losses.mean()),
        nll_interval=lost,
        ece=float(signed.mean()),
        ece_interval=_within(wrong),
        ece_noise=noise,
        curve=tuple(curve),
    )


def _check_trials(odd: Int[ndarray, "..."], **triples: Shaped[ndarray, "..."]) -> None:
    """Refuse choices that are none of three, and what has not three values for each."""
    for name, given in {"odd": odd, "rows": triples.get("rows", odd)}.items():
        if given.dtype.kind not in "iu":
            raise VidsimError(f"{name} holds {given.dtype}; expected whole numbers")
    for name, given in triples.items():
        if given.shape != (*odd.shape[:1], 3) or odd.ndim != 1:
            raise VidsimError(
                f"{name} of shape {given.shape} for choices of shape {odd.shape}; expected three a choice"
            )
    wrong = odd[(odd < 0) | (odd > 2)]
    if len(wrong):
        raise VidsimError(f"a choice is {wrong[0]}; expected 0, 1 or 2: which of the three was the odd one")


def _check_probabilities(
    probabilities: Float[ndarray, "..."], rows: Int[ndarray, "..."], odd: Int[ndarray, "..."]
) -> None:
    _check_trials(odd, probabilities=probabilities, rows=rows)
    if not len(odd):
        raise VidsimError("there is no trial to score; expected at least one")
    proper = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1) < ROUNDING)
    if not proper.all():
        first = int(np.argmin(proper))
        raise VidsimError(
            f"probabilities {probabilities[first].tolist()} of trial {first}: expected three of 0 or more that sum to 1"
        )


def _halves(rows: Int[ndarray, "t 3"], stimuli: int, seed: int) -> tuple[ndarray, ndarray]:
    """Deal stimuli to folds until every half of these holds enough trials; see `_sides`."""
    rng = np.random.default_rng(seed)
    most = 0
    for _ in range(DEALS):
        inside, outside = _sides(rows, rng.permutation(stimuli) % FOLDS)
        fewest = int(inside.sum(axis=1).min())
        if fewest >= LEAST_TRIALS:
            return inside, outside
        most = max(most, fewest)
    raise VidsimError(
        f"{len(rows)} trials of {stimuli} stimuli are too few to calibrate: in each of {DEALS} ways to halve the "
        f"stimuli a half has {most} trials within or fewer, expected at least {LEAST_TRIALS}; collect more judgments"
    )


def _sides(rows: Int[ndarray, "t 3"], fold: Int[ndarray, " n"]) -> tuple[ndarray, ndarray]:
    """Say for every half of the folds which trials lie wholly within, and which wholly out."""
    touched = np.bitwise_or.reduce(1 << fold[rows], axis=1)
    halves = [sum(1 << k for k in half) for half in combinations(range(FOLDS), FOLDS // 2)]
    everything = (1 << FOLDS) - 1
    inside = np.stack([(touched & (everything - half)) == 0 for half in halves])
    outside = np.stack([(touched & half) == 0 for half in halves])
    return inside, outside


def _pulls(temperature: float, similarities: Float[ndarray, "t 3"], odd: Int[ndarray, " t"]) -> Float[ndarray, " t"]:
    """Compute how far each trial pulls 1 / temperature; NaN where every choice is certain."""
    pairs = similarities.astype(np.float64)
    weights = odd_probabilities(pairs, temperature)[:, ::-1]
    expected = (weights * pairs).sum(axis=1)
    curvature = float(((weights * pairs**2).sum(axis=1) - expected**2).mean())
    return (pairs[np.arange(len(odd)), 2 - odd] - expected) / (curvature if curvature > 0 else np.nan)


def _losses(probabilities: Float[ndarray, "t 3"], odd: Int[ndarray, " t"]) -> Float[ndarray, " t"]:
    chosen = probabilities[np.arange(len(odd)), odd]
    return -np.log(np.maximum(chosen, np.finfo(chosen.dtype).tiny))


def _right(
    probabilities: Float[ndarray, "t 3"], odd: Int[ndarray, " t"]
) -> tuple[Float[ndarray, " t"], Float[ndarray, " t"]]:
    """Return the probability of the predicted odd one, and whether it is people's; where k tie, 1/k."""
    confidence = probabilities.max(axis=1)
    first = probabilities == confidence[:, None]
    return confidence, first[np.arange(len(odd)), odd] / first.sum(axis=1)


def _bins(confidence: Float[ndarray, " t"], most: int) -> list[Int[ndarray, " m"]]:
    """Number the trials of each bin, none of which is empty."""
    count = max(1, min(most, len(confidence) // BIN_TRIALS))
    ordered = np.sort(confidence)
    edges = np.unique(ordered[[len(ordered) * k // count for k in range(1, count)]])
    number = np.searchsorted(edges, confidence, side="right")
    parts = [np.flatnonzero(number == k) for k in range(len(edges) + 1)]
    return [part for part in parts if len(part)]


def _within(interval: tuple[float, float]) -> tuple[float, float]:
    """Keep an interval of a share within 0 to 1."""
    low, high = (float(np.clip(end, 0, 1)) for end in interval)
    return low, high
