"""Pair covers: the fewest triplets that hold every pair of stimuli, by direct construction."""

from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vidsim.check import at_least
from vidsim.data.design.steiner import steiner, with_five
from vidsim.errors import VidsimError

LARGEST = 20_000
"""Stimuli up to which a cover is made: 67 million triplets, at which the construction takes 2.3 GB of memory."""

MOST_ADDED = 10_000_000
"""Triplets up to which `fill` adds."""

FIVE = np.array([[0, 1, 2], [0, 3, 4], [1, 3, 4], [2, 3, 4]], np.int32)
"""The fewest triplets that cover five points."""

SIX = np.array([[0, 1, 2], [0, 1, 4], [0, 3, 5], [1, 3, 5], [2, 3, 4], [2, 4, 5]], np.int32)
"""The fewest triplets that cover six points."""


def schoenheim(n: int) -> int:
    """Compute the fewest triplets that cover every pair of n stimuli (Schönheim 1964; attained: Fort and Hedlund 1958).

    Each stimulus meets n - 1 others, two in a triplet, so it stands in at least ceil((n - 1) / 2) triplets, each of
    which counts for three stimuli.

    Parameters
    ----------
    n : int
        Stimuli, at least 3.

    Returns
    -------
    int
        ceil(n / 3 * ceil((n - 1) / 2)).

    Raises
    ------
    VidsimError
        If there are fewer than three stimuli.

    Examples
    --------
    >>> [schoenheim(n) for n in (7, 10, 12, 16, 50, 200, 250)]
    [7, 17, 24, 43, 417, 6667, 10417]
    """
    require_size(n)
    return (n * (n // 2) + 2) // 3


def cover(n: int, seed: int = 0) -> Int[ndarray, "t 3"]:
    """Cover every pair of n stimuli with the fewest triplets.

    Nothing is searched for: n of the form 6k + 1 and 6k + 3 have a Steiner triple system (Skolem's and Bose's
    construction), 6k + 5 a design of triplets with one block of five points, and even n takes that of n - 1 and joins
    the last point to the others two by two (Lindner and Rodger, Design Theory, chapter 1). The seed draws which
    stimulus plays which point, and the order of triplets.

    Parameters
    ----------
    n : int
        Stimuli, 3 to `LARGEST`.
    seed : int
        Seed of the order, at least 0.

    Returns
    -------
    array of shape (schoenheim(n), 3)
        Positions of stimuli, ascending within each triplet.

    Raises
    ------
    VidsimError
        If there are too few stimuli, or too many, or the seed is below 0.

    Examples
    --------
    >>> rows = cover(250)
    >>> len(rows), pairs_covered(rows, 250)
    (10417, 31125)
    """
    require_size(n)
    at_least(0, seed=seed)
    rest = n % 6
    if rest in {1, 3}:
        rows = steiner(n)
    elif rest == 5:
        triples, five = with_five(n)
        rows = np.concatenate([triples, five[FIVE]])
    elif rest == 0:
        triples, five = with_five(n - 1)
        others = np.setdiff1d(np.arange(n - 1, dtype=np.int32), five)
        rows = np.concatenate([triples, np.append(five, np.int32(n - 1))[SIX], _join(n - 1, others)])
    else:
        rows = np.concatenate([steiner(n - 1), _join(n - 1, np.arange(n - 1, dtype=np.int32))])
    rng = np.random.default_rng(seed)
    rows = rng.permutation(n).astype(np.int32)[rows]
    rows.sort(axis=1)
    return rows[rng.permutation(len(rows))]


def pairs_covered(rows: Int[ndarray, "t 3"], n: int) -> int:
    """Count the pairs that stand together in at least one triplet.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Positions of stimuli, 0 to n - 1.
    n : int
        Stimuli.

    Returns
    -------
    int
        At most n (n - 1) / 2.

    Examples
    --------
    >>> import numpy as np
    >>> pairs_covered(np.array([[0, 1, 2], [2, 1, 3]]), 4)
    5
    """
    together = np.zeros((n, n), np.bool_)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        together[rows[:, i], rows[:, j]] = True
    return sum(int((together[i, i + 1 :] | together[i + 1 :, i]).sum()) for i in range(n))


def check_cover(rows: Int[ndarray, "t 3"], n: int) -> int:
    """Make sure that every pair of n stimuli is covered, whatever made the triplets.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Positions of stimuli.
    n : int
        Stimuli.

    Returns
    -------
    int
        Pairs, n (n - 1) / 2.

    Raises
    ------
    VidsimError
        If a pair stands in no triplet.
    """
    pairs = comb(n, 2)
    covered = pairs_covered(rows, n)
    if covered != pairs:
        raise VidsimError(
            f"the design covers {covered:,} of {pairs:,} pairs, expected all; this is a defect of vidsim, report it"
        )
    return covered


def fill(rows: Int[ndarray, "t 3"], n: int, multiple: int, seed: int = 0) -> Int[ndarray, "u 3"]:
    """Add random triplets until their number is divisible, none of them twice (Algorithm 1, lines 10 to 13).

    Parameters
    ----------
    rows : array of shape (t, 3)
        Distinct triplets, ascending within each.
    n : int
        Stimuli.
    multiple : int
        What the number of triplets is to be a multiple of, at least 1; the paper's is 220.
    seed : int
        Seed of the choice, at least 0.

    Returns
    -------
    array of shape (u, 3)
        ``rows``, and the added ones after them.

    Raises
    ------
    VidsimError
        If there are not so many different triplets, too many to add, or the seed is below 0.
    """
    at_least(0, seed=seed)
    if multiple < 1:
        raise VidsimError(f"a multiple of {multiple}; expected at least 1")
    missing = -len(rows) % multiple
    different = comb(n, 3)
    if missing > different - len(rows):
        raise VidsimError(
            f"{len(rows):,} triplets cannot be filled up to a multiple of {multiple:,}: {n:,} stimuli make "
            f"{different:,} different triplets; expected a smaller multiple"
        )
    if missing > MOST_ADDED:
        raise VidsimError(
            f"filling up to a multiple of {multiple:,} adds {missing:,} triplets, more than memory is meant to hold; "
            "expected a smaller multiple"
        )
    rng = np.random.default_rng([seed, 1])
    known = _codes(rows, n)
    if missing > (different - len(rows)) // 2:  # so many that chance would meet the last ones late
        pool = np.fromiter(combinations(range(n), 3), np.dtype((np.int32, 3)), different)
        pool = pool[~np.isin(_codes(pool, n), known)]
        return np.concatenate([rows, rng.permutation(pool)[:missing].astype(rows.dtype)])
    added = np.empty((0, 3), rows.dtype)
    while len(added) < missing:
        drawn = np.sort(rng.integers(n, size=(2 * missing + 16, 3)).astype(rows.dtype), axis=1)
        drawn = drawn[(drawn[:, 0] < drawn[:, 1]) & (drawn[:, 1] < drawn[:, 2])]
        drawn = drawn[~np.isin(_codes(drawn, n), known)]
        added = np.concatenate([added, drawn])
        added = added[np.sort(np.unique(_codes(added, n), return_index=True)[1])]
    return np.concatenate([rows, added[:missing]])


def _codes(rows: Int[ndarray, "t 3"], n: int) -> Int[ndarray, " t"]:
    i, j, k = rows.astype(np.int64).T
    return (i * n + j) * n + k


def require_size(n: int) -> None:
    """Refuse numbers of stimuli of which no cover is made.

    Parameters
    ----------
    n : int
        Stimuli.

    Raises
    ------
    VidsimError
        If there are fewer than 3, or more than `LARGEST`.
    """
    if n < 3:
        raise VidsimError(f"a design of {n} stimuli; expected at least 3")
    if n > LARGEST:
        raise VidsimError(
            f"{n:,} stimuli need at least {(n * (n // 2) + 2) // 3:,} triplets, more than memory is meant to hold; "
            f"expected at most {LARGEST:,}: choose a part of the stimuli"
        )


def _join(point: int, others: Int[ndarray, " k"]) -> Int[ndarray, "p 3"]:
    """Join a point to others two by two; of an odd number, the first is taken twice."""
    if len(others) % 2:
        others = np.append(others, others[0])
    pairs = others.reshape(-1, 2)
    return np.column_stack([np.full(len(pairs), point, np.int32), pairs])
