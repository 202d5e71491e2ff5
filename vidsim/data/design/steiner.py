"""Steiner triple systems and their next of kin, by direct construction."""

import numpy as np
from jaxtyping import Int
from numpy import ndarray


def steiner(n: int) -> Int[ndarray, "t 3"]:
    """Construct a Steiner triple system: triples that hold every pair of n points once (Bose 1939; Skolem 1958).

    Points stand in three equal levels; each pair within a level meets a point of the next, named by a commutative
    quasigroup.

    Parameters
    ----------
    n : int
        Points, of the form 6k + 1 or 6k + 3.

    Returns
    -------
    array of shape (n (n - 1) / 6, 3)
        Positions of points.

    Examples
    --------
    >>> steiner(7).tolist()
    [[0, 2, 4], [6, 1, 2], [6, 3, 4], [6, 5, 0], [0, 1, 3], [2, 3, 5], [4, 5, 1]]
    """
    m = n // 3
    i, j = (x.astype(np.int32) for x in np.triu_indices(m, 1))
    points = np.arange(m, dtype=np.int32)
    if n % 6 == 3:  # Bose: the quasigroup is idempotent
        columns = np.column_stack([points, points + m, points + 2 * m])
        return np.concatenate([columns, *_levels(i, j, (i + j) * ((m + 1) // 2) % m, m)])
    half = m // 2  # Skolem: half of the quasigroup is idempotent, the other half goes to one more point
    total = (i + j) % m
    third = total // 2 + total % 2 * half
    low = points[:half]
    columns = np.column_stack([low, low + m, low + 2 * m])
    last = np.full(half, 3 * m, np.int32)
    more = [np.column_stack([last, half + low + t * m, low + (t + 1) % 3 * m]) for t in range(3)]
    return np.concatenate([columns, *more, *_levels(i, j, third, m)])


def with_five(n: int) -> tuple[Int[ndarray, "t 3"], Int[ndarray, " 5"]]:
    """Construct triples and one block of five that together hold every pair once (Lindner and Rodger, section 1.5).

    Parameters
    ----------
    n : int
        Points, of the form 6k + 5.

    Returns
    -------
    triples : array of shape ((n (n - 1) - 20) / 6, 3)
        Positions of points.
    five : array of shape (5,)
        The block.
    """
    m = n // 3
    one, two = 3 * m, 3 * m + 1
    five = np.array([one, two, 0, m, 2 * m], np.int32)
    i, j = (x.astype(np.int32) for x in np.triu_indices(m, 1))
    cycle = np.roll(np.arange(1, m, dtype=np.int32), -1)  # a permutation that fixes 0 and turns the others
    after = np.append(np.int32(0), cycle)
    third = (i + j) * ((m + 1) // 2) % m
    first, second, last = _levels(i, j, third, m)
    last[:, 2] = after[third]
    odd = np.arange(1, m, 2, dtype=np.int32)
    even = after[odd]
    before = np.where(odd == 1, m - 1, odd - 1).astype(np.int32)

    def block(point: int, x: Int[ndarray, " k"], y: Int[ndarray, " k"]) -> Int[ndarray, "k 3"]:
        return np.column_stack([np.full(len(x), point, np.int32), x, y])

    more = [
        block(one, odd, odd + m),
        block(one, odd + 2 * m, even),
        block(one, even + m, even + 2 * m),
        block(two, odd + m, odd + 2 * m),
        block(two, even, even + m),
        block(two, odd, before + 2 * m),
    ]
    return np.concatenate([first, second, last, *more]), five


def _levels(
    i: Int[ndarray, " p"], j: Int[ndarray, " p"], third: Int[ndarray, " p"], m: int
) -> list[Int[ndarray, "p 3"]]:
    """Join every pair of a level with the point of the next level that the quasigroup names."""
    return [np.column_stack([i + t * m, j + t * m, third + (t + 1) % 3 * m]) for t in range(3)]
