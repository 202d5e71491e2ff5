"""Simulated judges: odd-one-out trials drawn from any similarity matrix, and what infinitely many would show."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.check import at_least
from vidsim.data.judgments.judgments import DETAILS, Judgments
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm, square
from vidsim.triplets import Triplets

CHUNK = 1 << 20
"""Trials drawn at a time, so that memory stays bounded."""

PERMUTATIONS = np.array([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])
ODD_LAST = np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2]])
"""For each place of the odd one, the places of (a, b, odd)."""


def simulate(
    rsm: RSM,
    *,
    trials: int | Int[ndarray, "t 3"],
    temperature: float,
    lapse: float = 0.0,
    participants: int = 1,
    participant_bias: float = 0.0,
    individual: float = 0.0,
    seed: int = 0,
) -> Judgments:
    """Draw odd-one-out trials by a softmax over the three pairs (Zheng et al. 2019; Hebart et al. 2020).

    Of i, j, k the odd one is k with a probability proportional to exp(s(i, j) / temperature). To that come lapses, a
    taste for places on the screen, and differences between people.

    Parameters
    ----------
    rsm : RSM
        Similarity of every pair, in any unit.
    trials : int or array of shape (t, 3)
        How many triplets to draw at random, three different stimuli each; or positions of those to show. The order on
        the screen is random in both cases.
    temperature : float
        In the unit of the similarities, 0 or more; 0 always leaves the most similar pair together, and of equally
        similar pairs one at random.
    lapse : float
        Probability, 0 to 1, of an answer at random.
    participants : int
        People who judge, 1 to t; trials are dealt to them in consecutive blocks of equal size (give or take one).
    participant_bias : float
        Standard deviation over people of the log-odds with which each prefers a place on the screen, 0 or more; a
        person's three sum to 0. With temperature 0 it decides between equal pairs only.
    individual : float
        Standard deviation of what each person adds to the similarity of each pair, in its unit, 0 or more.
    seed : int
        Same seed, same trials.

    Returns
    -------
    Judgments
        Over all ids, with participants ``p1``, ..., places on the screen and trial numbers; without response times.

    Raises
    ------
    VidsimError
        If a similarity is missing, or an argument lies outside its range.

    Examples
    --------
    >>> rsm = RSM(("a", "b", "c"), np.array([[1, 0.9, 0.1], [0.9, 1, 0.2], [0.1, 0.2, 1]]))
    >>> simulate(rsm, trials=4, temperature=0.0).rows[:, 2]
    array([2, 2, 2, 2], dtype=int32)
    """
    similarities = _finite(rsm)
    _within("temperature", temperature, 0)
    _within("lapse", lapse, 0, 1)
    _within("participant_bias", participant_bias, 0)
    _within("individual", individual, 0)
    at_least(0, seed=seed)
    given = Triplets(rsm.ids, trials).rows if isinstance(trials, ndarray) else None
    total = len(given) if given is not None else int(trials)
    _within("participants", participants, 1, max(1, total))
    _within("trials", total, 1)
    n = len(rsm)
    rng = np.random.default_rng(seed)
    rows = np.empty((total, 3), np.int32)
    places = np.empty(total, np.int8)
    bounds = np.linspace(0, total, participants + 1).astype(np.int64)
    for first, last in pairwise(bounds):
        bias = rng.normal(0, participant_bias, 3)
        bias -= bias.mean()
        own = similarities
        if individual:
            own = similarities + square(rng.normal(0, individual, n * (n - 1) // 2), n, 0.0)
        for start in range(int(first), int(last), CHUNK):
            part = slice(start, min(start + CHUNK, int(last)))
            size = part.stop - part.start
            if given is None:
                shown = _triplets(n, size, rng)
            else:
                shown = np.take_along_axis(given[part], PERMUTATIONS[rng.integers(6, size=size)], axis=1)
            places[part] = _choices(own, shown, temperature, lapse, bias, rng)
            rows[part] = np.take_along_axis(shown, ODD_LAST[places[part]], axis=1)
    source = (
        f"simulated: temperature {temperature:g}, lapse {lapse:g}, participant bias {participant_bias:g}, "
        f"individual {individual:g}, seed {seed}"
    )
    return Judgments(
        tuple(rsm.ids), rows, _details(places, bounds), source_rows=total, source=source, order="choice-column"
    )


def shown(judgments: Judgments) -> Int[ndarray, "t 3"]:
    """Return the stimuli of each trial in their places on the screen, left to right.

    Parameters
    ----------
    judgments : Judgments
        Judgments that know the place of the odd one; where it is unknown the odd one comes last.

    Returns
    -------
    array of shape (t, 3)
        Positions of stimuli.

    Examples
    --------
    >>> rsm = RSM(("a", "b", "c"), np.eye(3))
    >>> sorted(shown(simulate(rsm, trials=1, temperature=1.0))[0].tolist())
    [0, 1, 2]
    """
    place = np.where(judgments.position > 0, judgments.position, 3) - 1
    return np.take_along_axis(judgments.rows, np.argsort(ODD_LAST, axis=1)[place], axis=1)


def expected_rsm(rsm: RSM, *, temperature: float, lapse: float = 0.0) -> RSM:
    """Compute the human RSM that infinitely many simulated trials converge to: P(i and j stay together), over all k.

    Parameters
    ----------
    rsm : RSM
        Similarity of every pair, in any unit; at least three stimuli.
    temperature : float
        In the unit of the similarities, 0 or more.
    lapse : float
        Probability, 0 to 1, of an answer at random.

    Returns
    -------
    RSM
        For each pair the mean probability, over every third stimulus, that the third is the odd one; 1 on the diagonal.
        Participants without bias and without similarities of their own are assumed.

    Raises
    ------
    VidsimError
        If a similarity is missing, or an argument lies outside its range.

    Examples
    --------
    >>> rsm = RSM(("a", "b", "c"), np.array([[1, 0.9, 0.1], [0.9, 1, 0.1], [0.1, 0.1, 1]]))
    >>> expected_rsm(rsm, temperature=0.0).upper
    array([1., 0., 0.])
    >>> expected_rsm(rsm, temperature=1e9).upper.round(3)
    array([0.333, 0.333, 0.333])
    """
    similarities = _finite(rsm)
    _within("temperature", temperature, 0)
    _within("lapse", lapse, 0, 1)
    n = len(rsm)
    span = np.ptp(similarities)
    # exp of the similarities can be taken once for all as long as it does not vanish
    once = temperature > 0 and span <= 600 * temperature
    values = np.exp((similarities - similarities.max()) / temperature) if once else similarities
    upper: list[ndarray] = []
    for i in range(n - 1):
        j = np.arange(i + 1, n)
        ij, ik, jk = values[i, j, None], values[i], values[j]  # rows: every j after i; columns: every third
        if once:
            odd = ij / (ij + ik + jk)
        elif temperature > 0:
            with np.errstate(over="ignore"):  # exp(large) is infinite, and the probability 0, as it should be
                odd = 1 / (1 + np.exp((ik - ij) / temperature) + np.exp((jk - ij) / temperature))
        else:
            odd = ((ij >= ik) & (ij >= jk)) / (1.0 + (ij == ik) + (ij == jk))
        odd[:, i] = 0
        odd[np.arange(len(j)), j] = 0
        upper.append(odd.sum(axis=1) / (n - 2))
    return RSM(tuple(rsm.ids), square((1 - lapse) * np.concatenate(upper) + lapse / 3, n, 1.0))


def planted_rsm(stimuli: int, dims: int, seed: int = 0) -> RSM:
    """Plant a geometry: the cosine similarities of random points, normal in each dimension.

    Parameters
    ----------
    stimuli : int
        How many, at least 3; ids are ``s1``, ``s2``, ....
    dims : int
        Dimensions, at least 1.
    seed : int
        Same seed, same points.

    Returns
    -------
    RSM
        Similarities from -1 to 1 around 0, with a standard deviation of 1 / sqrt(dims).

    Raises
    ------
    VidsimError
        If a number is too small.

    Examples
    --------
    >>> planted_rsm(3, 2).ids
    ('s1', 's2', 's3')
    """
    _within("stimuli", stimuli, 3)
    _within("dims", dims, 1)
    at_least(0, seed=seed)
    points = np.random.default_rng(seed).standard_normal((stimuli, dims))
    return cosine_rsm(Embeddings(_names("s", stimuli), points))


def _triplets(n: int, size: int, rng: np.random.Generator) -> Int[ndarray, "t 3"]:
    """Draw ordered triplets of different stimuli, each with the same probability."""
    i, j, k = (rng.integers(n - taken, size=size, dtype=np.int32) for taken in range(3))
    j += j >= i
    low, high = np.minimum(i, j), np.maximum(i, j)
    k += k >= low
    k += k >= high
    return np.column_stack([i, j, k])


def _choices(
    similarities: Float[ndarray, "n n"],
    shown: Int[ndarray, "t 3"],
    temperature: float,
    lapse: float,
    bias: Float[ndarray, " 3"],
    rng: np.random.Generator,
) -> Int[ndarray, " t"]:
    """Draw the place of the odd one of each trial: the largest log-odds plus Gumbel noise are a draw by softmax."""
    a, b, c = shown.T
    others = np.stack([similarities[b, c], similarities[a, c], similarities[a, b]])
    best = others.max(axis=0)
    keys = bias[:, None] - np.log(rng.standard_exponential(others.shape))
    with np.errstate(over="ignore"):  # a temperature of next to nothing
        keys += (others - best) / temperature if temperature > 0 else np.where(others == best, 0, -np.inf)
    places = keys.argmax(axis=0)
    if lapse:
        places = np.where(rng.random(len(shown)) < lapse, rng.integers(3, size=len(shown)), places)
    return places


def _details(places: Int[ndarray, " t"], bounds: Int[ndarray, " b"]) -> pa.Table:
    sizes = np.diff(bounds)
    people = pa.array(_names("p", len(sizes)), pa.string())
    lines = np.arange(1, len(places) + 1)
    columns = {
        "position": pa.array(places + np.int8(1)),
        "participant": people.take(pa.array(np.repeat(np.arange(len(sizes)), sizes))),
        "session": pa.repeat(pa.scalar("1"), len(places)),
        "trial": pa.array(lines - np.repeat(bounds[:-1], sizes)),
        "response_time": pa.nulls(len(places), pa.float64()),
        "line": pa.array(lines),
    }
    return pa.table(columns, schema=DETAILS)


def _names(letter: str, count: int) -> tuple[str, ...]:
    """Number names with leading zeros, so that sorting keeps their order."""
    return tuple(f"{letter}{number:0{len(str(count))}}" for number in range(1, count + 1))


def _finite(rsm: RSM) -> Float[ndarray, "n n"]:
    n = len(rsm)
    _within("stimuli", n, 3)
    similarities = rsm.similarities.astype(np.float64)
    np.fill_diagonal(similarities, 0.0)  # no trial asks for it
    unknown = ~np.isfinite(similarities)
    if unknown.any():
        i, j = np.argwhere(unknown)[0]
        raise VidsimError(
            f"{unknown.sum() // 2} of {n * (n - 1) // 2} pairs have no similarity, the first is {rsm.ids[i]!r} with "
            f"{rsm.ids[j]!r}; judges can be simulated only from a complete matrix: a model's, or an ordinal embedding's"
        )
    return similarities


def _within(name: str, value: float | int, low: float | int, high: float | int = np.inf) -> None:
    if not low <= value <= high or value == np.inf:
        expected = f"at least {low:g}" if high == np.inf else f"from {low:g} to {high:g}"
        raise VidsimError(f"{name} is {value:g}: expected {expected}")
