"""A simple random sample of triplets: every three stimuli are as likely as any other, and none come twice."""

from collections.abc import Callable
from math import comb

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vidsim.data.design.shuffle import Shuffle
from vidsim.errors import VidsimError

MOST_SAMPLED = 2_000_000
"""Stimuli up to which triplets are numbered: beyond, steps on the way no longer fit 64 bits."""


class Sample:
    """Draw triplets one after another, without replacement.

    The C(n, 3) triplets are numbered, and their numbers put into a random order (`Shuffle`); the first t of them are a
    simple random sample of t, and what is drawn before is never held.

    Parameters
    ----------
    n : int
        Stimuli, 3 to `MOST_SAMPLED`.
    seed : int
        Seed of the order, at least 0.

    Attributes
    ----------
    total : int
        Different triplets, n (n - 1) (n - 2) / 6.

    Raises
    ------
    VidsimError
        If there are too few stimuli, or too many, or the seed is below 0.

    Examples
    --------
    >>> sample = Sample(4)
    >>> sample.total, sorted(map(tuple, sample.part(0, 4).tolist()))
    (4, [(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)])
    """

    def __init__(self, n: int, seed: int = 0) -> None:
        if not 3 <= n <= MOST_SAMPLED:
            raise VidsimError(f"triplets of {n:,} stimuli; expected 3 to {MOST_SAMPLED:,} stimuli")
        self.total = comb(n, 3)
        self._order = Shuffle(self.total, seed)

    def part(self, start: int, stop: int) -> Int[ndarray, "k 3"]:
        """Give a part of the sample.

        Parameters
        ----------
        start, stop : int
            The first draw, and the one behind the last; cut off at the last triplet there is.

        Returns
        -------
        array of shape (k, 3)
            Positions of stimuli, ascending within each triplet, int32.
        """
        return unrank(self._order.part(start, stop))


def unrank(numbers: Int[ndarray, " k"]) -> Int[ndarray, "k 3"]:
    """Name the triplets that numbers stand for: i < j < k has the number C(k, 3) + C(j, 2) + i.

    This is the combinatorial number system (Knuth, The Art of Computer Programming 4A, section 7.2.1.3).

    Parameters
    ----------
    numbers : array of shape (k,)
        From 0 on.

    Returns
    -------
    array of shape (k, 3)
        Positions, ascending, int32.

    Examples
    --------
    >>> import numpy as np
    >>> unrank(np.array([0, 1, 4, 9])).tolist()
    [[0, 1, 2], [0, 1, 3], [0, 1, 4], [2, 3, 4]]
    """
    last = _largest(np.cbrt(6.0 * numbers).astype(np.int64) + 1, numbers, _three)
    rest = numbers - _three(last)
    middle = _largest(np.sqrt(2.0 * rest).astype(np.int64), rest, _two)
    first = rest - _two(middle)
    return np.stack([first, middle, last], axis=1).astype(np.int32)


def _two(k: Int[ndarray, " k"]) -> Int[ndarray, " k"]:
    return k * (k - 1) // 2


def _three(k: Int[ndarray, " k"]) -> Int[ndarray, " k"]:
    return _two(k) * (k - 2) // 3


def _largest(
    guess: Int[ndarray, " k"], numbers: Int[ndarray, " k"], count: Callable[[ndarray], ndarray]
) -> Int[ndarray, " k"]:
    """Find the largest k whose count is at most the number; a root in floating point is one off at most."""
    guess = guess - (count(guess) > numbers)
    return guess + (count(guess + 1) <= numbers)
