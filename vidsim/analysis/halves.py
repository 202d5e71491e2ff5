"""Halves of judgments: the pairs judged twice or more, and how one half of their judgments is drawn at random."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vidsim.analysis.ranks import share_codes, spearman_of_codes
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets, pair_index

MOST_CODED = 511
"""Most judgments of a pair for which all shares are numbered beforehand; above, each split numbers its own."""


@dataclass(frozen=True, eq=False)
class Halves:
    """Hold the pairs judged twice or more, and how to draw one half of their judgments.

    A pair's judgments are packed into one integer, ``base * shown + together``: halves then add and subtract, and the
    sum is the position of their share in the table of codes.
    """

    i: Int[ndarray, " p"]
    j: Int[ndarray, " p"]
    base: int
    total: Int[ndarray, " p"]
    draw: Callable[[np.random.Generator], Int[ndarray, " p"]]
    codes: Int[ndarray, " c"] | None
    trials: int
    left_out: int

    def correlate(self, half: Int[ndarray, " p"], times: Int[ndarray, " p"] | None = None) -> tuple[float, int]:
        """Correlate one half with the rest over pairs seen in both; ``times``: how often each pair stands in the sample."""
        rest = self.total - half
        seen = (half >= self.base) & (rest >= self.base)
        if times is not None:
            seen &= times > 0
            times = times[seen]
        return spearman_of_codes(self._code(half[seen]), self._code(rest[seen]), times), int(seen.sum())

    def _code(self, packed: Int[ndarray, " p"]) -> Int[ndarray, " p"]:
        if self.codes is not None:
            return self.codes[packed]
        shown, together = np.divmod(packed, self.base)
        return np.unique(together / shown, return_inverse=True)[1].reshape(-1)


def _judged(
    shown: Int[ndarray, " p"],
    together: Int[ndarray, " p"],
    twice: Int[ndarray, " p"],
    n: int,
    draw: Callable[[np.random.Generator], Int[ndarray, " p"]],
    trials: int,
    left_out: int = 0,
) -> Halves:
    most = int(shown.max())
    i, j = _pair_positions(twice, n)
    codes = share_codes(most).ravel() if most <= MOST_CODED else None
    return Halves(i, j, most + 1, (most + 1) * shown + together, draw, codes, trials, left_out)


def _pair_positions(keys: Int[ndarray, " p"], n: int) -> tuple[Int[ndarray, " p"], Int[ndarray, " p"]]:
    """Return the positions of the two stimuli of numbered pairs; undoes `pair_index`."""
    firsts = np.arange(n - 1, dtype=np.int64)
    starts = pair_index(firsts, firsts + 1, n)
    i = np.searchsorted(starts, keys, side="right") - 1
    return i, keys - starts[i] + i + 1


def trial_halves(triplets: Triplets, context: str, people: Int[ndarray, " u"] | None) -> Halves:
    """Prepare the splitting of trials: all of a trial's pairs go to the same half."""
    n = len(triplets.ids)
    a, b, odd = triplets.rows.T
    nothing = n * (n - 1) // 2  # a number beyond all pairs, for places that hold none
    # first the pair that stayed together, then those that did not
    units = np.stack([pair_index(a, b, n), pair_index(a, odd, n), pair_index(b, odd, n)], axis=1)
    if context == "any":
        i, j, stayed = triplets.outside.T
        key = pair_index(i, j, n)
        empty = np.full_like(key, nothing)
        units = np.concatenate(
            [units, np.stack([np.where(stayed == 1, key, empty), np.where(stayed == 1, empty, key), empty], axis=1)]
        )
    left_out = 0
    if people is not None:
        left_out = int((people < 0).sum())
        units, people = units[people >= 0], people[people >= 0]
    shown = np.bincount(units.ravel(), minlength=nothing + 1)[:nothing]
    twice = _judged_twice(shown)
    number = np.full(nothing + 1, len(twice), np.int64)  # a pair judged once can never be seen in both halves
    number[twice] = np.arange(len(twice))
    units = number[units]
    base = int(shown.max()) + 1
    chosen = _trial_halves(len(units)) if people is None else _people_halves(people)

    def packed(part: Int[ndarray, "k 3"]) -> Int[ndarray, " p"]:
        p = len(twice)
        return base * np.bincount(part.ravel(), minlength=p + 1)[:p] + np.bincount(part[:, 0], minlength=p + 1)[:p]

    def draw(rng: np.random.Generator) -> Int[ndarray, " p"]:
        return packed(units.take(chosen(rng), axis=0))

    return _judged(shown[twice], packed(units) % base, twice, n, draw, len(units), left_out)


def _trial_halves(t: int) -> Callable[[np.random.Generator], Int[ndarray, " h"]]:
    # the smaller half of random numbers: a uniform draw, for half of what a permutation costs
    return lambda rng: np.argpartition(rng.random(t), t // 2)[: t // 2]


def _people_halves(people: Int[ndarray, " u"]) -> Callable[[np.random.Generator], Int[ndarray, " h"]]:
    number = np.unique(people, return_inverse=True)[1].reshape(-1)
    half = np.arange(int(number.max()) + 1) < (int(number.max()) + 1) // 2
    return lambda rng: np.flatnonzero(rng.permutation(half)[number])


def vote_halves(triplets: Triplets, context: str) -> Halves:
    """Prepare the paper's splitting: each pair's votes on their own, cut at half their number."""
    counts = triplets.counts(context)
    twice = _judged_twice(counts.shown)
    shown, together = counts.shown[twice].astype(np.int64), counts.together[twice].astype(np.int64)
    base = int(shown.max()) + 1
    half = shown // 2

    def draw(rng: np.random.Generator) -> Int[ndarray, " p"]:
        # the first half of shuffled votes: so many of the votes 'together' fall into it
        return base * half + rng.hypergeometric(together, shown - together, half)

    return _judged(shown, together, twice, len(triplets.ids), draw, int(shown.sum()))


def _judged_twice(shown: Int[ndarray, " p"]) -> Int[ndarray, " q"]:
    twice = np.flatnonzero(shown >= 2)
    if len(twice) < 3:
        raise VidsimError(
            f"{len(twice)} of {int((shown > 0).sum())} judged pairs were judged more than once; split halves need at "
            "least 3: collect more judgments of the same pairs"
        )
    return twice


