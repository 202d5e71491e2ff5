"""Halves of judgments: the pairs judged twice or more, and how one half of what was judged is drawn at random."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.ranks import share_codes, spearman_of_codes
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets, pair_index

MOST_CODED = 511
"""Most judgments of a pair for which all shares are numbered beforehand; above, each half numbers its own."""


@dataclass(frozen=True, eq=False)
class Halves:
    """Hold the pairs judged twice or more, and draw halves of their judgments.

    How a pair was judged is packed into one integer, ``base * shown + together``: so halves add up to the whole, and
    the sum is the place of their share in the table of codes.

    Parameters
    ----------
    i, j : array of shape (p,)
        Positions of the stimuli of each pair.
    base : int
        More than any pair was judged.
    total : array of shape (p,)
        All judgments of each pair, packed.
    draw : callable
        Draws one half at random: packed judgments of each pair.
    codes : array of shape (base * base,), optional
        Code of the share of each packed number; None where that would be too many.
    trials : int
        What is split: trials, or votes.
    left_out : int
        Trials without a participant.
    """

    i: Int[ndarray, " p"]
    j: Int[ndarray, " p"]
    base: int
    total: Int[ndarray, " p"]
    draw: Callable[[np.random.Generator], Int[ndarray, " p"]]
    codes: Int[ndarray, " c"] | None
    trials: int
    left_out: int = 0

    def correlate(self, half: Int[ndarray, " p"], times: Float[ndarray, " p"] | None = None) -> tuple[float, int]:
        """Correlate one half with the rest, over pairs seen in both (Spearman).

        Parameters
        ----------
        half : array of shape (p,)
            What `draw` gives.
        times : array of shape (p,), optional
            How often each pair stands in the sample.

        Returns
        -------
        float
            NaN for fewer than two pairs, or where a half is constant.
        int
            Pairs seen in both.
        """
        rest = self.total - half
        seen = (half >= self.base) & (rest >= self.base)
        if times is not None:
            seen &= times > 0
        pairs = np.flatnonzero(seen)
        weights = None if times is None else times[pairs]
        return spearman_of_codes(self._code(half[pairs]), self._code(rest[pairs]), weights), len(pairs)

    def _code(self, packed: Int[ndarray, " p"]) -> Int[ndarray, " p"]:
        if self.codes is not None:
            return self.codes[packed]
        shown, together = np.divmod(packed, self.base)
        return np.unique(together / shown, return_inverse=True)[1].reshape(-1)


def judged_pairs(triplets: Triplets, context: str) -> Int[ndarray, "u 3"]:
    """Say which pairs each trial judges.

    Parameters
    ----------
    triplets : Triplets
        Judged trials.
    context : {"split", "any"}
        Whether trials whose third stimulus lies outside judge the pair inside.

    Returns
    -------
    array of shape (t, 3) or (t + m, 3)
        Numbers of pairs (see `vidsim.triplets.pair_index`), that which stayed together first; n (n - 1) / 2, which
        stands for no pair, where a trial judges fewer than three.

    Examples
    --------
    >>> judged_pairs(Triplets(("a", "b", "c"), np.array([[0, 2, 1]])), "split")
    array([[1, 0, 2]])
    """
    n = len(triplets.ids)
    none = n * (n - 1) // 2
    a, b, odd = triplets.rows.T
    units = np.stack([pair_index(a, b, n), pair_index(a, odd, n), pair_index(b, odd, n)], axis=1)
    if context != "any":
        return units
    i, j, together = triplets.outside.T
    key = pair_index(i, j, n)
    columns = [np.where(together == 1, key, none), np.where(together == 1, none, key), np.full_like(key, none)]
    return np.concatenate([units, np.stack(columns, axis=1)])


def trial_halves(triplets: Triplets, context: str, people: Int[ndarray, " u"] | None = None) -> Halves:
    """Split trials: all pairs of a trial go to the same half.

    Parameters
    ----------
    triplets : Triplets
        Judged trials.
    context : {"split", "any"}
        Whether trials whose third stimulus lies outside are split too.
    people : array of shape (t,) or (t + m,), optional
        Who judged each trial, -1 where unknown; half of the people, rather than of the trials, make a half.

    Returns
    -------
    Halves
        Of t // 2 trials, or half of the people, rounded down, and the rest.

    Raises
    ------
    VidsimError
        If fewer than three pairs were judged twice.
    """
    n = len(triplets.ids)
    none = n * (n - 1) // 2  # stands for no pair
    units = judged_pairs(triplets, context)
    left_out = 0
    if people is not None:
        known = people >= 0
        left_out = len(people) - int(known.sum())
        units, people = units[known], people[known]
    shown = np.bincount(units.ravel(), minlength=none + 1)[:none]
    twice = _judged_twice(shown)
    p, base = len(twice), int(shown.max()) + 1
    if people is None:  # a seed gives the same halves in whatever order trials come, and whatever the choices were
        units = units[np.lexsort((units[:, 0], *np.sort(units, axis=1).T))]
    number = np.full(none + 1, p)  # a pair judged once is never seen in both halves
    number[twice] = np.arange(p)
    units = number[units]

    def packed(part: Int[ndarray, "k 3"]) -> Int[ndarray, " p"]:
        return base * np.bincount(part.ravel(), minlength=p + 1)[:p] + np.bincount(part[:, 0], minlength=p + 1)[:p]

    chosen = _half_of_trials(len(units)) if people is None else _half_of_people(people)
    return Halves(
        *pair_positions(twice, n),
        base=base,
        total=packed(units),
        draw=lambda rng: packed(units.take(chosen(rng), axis=0)),
        codes=_codes(base),
        trials=len(units),
        left_out=left_out,
    )


def vote_halves(triplets: Triplets, context: str) -> Halves:
    """Split the votes of each pair on their own, as the paper does (Section C.3).

    Parameters
    ----------
    triplets : Triplets
        Judged trials.
    context : {"split", "any"}
        Whether trials whose third stimulus lies outside vote too.

    Returns
    -------
    Halves
        Of half a pair's votes, rounded down, and the rest.

    Raises
    ------
    VidsimError
        If fewer than three pairs were judged twice.
    """
    counts = triplets.counts(context)
    twice = _judged_twice(counts.shown)
    shown, together = counts.shown[twice].astype(np.int64), counts.together[twice].astype(np.int64)
    base = int(shown.max()) + 1
    half = shown // 2
    return Halves(
        *pair_positions(twice, len(triplets.ids)),
        base=base,
        total=base * shown + together,
        # of shuffled votes, so many of those for 'together' stand in the first half
        draw=lambda rng: base * half + rng.hypergeometric(together, shown - together, half),
        codes=_codes(base),
        trials=int(shown.sum()),
    )


def _judged_twice(shown: Int[ndarray, " q"]) -> Int[ndarray, " p"]:
    twice = np.flatnonzero(shown >= 2)
    if len(twice) < 3:
        raise VidsimError(
            f"{len(twice)} of {int((shown > 0).sum())} judged pairs were judged more than once, and halves are "
            "compared on those: expected at least 3; collect more judgments of the same pairs"
        )
    return twice


def _codes(base: int) -> Int[ndarray, " c"] | None:
    return share_codes(base - 1).ravel() if base <= MOST_CODED + 1 else None


def _half_of_trials(t: int) -> Callable[[np.random.Generator], Int[ndarray, " h"]]:
    # which of t random numbers are the smallest half: uniform, at half the cost of a permutation
    return lambda rng: np.argpartition(rng.random(t), t // 2)[: t // 2]


def _half_of_people(people: Int[ndarray, " u"]) -> Callable[[np.random.Generator], Int[ndarray, " h"]]:
    known, number = np.unique(people, return_inverse=True)
    number = number.reshape(-1)
    half = np.arange(len(known)) < len(known) // 2
    return lambda rng: np.flatnonzero(rng.permutation(half)[number])


def pair_positions(keys: Int[ndarray, " p"], n: int) -> tuple[Int[ndarray, " p"], Int[ndarray, " p"]]:
    """Undo `vidsim.triplets.pair_index`.

    Parameters
    ----------
    keys : array of shape (p,)
        Numbers of pairs.
    n : int
        How many stimuli.

    Returns
    -------
    tuple of array of shape (p,)
        Positions of the two, the lower first.

    Examples
    --------
    >>> pair_positions(np.array([0, 1, 2]), 3)
    (array([0, 0, 1]), array([1, 2, 2]))
    """
    rows = np.arange(n - 1)
    first = pair_index(rows, rows + 1, n)
    i = np.searchsorted(first, keys, side="right") - 1
    return i, keys - first[i] + i + 1
