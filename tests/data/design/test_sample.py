from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.stats import chisquare

from vidsim.data.design.sample import MOST_SAMPLED, Sample, unrank
from vidsim.errors import VidsimError


def test_numbers_name_triplets_in_the_order_of_their_last_then_middle_stimulus():
    expected = sorted(combinations(range(12), 3), key=lambda three: three[::-1])
    assert unrank(np.arange(comb(12, 3))).tolist() == [list(three) for three in expected]


def test_numbering_is_exact_where_floating_point_is_not():
    rng = np.random.default_rng(0)
    last = rng.integers(3, MOST_SAMPLED, 5000)
    edges = np.array([comb(int(k), 3) for k in last])
    for shift in (-1, 0, 1):
        numbers = [int(edge) + shift for edge in edges]
        for (i, j, k), number in zip(unrank(np.array(numbers)).tolist(), numbers, strict=True):
            assert 0 <= i < j < k
            assert comb(k, 3) + comb(j, 2) + i == number
    assert unrank(np.array([comb(MOST_SAMPLED, 3) - 1])).tolist() == [[MOST_SAMPLED - k for k in (3, 2, 1)]]


def test_all_triplets_come_once():
    for n in (3, 4, 9):
        rows = Sample(n, 1).part(0, 10**6)
        assert sorted(map(tuple, rows.tolist())) == list(combinations(range(n), 3))


def test_a_sample_prefers_no_stimulus_no_pair_and_no_triplet():
    n, t = 500, 40_000  # 20.7 million triplets: more than are held
    rows = Sample(n, 0).part(0, t)
    assert len(np.unique(rows, axis=0)) == t
    # stimuli of a triplet exclude each other, so counts vary less than independent ones: the test is not sharper
    assert chisquare(np.bincount(rows.ravel(), minlength=n)).pvalue > 0.001
    pairs = np.concatenate([rows[:, [0, 1]], rows[:, [0, 2]], rows[:, [1, 2]]]).astype(np.int64)
    counts = np.bincount(pairs[:, 0] * n + pairs[:, 1], minlength=n * n).reshape(n, n)[np.triu_indices(n, 1)]
    assert counts.var() == pytest.approx(counts.mean(), rel=0.03)  # Poisson
    firsts = [tuple(Sample(6, seed).part(0, 1)[0].tolist()) for seed in range(400)]
    assert chisquare([firsts.count(three) for three in combinations(range(6), 3)]).pvalue > 0.001


def test_parts_are_parts_of_one_sample():
    sample = Sample(1000, 4)
    whole = sample.part(0, 3000)
    np.testing.assert_array_equal(np.concatenate([sample.part(0, 1234), sample.part(1234, 3000)]), whole)
    assert len(Sample(5).part(8, 20)) == 2


@pytest.mark.parametrize("n", [0, 2, MOST_SAMPLED + 1])
def test_too_few_or_too_many_stimuli_are_refused(n):
    with pytest.raises(VidsimError, match="expected 3 to 2,000,000 stimuli"):
        Sample(n)


def test_a_seed_below_0_is_refused():
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        Sample(9, -1)
