from itertools import combinations
from math import ceil, comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.data.design import LARGEST, check_cover, cover, fill, pairs_covered, schoenheim
from vidsim.errors import VidsimError


def pairs_of(rows) -> set[tuple[int, int]]:
    return {tuple(sorted(pair)) for row in rows.tolist() for pair in combinations(row, 2)}


@pytest.mark.parametrize("n", [*range(3, 201), 250])
def test_every_pair_is_covered_by_the_fewest_triplets(n):
    rows = cover(n, seed=n)
    assert len(rows) == ceil(n * ceil((n - 1) / 2) / 3)
    assert pairs_of(rows) == set(combinations(range(n), 2))
    assert (np.diff(rows, axis=1) > 0).all()
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_998_stimuli():
    rows = cover(998)
    assert len(rows) == schoenheim(998) == 166_001
    counts = np.zeros((998, 998), int)
    for i, j in combinations(range(3), 2):
        np.add.at(counts, (rows[:, i], rows[:, j]), 1)
    assert (counts[np.triu_indices(998, 1)] > 0).all()


@pytest.mark.parametrize(
    ("n", "minimum"), [(3, 1), (7, 7), (10, 17), (12, 24), (16, 43), (50, 417), (200, 6667), (250, 10_417)]
)
def test_the_schoenheim_numbers(n, minimum):
    assert schoenheim(n) == minimum


def fewest(n: int) -> int:
    """Search for the smallest cover: always through the first open pair, deeper and deeper."""

    def reach(open_pairs: frozenset, left: int) -> bool:
        if not open_pairs:
            return True
        if 3 * left < len(open_pairs):
            return False
        i, j = min(open_pairs)
        blocks = [tuple(sorted((i, j, k))) for k in range(n) if k not in {i, j}]
        return any(reach(open_pairs - set(combinations(block, 2)), left - 1) for block in blocks)

    everything = frozenset(combinations(range(n), 2))
    return next(size for size in range(1, 99) if reach(everything, size))


@pytest.mark.parametrize("n", range(3, 8))
def test_no_smaller_cover_exists(n):
    assert fewest(n) == schoenheim(n)


def test_the_seed_decides():
    first, again, other = cover(50, 1), cover(50, 1), cover(50, 2)
    np.testing.assert_array_equal(first, again)
    assert set(map(tuple, first.tolist())) != set(map(tuple, other.tolist()))


def test_no_stimulus_has_a_role_of_its_own():
    # with 10 stimuli one stands in 5 triplets like all others; its pairs with repeated partners go round with the seed
    twice = np.zeros(10)
    for seed in range(400):
        rows = cover(10, seed)
        counts = np.zeros((10, 10), int)
        for i, j in combinations(range(3), 2):
            np.add.at(counts, (rows[:, i], rows[:, j]), 1)
        twice += ((counts + counts.T) >= 2).sum(axis=1) > 1
    assert twice.sum() == 400
    assert twice.min() > 15
    assert twice.max() < 70


@settings(deadline=None)
@given(st.integers(3, 12), st.integers(0, 60), st.integers(0, 2**32))
def test_covered_pairs_are_counted(n, size, seed):
    rng = np.random.default_rng(seed)
    rows = np.array([rng.permutation(n)[:3] for _ in range(size)], np.int32).reshape(-1, 3)
    assert pairs_covered(rows, n) == len(pairs_of(rows))


def test_a_hole_in_a_cover_is_found():
    rows = cover(9)  # a Steiner system: each triplet alone covers its three pairs
    assert check_cover(rows, 9) == 36
    with pytest.raises(VidsimError, match="covers 33 of 36 pairs"):
        check_cover(rows[1:], 9)


@pytest.mark.parametrize(("n", "multiple"), [(250, 220), (30, 220), (10, 40), (10, 120), (3, 1), (20, 1), (9, 12)])
def test_filling_adds_new_triplets_until_the_number_divides(n, multiple):
    rows = cover(n)
    filled = fill(rows, n, multiple, seed=3)
    assert len(filled) == ceil(len(rows) / multiple) * multiple
    np.testing.assert_array_equal(filled[: len(rows)], rows)
    assert len(np.unique(filled, axis=0)) == len(filled)
    assert (np.diff(filled, axis=1) > 0).all()
    assert filled.max() < n
    np.testing.assert_array_equal(filled, fill(rows, n, multiple, seed=3))


@pytest.mark.parametrize("multiple", [30, 100])  # few are added, or so many that all triplets are listed
def test_what_is_added_is_drawn_evenly(multiple):
    rows = cover(10)
    drawn = np.concatenate([fill(rows, 10, multiple, seed)[len(rows) :] for seed in range(500)])
    taken = np.unique(drawn, axis=0, return_counts=True)[1]
    expected = len(drawn) / (comb(10, 3) - len(rows))
    assert len(taken) == comb(10, 3) - len(rows)
    assert np.abs(taken - expected).max() < 5 * expected**0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cover(2), "a design of 2 stimuli; expected at least 3"),
        (lambda: cover(LARGEST + 1), "20,001 stimuli need at least 66,670,000 triplets"),
        (lambda: fill(cover(5), 5, 11), "4 triplets cannot be filled up to a multiple of 11: 5 stimuli make 10"),
        (lambda: fill(cover(2000), 2000, 20_000_000), "adds 19,333,333 triplets, more than memory"),
        (lambda: fill(cover(5), 5, 0), "a multiple of 0; expected at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused(call, message):
    with pytest.raises(VidsimError, match=message):
        call()


def test_a_seed_below_0_is_refused():
    for make in (lambda: cover(9, -1), lambda: fill(cover(9), 9, 13, -1)):
        with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
            make()
