import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.adapt.batches.judged import JudgedPairs, Within
from vidsim.triplets import Triplets

from judges import random_rows

N = 9
IDS = tuple("abcdefghi")


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(0, N), st.sampled_from([2, 3]))
def test_what_lies_within_a_group_is_a_slow_loops(seed, count, size, k):
    rng = np.random.default_rng(seed)
    rows = np.array([rng.choice(N, k, replace=False) for _ in range(count)], np.int32).reshape(-1, k)
    group = rng.permutation(N)[:size]
    numbers, places = Within(rows, N).find(group)
    expected = [number for number, row in enumerate(rows.tolist()) if set(row) <= set(group.tolist())]
    assert numbers.tolist() == expected
    np.testing.assert_array_equal(group[places], rows[expected])


@pytest.mark.parametrize("gradients", [1, 3, 6])
def test_pairs_of_a_group_are_a_slow_loops(gradients):
    triplets = Triplets((*IDS, "j", "k"), random_rows(N + 2, 60)).restrict(IDS)
    rsm = triplets.rsm("split")
    rng = np.random.default_rng(0)
    for _ in range(20):
        group = rng.permutation(N)[:6]
        expected = {
            frozenset((i, j)): rsm.distances[i, j]
            for place, i in enumerate(group.tolist())
            for j in group[place + 1 :].tolist()
            if place < gradients and np.isfinite(rsm.distances[i, j])
        }
        places, human = JudgedPairs(triplets).of(group, gradients)
        found = {frozenset(pair): h for pair, h in zip(group[places].tolist(), human.tolist(), strict=True)}
        if len(set(expected.values())) < 2:
            expected = {}
        assert len(places) == len(found)
        assert found == pytest.approx(expected)


def test_pairs_that_cannot_be_correlated_are_left_out():
    pairs = JudgedPairs(Triplets(IDS, np.array([[0, 1, 2]])))
    assert len(pairs.of(np.array([0, 1, 2]), 3)[0]) == 3
    assert len(pairs.of(np.array([2, 0, 1]), 1)[0]) == 0  # both pairs came apart
    assert len(pairs.of(np.array([0, 1]), 2)[0]) == 0
    assert len(pairs.of(np.array([4, 5, 6]), 3)[0]) == 0
