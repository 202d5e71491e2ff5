"""Triplets: odd-one-out trials in their one form, (a, b, odd), as positions into an ordered list of ids."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from vidsim.check import one_of, refuse_axes, whole_numbers
from vidsim.embeddings import positions, rows_of
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, square

CONTEXTS = ("split", "any")
"""Which trials count for a pair: those wholly among the ids, or also those whose third item lies outside."""

CHUNK = 1 << 20
"""Trials counted at a time, so that memory stays bounded."""


def _three(what: str, rows: Shaped[ndarray, "..."]) -> Int[ndarray, "m 3"]:
    """Refuse rows that are not three integers each; give them as signed ones."""
    refuse_axes(what, rows, "(n, 3)")
    if rows.shape[1] != 3:
        raise VidsimError(f"{what} of shape {rows.shape} were given; expected three positions a row, (n, 3)")
    return whole_numbers(what, rows)


def repeating(rows: Int[ndarray, "t 3"]) -> Int[ndarray, " r"]:
    """Find the rows that show a stimulus more than once.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Positions of the three stimuli of each trial.

    Returns
    -------
    array of shape (r,)
        Rows, ascending.

    Examples
    --------
    >>> repeating(np.array([[0, 1, 2], [3, 1, 3]]))
    array([1])
    """
    a, b, c = rows.T
    return np.flatnonzero((a == b) | (a == c) | (b == c))


def _none() -> Int[ndarray, "m 3"]:
    return np.empty((0, 3), np.int32)


@dataclass(frozen=True, eq=False)
class Triplets:
    """Hold odd-one-out trials.

    Parameters
    ----------
    ids : sequence of str
        Stimuli, all distinct.
    rows : array of shape (t, 3)
        Positions of ``(a, b, odd)``: three different stimuli, the one chosen as odd last, the two others in the order
        in which the source lists them.
    outside : array of shape (m, 3), optional
        What is left of trials whose third item is not among the ids: ``(i, j, together)``, the positions of the two
        that are, and whether they stayed together (1) or not (0). `restrict` fills it; ``context="any"`` uses it.

    Raises
    ------
    VidsimError
        If ids repeat, rows are not three integers each, a position lies outside the ids, a trial shows a stimulus twice
        (a catch trial), or what lies outside pairs one with itself or says other than 0 or 1.

    Examples
    --------
    >>> import numpy as np
    >>> trials = Triplets(("a", "b", "c", "d"), np.array([[0, 1, 2], [0, 3, 1]]))
    >>> trials.rsm().similarities[0]
    array([1. , 0.5, 0. , 1. ])
    >>> int(trials.restrict(["a", "b"]).rsm(context="any").counts[0, 1])
    2
    """

    ids: Sequence[str]
    rows: Int[ndarray, "t 3"]
    outside: Int[ndarray, "m 3"] = field(default_factory=_none)

    def __post_init__(self) -> None:
        n = len(self.position)
        for what in ("rows", "outside"):
            object.__setattr__(self, what, _three(f"{what} of trials", getattr(self, what)))
        for what, pairs in (("rows", self.rows), ("outside", self.outside[:, :2])):
            if len(pairs) and (pairs.min() < 0 or pairs.max() >= n):
                raise VidsimError(
                    f"{what} of trials hold positions from {pairs.min()} to {pairs.max()}; "
                    f"expected 0 to {n - 1}, for {n} ids"
                )
        if len(self.outside):
            self._check_outside()
        twice = repeating(self.rows)
        if len(twice):
            a, b, odd = self.rows[twice[0]].tolist()
            name = self.ids[a if a in {b, odd} else b]
            raise VidsimError(
                f"trial {twice[0]} shows {name!r} more than once ({len(twice)} such trials); "
                "expected three different stimuli: take catch trials out first"
            )

    def _check_outside(self) -> None:
        i, j, together = self.outside.T
        if together.min() < 0 or together.max() > 1:
            raise VidsimError(
                f"outside of trials says from {together.min()} to {together.max()} of whether two stayed together; "
                "expected 0 or 1"
            )
        same = i == j
        if same.any():
            raise VidsimError(
                f"outside of trials pairs {self.ids[int(i[np.argmax(same)])]!r} with itself; expected two different "
                "stimuli"
            )

    @cached_property
    def position(self) -> dict[str, int]:
        """Map each id to its position."""
        return positions(self.ids)

    def __len__(self) -> int:
        return len(self.rows)

    def restrict(self, ids: Sequence[str]) -> "Triplets":
        """Keep what is known about some stimuli.

        Trials wholly among ``ids`` stay trials. Of trials that show two of them, what they say about that pair is kept
        for ``context="any"``; the others go.

        Parameters
        ----------
        ids : sequence of str
            Stimuli to keep, in the order wanted.

        Returns
        -------
        Triplets
            Over ``ids``.

        Raises
        ------
        VidsimError
            If an id is not here.
        """
        new = np.full(len(self.ids), -1, np.int32)
        new[rows_of(ids, self.position, "among the judged stimuli")] = np.arange(len(ids), dtype=np.int32)
        rows = new[self.rows]
        known = rows >= 0
        parts = [np.column_stack([new[self.outside[:, :2]], self.outside[:, 2]]).astype(np.int32)]
        two = known.sum(axis=1) == 2
        for pair, together in (((0, 1), 1), ((0, 2), 0), ((1, 2), 0)):
            found = rows[two & known[:, pair[0]] & known[:, pair[1]]]
            parts.append(np.column_stack([found[:, pair], np.full(len(found), together, np.int32)]))
        outside = np.concatenate(parts)
        return Triplets(tuple(ids), rows[known.all(axis=1)], outside[(outside[:, :2] >= 0).all(axis=1)])

    def occurring(self, context: str = "split") -> "Triplets":
        """Drop the stimuli that no trial shows, so that resamples of the stimuli are of those that were judged.

        Parameters
        ----------
        context : {"split", "any"}
            Whether a stimulus occurs where only a trial with a third one outside shows it.

        Returns
        -------
        Triplets
            The same trials in the same order; for ``"split"`` without what lies outside.

        Raises
        ------
        VidsimError
            If the context is unknown.
        """
        one_of("context", context, CONTEXTS)
        outside = self.outside if context == "any" else _none()
        shown = np.zeros(len(self.ids), bool)
        shown[self.rows] = True
        shown[outside[:, :2]] = True
        if shown.all() and len(outside) == len(self.outside):
            return self
        new = (np.cumsum(shown) - 1).astype(np.int32)
        return Triplets(
            tuple(self.ids[int(k)] for k in np.flatnonzero(shown)),
            new[self.rows],
            np.column_stack([new[outside[:, :2]], outside[:, 2]]),
        )

    def select(self, which: Shaped[ndarray, " k"]) -> "Triplets":
        """Keep some trials, by number or by mask; the ids stay, what lies outside goes."""
        return Triplets(self.ids, self.rows[which])

    def counts(self, context: str = "split") -> "PairCounts":
        """Count how often each pair was shown, and how often it stayed together.

        A trial adds one to its three pairs.

        Parameters
        ----------
        context : {"split", "any"}
            ``"split"`` uses trials wholly among the ids; ``"any"`` also those whose third item lies outside.

        Returns
        -------
        PairCounts
            Counts of all n (n - 1) / 2 pairs.

        Raises
        ------
        VidsimError
            If the context is unknown.
        """
        one_of("context", context, CONTEXTS)
        n = len(self.ids)
        shown = np.zeros(n * (n - 1) // 2, np.int32)
        together = np.zeros_like(shown)
        for start in range(0, len(self.rows), CHUNK):
            a, b, odd = self.rows[start : start + CHUNK].T
            stayed = pair_index(a, b, n)
            np.add.at(together, stayed, np.int32(1))
            for keys in (stayed, pair_index(a, odd, n), pair_index(b, odd, n)):
                np.add.at(shown, keys, np.int32(1))
        if context == "any":
            i, j, stay = self.outside.T
            keys = pair_index(i, j, n)
            np.add.at(shown, keys, np.int32(1))
            np.add.at(together, keys, stay.astype(np.int32))
        return PairCounts(tuple(self.ids), shown, together)

    def rsm(self, context: str = "split") -> RSM:
        """Compute the human RSM: s(i, j) = times i and j stayed together / times both were shown.

        Parameters
        ----------
        context : {"split", "any"}
            ``"split"`` uses trials wholly among the ids, as the paper does; ``"any"`` also those whose third item lies
            outside.

        Returns
        -------
        RSM
            Similarities from 0 to 1, 1 on the diagonal, NaN where a pair was never shown; with counts.
        """
        return self.counts(context).rsm()


@dataclass(frozen=True, eq=False)
class PairCounts:
    """Hold, for every pair of stimuli above the diagonal and row by row, how it was judged.

    Parameters
    ----------
    ids : tuple of str
        The n stimuli.
    shown : array of shape (n (n - 1) / 2,)
        Trials that showed both.
    together : array of shape (n (n - 1) / 2,)
        Those in which neither was the odd one.
    """

    ids: tuple[str, ...]
    shown: Int[ndarray, " p"]
    together: Int[ndarray, " p"]

    @property
    def similarities(self) -> Float[ndarray, " p"]:
        """Return together / shown; NaN where a pair was never shown."""
        return np.divide(
            self.together, self.shown, out=np.full(len(self.shown), np.nan), where=self.shown > 0, dtype=np.float64
        )

    def rsm(self) -> RSM:
        """Lay the counts out as a human RSM, 1 on the diagonal."""
        n = len(self.ids)
        return RSM(self.ids, square(self.similarities, n, 1.0), square(self.shown, n, 0))


def pair_index(i: Int[ndarray, " t"], j: Int[ndarray, " t"], n: int) -> Int[ndarray, " t"]:
    """Number pairs as the upper triangle of an n by n matrix does, row by row.

    Parameters
    ----------
    i, j : array of shape (t,)
        Positions of the two, in any order, never equal.
    n : int
        How many stimuli.

    Returns
    -------
    array of shape (t,)
        From 0 to n (n - 1) / 2 - 1.

    Examples
    --------
    >>> import numpy as np
    >>> pair_index(np.array([0, 2, 2]), np.array([1, 0, 1]), 3)
    array([0, 1, 2])
    """
    low = np.minimum(i, j).astype(np.int64)
    return low * (2 * n - 3 - low) // 2 + np.maximum(i, j) - 1


def triplet_numbers(rows: Int[ndarray, "t 3"]) -> Int[ndarray, " t"]:
    """Give trials that show the same three stimuli, in any order, the same number.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Positions of the stimuli.

    Returns
    -------
    array of shape (t,)
        From 0 to the number of different triplets - 1.

    Examples
    --------
    >>> import numpy as np
    >>> triplet_numbers(np.array([[4, 1, 2], [0, 1, 2], [2, 4, 1]]))
    array([1, 0, 1])
    """
    low, middle, high = np.sort(rows, axis=1).astype(np.int64).T
    n = int(rows.max(initial=0)) + 1
    if n > 2_000_000:  # the number of a triplet would not fit
        return np.unique(np.stack([low, middle, high], axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    return np.unique((low * n + middle) * n + high, return_inverse=True)[1].reshape(-1)
