"""Judged: which trials and pairs lie within a group of stimuli."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.triplets import Triplets


class Within:
    """Find which of many tuples of stimuli lie wholly within a group.

    Parameters
    ----------
    rows : array of shape (m, k)
        Positions of the k stimuli of each tuple, from 0 to n - 1.
    n : int
        How many stimuli there are.

    Examples
    --------
    >>> within = Within(np.array([[0, 1], [1, 2], [2, 0]]), 3)
    >>> numbers, places = within.find(np.array([2, 0]))
    >>> numbers.tolist(), places.tolist()
    ([2], [[0, 1]])
    """

    def __init__(self, rows: Int[ndarray, "m k"], n: int) -> None:
        self.rows = rows.astype(np.int64)
        self.columns = np.ascontiguousarray(self.rows.T)
        self.n = n

    def find(self, group: Int[ndarray, " b"]) -> tuple[Int[ndarray, " f"], Int[ndarray, "f k"]]:
        """Find the tuples within a group.

        All are looked at, a look-up a stimulus: at ten thousand trials that is faster than any index into them.

        Parameters
        ----------
        group : array of shape (b,)
            Positions of stimuli, all different.

        Returns
        -------
        array of shape (f,)
            Numbers of the tuples, ascending.
        array of shape (f, k)
            Their stimuli, as positions in the group.
        """
        member = np.zeros(self.n, np.bool_)
        member[group] = True
        first, *others = self.columns
        inside = member.take(first)
        for column in others:
            inside &= member.take(column)
        numbers = np.flatnonzero(inside)
        place = np.zeros(self.n, np.int64)
        place[group] = np.arange(len(group))
        return numbers, place.take(self.rows.take(numbers, axis=0))


class JudgedPairs:
    """Hold the human distances of judged pairs.

    Parameters
    ----------
    triplets : Triplets
        Trials; those wholly among the ids count.
    """

    def __init__(self, triplets: Triplets) -> None:
        n = len(triplets.ids)
        similarities = triplets.counts("split").similarities
        judged = np.flatnonzero(np.isfinite(similarities))
        self.human: Float[ndarray, " p"] = (1 - similarities[judged]).astype(np.float32)
        self.rows: Int[ndarray, "p 2"] = np.stack(np.triu_indices(n, 1), axis=1)[judged]
        self._within = Within(self.rows, n)

    def of(self, group: Int[ndarray, " b"], gradients: int) -> tuple[Int[ndarray, "p 2"], Float[ndarray, " p"]]:
        """Take the judged pairs of a group that touch one of its first stimuli.

        Parameters
        ----------
        group : array of shape (b,)
            Positions of stimuli, all different.
        gradients : int
            How many come first.

        Returns
        -------
        array of shape (p, 2)
            Positions in the group.
        array of shape (p,)
            Human distances. No pairs where these are all the same, for then there is nothing to correlate with.
        """
        numbers, places = self._within.find(group)
        if gradients < len(group):
            touching = places.min(axis=1) < gradients
            numbers, places = numbers[touching], places[touching]
        human = self.human[numbers]
        return (places, human) if varied(human) else (places[:0], human[:0])


def varied(values: Float[ndarray, " p"]) -> bool:
    """Tell whether there are values, and not all the same."""
    return bool(len(values) and values.min() < values.max())
