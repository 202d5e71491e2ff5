"""The paper's greedy pair cover, without looking at its candidates."""

from array import array
from collections.abc import Callable, Iterator
from math import comb, expm1, lgamma, log1p

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vidsim.check import at_least
from vidsim.data.design.pairs import LARGEST, require_size
from vidsim.errors import VidsimError

LARGEST_GREEDY = 5_000
"""Stimuli up to which a greedy cover is made: 4.3 million triplets, in 0.6 GB of memory and a few minutes."""


def greedy_cover(n: int, seed: int = 0, pool: int = 10_000) -> Int[ndarray, "t 3"]:
    """Cover every pair of n stimuli greedily (Algorithm 1, lines 1 to 9).

    At each step the paper looks at a random pool of triplets and takes the one that covers most pairs anew. By
    symmetry, that is a random one of all triplets that cover three pairs anew, if the pool holds any; else of those
    that cover two; else one. How many triplets there are of each kind follows from the graph of uncovered pairs, so
    each step draws its outcome from the exact probabilities, without a pool. One difference: a pool in which no
    triplet covers anything is drawn again, where the paper would add a triplet without use.

    Parameters
    ----------
    n : int
        Stimuli, 3 to `LARGEST_GREEDY`.
    seed : int
        Seed of the choices, at least 0.
    pool : int
        Different candidates per step, at least 1; all triplets where there are fewer.

    Returns
    -------
    array of shape (t, 3)
        Positions of stimuli, ascending within each triplet, in the order taken.

    Raises
    ------
    VidsimError
        If there are too few stimuli or too many, no candidates, or the seed is below 0.

    Examples
    --------
    >>> len(greedy_cover(3)), 7 <= len(greedy_cover(7)) <= 12
    (1, True)
    """
    require_size(n)
    if n > LARGEST_GREEDY:
        raise VidsimError(
            f"{n:,} stimuli take the greedy method too long, step by step; expected at most {LARGEST_GREEDY:,}: "
            f"the optimal method covers up to {LARGEST:,}"
        )
    if pool < 1:
        raise VidsimError(f"a pool of {pool} candidates; expected at least 1")
    total = comb(n, 3)
    pool = min(pool, total)
    at_least(0, seed=seed)
    uniform = _stream(np.random.default_rng(seed)).__next__
    graph = _Uncovered(n, uniform)
    taken = array("i")
    while graph.edges:
        triplet = graph.draw(_gain(graph.by_gain(), total, pool, uniform()))
        graph.cover(*triplet)
        taken.extend(sorted(triplet))
    return np.array(taken, np.int32).reshape(-1, 3)


class _Uncovered:
    """Hold the pairs not yet covered as the edges of a graph, with what it takes to draw triplets from it evenly."""

    def __init__(self, n: int, uniform: Callable[[], float]) -> None:
        self.n = n
        self.uniform = uniform
        self.edges = comb(n, 2)
        self.wedges = n * comb(n - 1, 2)  # pairs of edges that share a point
        self.triangles = comb(n, 3)
        points = list(range(n))  # shared, or each list would hold numbers of its own
        self.near = [points[:v] + points[v + 1 :] for v in points]
        self.place = array("i", [0]) * (n * n)  # where w stands in near[v]; -1 once covered
        view = np.frombuffer(self.place, np.int32).reshape(n, n)
        np.subtract(np.arange(n), np.triu(np.ones((n, n), np.int32)), out=view, casting="unsafe")
        np.fill_diagonal(view, -1)
        self.bit = [1 << v for v in range(n)]
        self.bits = [(1 << n) - 1 ^ one for one in self.bit]  # the same neighbours, to count common ones quickly
        self.degree = n - 1  # none has more; brought down now and then
        self.age = 0

    def by_gain(self) -> tuple[int, int, int]:
        """Count the triplets that would cover three pairs anew, two, and one."""
        three = self.triangles
        two = self.wedges - 3 * three
        return three, two, self.edges * (self.n - 2) - 2 * two - 3 * three

    def draw(self, gain: int) -> tuple[int, int, int]:
        """Draw evenly from the triplets that would cover so many pairs anew."""
        place, n = self.place, self.n
        while True:
            if gain == 1:
                v, w = self._edge()
                x = int(self.uniform() * n)
                if x not in {v, w} and place[v * n + x] < 0 and place[w * n + x] < 0:
                    return v, w, x
            else:
                v, w, x = self._wedge()  # a triangle has three wedges, any other triplet with a wedge one
                if (place[w * n + x] >= 0) == (gain == 3):
                    return v, w, x

    def cover(self, *triplet: int) -> None:
        """Take the pairs of a triplet out."""
        i, j, k = triplet
        for v, w in ((i, j), (i, k), (j, k)):
            if self.place[v * self.n + w] < 0:
                continue
            self.triangles -= (self.bits[v] & self.bits[w]).bit_count()
            self.wedges -= len(self.near[v]) + len(self.near[w]) - 2
            self.edges -= 1
            self._remove(v, w)
            self._remove(w, v)
        self.age += 1
        if self.age % (self.n // 8 + 1) == 0:
            self.degree = max(map(len, self.near))

    def _remove(self, v: int, w: int) -> None:
        row, place, start = self.near[v], self.place, v * self.n
        last = row.pop()
        if last != w:
            where = place[start + w]
            row[where] = last
            place[start + last] = where
        place[start + w] = -1
        self.bits[v] ^= self.bit[w]

    def _edge(self) -> tuple[int, int]:
        while True:
            v = int(self.uniform() * self.n)
            row = self.near[v]
            if self.uniform() * self.degree < len(row):
                return v, row[int(self.uniform() * len(row))]

    def _wedge(self) -> tuple[int, int, int]:
        uniform, n, most = self.uniform, self.n, self.degree * (self.degree - 1)
        while True:
            v = int(uniform() * n)
            row = self.near[v]
            degree = len(row)
            if uniform() * most < degree * (degree - 1):
                first, second = int(uniform() * degree), int(uniform() * (degree - 1))
                return v, row[first], row[second + (second >= first)]


def _gain(by_gain: tuple[int, int, int], total: int, pool: int, u: float) -> int:
    """Choose how many pairs the best of a pool covers anew, given that it covers any; ``u`` is uniform in [0, 1)."""
    weights: list[float] = []
    before, left = 1.0, total  # left: triplets that cover no more than this many
    for count in by_gain:
        present = holds(count, left, pool)
        weights.append(before * present)
        before *= 1 - present
        left -= count
    three, two, _ = weights
    u *= sum(weights)
    return 3 if u < three else 2 if u < three + two else 1


def holds(count: int, total: int, pool: int) -> float:
    """Compute the probability that a pool of different triplets holds at least one of some.

    Parameters
    ----------
    count : int
        How many triplets there are of the kind.
    total : int
        How many there are in all.
    pool : int
        How many are drawn, without repetition.

    Returns
    -------
    float
        1 - C(total - count, pool) / C(total, pool).

    Examples
    --------
    >>> round(holds(2, 5, 2), 9), holds(3, 5, 3), holds(0, 5, 3)
    (0.7, 1.0, 0.0)
    """
    if count == 0:
        return 0.0
    if total - count < pool:
        return 1.0
    if total > 100 * pool:  # draws are nearly alike, and a difference of log-factorials would lose digits
        return -expm1(pool * log1p(-count / (total - (pool - 1) / 2)))
    rest = total - count
    return -expm1(lgamma(rest + 1) - lgamma(rest - pool + 1) + lgamma(total - pool + 1) - lgamma(total + 1))


def _stream(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(1 << 14).tolist()
