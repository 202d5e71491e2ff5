"""A random order of the numbers below N, of which any part can be computed by itself, without holding the rest."""

from math import isqrt

import numpy as np
from jaxtyping import Int, UInt
from numpy import ndarray

from vidsim.check import at_least
from vidsim.errors import VidsimError

HELD = 1 << 22
"""Numbers up to which the order is drawn as a whole, in 32 MB."""

ROUNDS = 8


class Shuffle:
    """Order the numbers 0 to size - 1 at random; each comes once.

    Few numbers are permuted as a whole. Of many, a generalised Feistel network over a x b >= size cells gives the place
    of each, walking on from cells outside (Black and Rogaway 2002, Ciphers with Arbitrary Finite Domains, section 5),
    so that a part of the order costs what its length costs.

    Parameters
    ----------
    size : int
        How many numbers, 1 to 2**62.
    seed : int
        Seed of the order, at least 0.
    held : int
        Sizes up to which the order is drawn as a whole.

    Raises
    ------
    VidsimError
        If the size or the seed is out of range.

    Examples
    --------
    >>> Shuffle(5).part(0, 5).tolist()
    [4, 2, 1, 0, 3]
    >>> whole = Shuffle(10**15)
    >>> bool((whole.part(7, 9) == whole.part(0, 9)[7:]).all())
    True
    """

    def __init__(self, size: int, seed: int = 0, *, held: int = HELD) -> None:
        if not 1 <= size <= 2**62:
            raise VidsimError(f"an order of {size:,} numbers; expected 1 to 2**62")
        at_least(0, seed=seed)
        rng = np.random.default_rng([seed, 2])
        self.size = size
        self._order = rng.permutation(size) if size <= held else None
        self._a = isqrt(size - 1) + 1
        self._b = -(-size // self._a)
        self._keys = rng.integers(2**64, size=ROUNDS, dtype=np.uint64)

    def part(self, start: int, stop: int) -> Int[ndarray, " k"]:
        """Give a part of the order.

        Parameters
        ----------
        start, stop : int
            The first place, and the one behind the last; cut off at the end of the order.

        Returns
        -------
        array of shape (k,)
            Numbers, int64.
        """
        if self._order is not None:
            return self._order[start:stop]
        found = self._cell(np.arange(start, min(stop, self.size), dtype=np.uint64))
        while len(outside := np.flatnonzero(found >= self.size)):
            found[outside] = self._cell(found[outside])
        return found.astype(np.int64)

    def _cell(self, number: UInt[ndarray, " k"]) -> UInt[ndarray, " k"]:
        a, b = np.uint64(self._a), np.uint64(self._b)
        right, left = np.divmod(number, a)
        for turn, key in enumerate(self._keys):
            if turn % 2:
                right = (right + _mix(left ^ key)) % b
            else:
                left = (left + _mix(right ^ key)) % a
        return right * a + left


def _mix(x: UInt[ndarray, " k"]) -> UInt[ndarray, " k"]:
    """Scatter 64 bits, and halve the result, so that a sum with a number below 2**32 does not overflow (splitmix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(1)
