"""Active choice: the next triplets to judge, where a model is least certain and pairs are judged least."""

import heapq
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis import choice
from vidsim.analysis.halves import pair_positions
from vidsim.check import at_least
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets, pair_index

FITTED_ON = 200_000
"""Trials on which a temperature is fitted; a random choice of more."""

POOL = 200_000
"""Candidates that a batch is chosen from; all triplets where there are no more."""


def odd_probabilities(rsm: RSM, rows: Int[ndarray, "t 3"], temperature: float) -> Float[ndarray, "t 3"]:
    """Predict which of three stimuli is chosen as odd, as `vidsim.analysis.choice.odd_probabilities` does.

    Similarities may be unknown, and any temperature above 0 is legal.

    Parameters
    ----------
    rsm : RSM
        Similarities; where one of a triplet's is NaN, the three probabilities are equal.
    rows : array of shape (t, 3)
        Positions of stimuli.
    temperature : float
        Above 0, in the units of the similarities; infinity makes all choices equally likely.

    Returns
    -------
    array of shape (t, 3)
        Probability of each stimulus, in the order of the row.

    Raises
    ------
    VidsimError
        If the temperature is not above 0.

    Examples
    --------
    >>> rsm = RSM(("a", "b", "c"), np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]]))
    >>> odd_probabilities(rsm, np.array([[0, 1, 2]]), temperature=0.1).round(3)
    array([[0.001, 0.   , 0.999]])
    """
    if not temperature > 0:
        raise VidsimError(f"temperature {temperature}: expected a number above 0")
    a, b, c = rows.T
    s = rsm.similarities
    scaled = np.stack([s[a, b], s[a, c], s[b, c]], axis=1).astype(np.float64) / temperature
    scaled[np.isnan(scaled).any(axis=1)] = 0
    return choice.odd_probabilities(scaled, 1.0)


def uncertainty_of(probabilities: Float[ndarray, "t 3"]) -> Float[ndarray, " t"]:
    """Compute the entropy of three probabilities as a share of the most there can be, ln 3: from 0 to 1.

    Parameters
    ----------
    probabilities : array of shape (t, 3)
        Each row sums to 1.

    Returns
    -------
    array of shape (t,)
        1 where all three are equally likely, 0 where one is certain.

    Examples
    --------
    >>> uncertainty_of(np.array([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3]])).round(6)
    array([0., 1.])
    """
    return choice.entropy(probabilities) / np.log(3)


def fit_temperature(rsm: RSM, triplets: Triplets, *, seed: int = 0) -> float:
    """Fit the temperature of `odd_probabilities` to judged trials by maximum likelihood.

    Parameters
    ----------
    rsm : RSM
        Similarities.
    triplets : Triplets
        Judged trials; those with stimuli that the matrix lacks, or with an unknown similarity, are left out, and of
        more than `FITTED_ON` a random choice is used.
    seed : int
        Of that choice.

    Returns
    -------
    float
        Infinity where the similarities predict the trials no better than chance. Without a trial, one standard
        deviation of the similarities (1 if they are all equal): choices between pairs that differ by a typical amount
        are then neither certain nor left to chance.

    Raises
    ------
    VidsimError
        If the seed is below 0.

    Examples
    --------
    >>> rsm = RSM(("a", "b", "c"), np.array([[1, 0.5, 0.0], [0.5, 1, 0.0], [0.0, 0.0, 1]]))
    >>> trials = Triplets(rsm.ids, np.array([[0, 1, 2], [0, 1, 2], [0, 2, 1], [1, 2, 0]]))
    >>> round(fit_temperature(rsm, trials), 3)  # at odds of 2 to 1
    0.721
    """
    from scipy.optimize import minimize_scalar

    at_least(0, seed=seed)
    upper = rsm.upper
    spread = float(np.nanstd(upper)) if not np.isnan(upper).all() else 0.0
    unit = spread if spread > 0 else 1.0
    rows = _within(rsm, triplets)
    if len(rows) > FITTED_ON:
        rows = rows[np.random.default_rng(seed).choice(len(rows), FITTED_ON, replace=False)]
    a, b, odd = rows.T
    s = rsm.similarities
    others = np.stack([s[a, b], s[a, odd], s[b, odd]], axis=1).astype(np.float64)  # what was chosen comes first
    others = others[~np.isnan(others).any(axis=1)]
    others = (others - others[:, :1]) / unit
    if not len(others):
        return unit

    def surprise(sharpness: float) -> float:
        scaled = others * sharpness
        top = scaled.max(axis=1)
        return float((top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))).mean())

    # convex in 1 / temperature; beyond 1,000 every choice is certain
    fit: Any = minimize_scalar(surprise, bounds=(0, 1000), method="bounded", options={"xatol": 1e-6})
    best = float(fit.x)
    return unit / best if best > 1e-3 and surprise(best) < np.log(3) else float("inf")


def next_triplets(
    rsm: RSM,
    judged: Triplets,
    n: int,
    *,
    temperature: float | None = None,
    uncertainty_weight: float = 0.25,
    pool: int = POOL,
    seed: int = 0,
) -> Int[ndarray, "n 3"]:
    """Choose the next batch of triplets to judge.

    A candidate's worth is ``w * entropy + (1 - w) * thinness``. Entropy is that of the predicted choice (0 to 1).
    Thinness is the mean over its three pairs of 1 / (1 + judgments), 1 where none was judged. The best is chosen, the
    judgments of its pairs go up by one, and so on: a batch spreads over pairs. No triplet was judged before, and none
    comes twice, in any order.

    Uncertain triplets have three pairs alike, and a pair shown in them alone stays together in about 1/3 of trials
    whatever its similarity. A human RSM, which is a matter of counts, gains nothing from them; an embedding fitted to
    the trials does, when it is fitted anew before each batch. Simulated, 360 trials in six batches on 40 stimuli of
    four dimensions recovered the truth with rho (counts; embedding) of 0.59; 0.86 at random, 0.66; 0.89 with w = 0,
    0.62; 0.91 with w = 0.25, and 0.48; 0.89 with w = 1. Use 0 to fill a human RSM.

    Candidates are all triplets where there are at most ``pool``. Otherwise half are drawn at random, and half are a
    pair among those judged least with a third stimulus at random.

    Parameters
    ----------
    rsm : RSM
        Similarities by a model of the stimuli to choose from.
    judged : Triplets
        What was judged; stimuli are matched by id, and trials with only two of the stimuli count for that pair.
    n : int
        Size of the batch, 1 or more.
    temperature : float, optional
        Of `odd_probabilities`; fitted to the judged trials (`fit_temperature`) by default.
    uncertainty_weight : float
        w, from 0 (coverage alone) to 1 (uncertainty alone).
    pool : int
        Most candidates, at least n.
    seed : int
        Of the candidates, and of the choice between equals.

    Returns
    -------
    array of shape (n, 3)
        Positions in ``rsm.ids``, in the order chosen; the order within a triplet is random.

    Raises
    ------
    VidsimError
        If an argument is out of range, or fewer than n triplets are left to judge.

    Examples
    --------
    >>> rsm = RSM(("a", "b", "c", "d"), np.eye(4))
    >>> judged = Triplets(("a", "b", "c"), np.array([[0, 1, 2]] * 9))
    >>> sorted(next_triplets(rsm, judged, 1)[0].tolist())[-1]  # with d
    3
    """
    size = len(rsm.ids)
    _check(n, uncertainty_weight, pool, seed)
    rng = np.random.default_rng(seed)
    known = _within(rsm, judged)
    taken = np.unique(_keys(known, size))
    left = comb(size, 3) - len(taken)
    if n > left:
        raise VidsimError(f"{n} triplets were asked for, but only {left} of {comb(size, 3)} are not judged yet")
    counts = judged_counts(rsm, judged)
    rows = _candidates(size, taken, counts, max(pool, n), n, rng)
    heat = fit_temperature(rsm, judged, seed=seed) if temperature is None else temperature
    uncertainty = uncertainty_of(odd_probabilities(rsm, rows, heat))
    i, j, k = rows.T
    pairs = np.stack([pair_index(i, j, size), pair_index(i, k, size), pair_index(j, k, size)], axis=1)
    chosen = _greedy(pairs, uncertainty_weight * uncertainty, 1 - uncertainty_weight, counts, n)
    return rng.permuted(rows[chosen], axis=1)


def judged_counts(rsm: RSM, judged: Triplets) -> Int[ndarray, " p"]:
    """Count how often each pair of a matrix was judged, whatever the third stimulus.

    Parameters
    ----------
    rsm : RSM
        Names the stimuli; its own counts do not matter.
    judged : Triplets
        Trials, matched by id.

    Returns
    -------
    array of shape (n (n - 1) / 2,)
        In the order of ``rsm.upper``.

    Examples
    --------
    >>> trials = Triplets(("a", "b", "x"), np.array([[0, 1, 2], [0, 2, 1]]))
    >>> judged_counts(RSM(("c", "b", "a"), np.eye(3)), trials)
    array([0, 0, 2])
    """
    common = [name for name in judged.ids if name in rsm.position]
    size = len(rsm.ids)
    counts = np.zeros(size * (size - 1) // 2, np.int64)
    if len(common) > 1:
        shown = judged.restrict(common).counts("any").shown
        pairs = np.flatnonzero(shown)
        i, j = pair_positions(pairs, len(common))
        there = np.array([rsm.position[name] for name in common])
        counts[pair_index(there[i], there[j], size)] = shown[pairs]
    return counts


def _check(n: int, weight: float, pool: int, seed: int) -> None:
    at_least(1, n=n, pool=pool)
    at_least(0, seed=seed)
    if not 0 <= weight <= 1:
        raise VidsimError(f"uncertainty_weight {weight}: expected a number from 0 to 1")


def _within(rsm: RSM, triplets: Triplets) -> Int[ndarray, "t 3"]:
    """Return the trials wholly among the matrix's stimuli, as positions there."""
    there = np.array([rsm.position.get(name, -1) for name in triplets.ids], np.int64)
    rows = there[triplets.rows]
    return rows[(rows >= 0).all(axis=1)]


def _keys(rows: Int[ndarray, "t 3"], size: int) -> Int[ndarray, " t"]:
    """Number triplets, the same three in any order alike."""
    low, middle, high = np.sort(rows.astype(np.int64), axis=1).T
    return (low * size + middle) * size + high


def _candidates(
    size: int, taken: Int[ndarray, " k"], counts: Int[ndarray, " p"], pool: int, n: int, rng: np.random.Generator
) -> Int[ndarray, "c 3"]:
    """Return triplets that are not judged yet, all different, in random order: n or more, up to the pool."""
    total = comb(size, 3)
    if total <= pool:
        rows = np.fromiter(combinations(range(size), 3), np.dtype((np.int64, 3)), total)
        return rng.permutation(rows[~np.isin(_keys(rows, size), taken)])
    keys = _keys(np.concatenate([_at_random(size, pool // 2, rng), _thin(size, counts, pool - pool // 2, rng)]), size)
    keys = np.setdiff1d(keys, taken)
    while len(keys) < n:
        keys = np.union1d(keys, np.setdiff1d(_keys(_at_random(size, pool, rng), size), taken))
    keys = rng.permutation(keys)
    return np.column_stack([keys // size**2, keys // size % size, keys % size])


def _at_random(size: int, how_many: int, rng: np.random.Generator) -> Int[ndarray, "c 3"]:
    i = rng.integers(size, size=how_many)
    j = rng.integers(size - 1, size=how_many)
    return _with_third(i, j + (j >= i), size, rng)


def _thin(size: int, counts: Int[ndarray, " p"], how_many: int, rng: np.random.Generator) -> Int[ndarray, "c 3"]:
    """Return the pairs judged least, each as often as it takes, with a third stimulus at random."""
    kept = min(how_many, len(counts) // 2)
    thinnest = np.argpartition(counts + rng.random(len(counts)), kept)[:kept]  # between equal counts by chance
    i, j = pair_positions(np.resize(thinnest, how_many), size)
    return _with_third(i, j, size, rng)


def _with_third(
    i: Int[ndarray, " c"], j: Int[ndarray, " c"], size: int, rng: np.random.Generator
) -> Int[ndarray, "c 3"]:
    low, high = np.minimum(i, j), np.maximum(i, j)
    third = rng.integers(size - 2, size=len(i))
    third += third >= low
    third += third >= high
    return np.column_stack([i, j, third])


def _greedy(
    pairs: Int[ndarray, "c 3"], fixed: Float[ndarray, " c"], weight: float, counts: Int[ndarray, " p"], n: int
) -> Int[ndarray, " n"]:
    """Choose n candidates one by one, each time that of most worth; counts of its pairs go up by one."""
    # worth only ever falls: of candidates in the order of what they were worth when last looked at, the first that is
    # still worth as much is the best
    worth = fixed + weight * (1 / (1 + counts[pairs])).sum(axis=1) / 3
    order = np.argsort(-worth, kind="stable")
    # sorted, hence a heap; the rank decides between equals
    waiting = list(zip((-worth[order]).tolist(), range(len(order)), order.tolist(), strict=True))
    added: dict[int, int] = {}
    chosen: list[int] = []
    while len(chosen) < n:
        value, rank, candidate = heapq.heappop(waiting)
        own = [int(pair) for pair in pairs[candidate]]
        thin = sum(1 / (1 + int(counts[pair]) + added.get(pair, 0)) for pair in own) / 3
        now = -(float(fixed[candidate]) + weight * thin)
        if now > value:
            heapq.heappush(waiting, (now, rank, candidate))
            continue
        chosen.append(candidate)
        for pair in own:
            added[pair] = added.get(pair, 0) + 1
    return np.array(chosen)
