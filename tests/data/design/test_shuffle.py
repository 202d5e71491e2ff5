import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kendalltau, kstest

from vidsim.data.design.shuffle import Shuffle
from vidsim.errors import VidsimError


@given(size=st.integers(1, 1500), seed=st.integers(0, 5), held=st.sampled_from([0, 1 << 22]))
def test_every_number_comes_once(size, seed, held):
    order = Shuffle(size, seed, held=held)
    parts = [order.part(start, start + 400) for start in range(0, size + 400, 400)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(size))


@pytest.mark.parametrize("size", [10**9 + 7, 2**62])
def test_the_beginning_of_a_long_order_is_uniform_and_without_trend(size):
    found = Shuffle(size, 3).part(0, 20_000)
    assert len(np.unique(found)) == 20_000
    assert kstest(found / size, "uniform").pvalue > 0.001
    assert kendalltau(found[:-1], found[1:]).pvalue > 0.001
    for bits in (found & 15, found >> 4 & 15):
        assert chisquare(np.bincount(bits, minlength=16)).pvalue > 0.001


def test_all_orders_of_few_numbers_come_equally_often():
    # six orders of three numbers, over seeds: the network must not prefer any
    for held in (0, 1 << 22):
        seen = [tuple(Shuffle(3, seed, held=held).part(0, 3).tolist()) for seed in range(300)]
        counts = [seen.count(order) for order in set(seen)]
        assert len(counts) == 6
        assert chisquare(counts).pvalue > 0.001


def test_the_seed_decides():
    one, two, three = (Shuffle(10**12, seed).part(5, 50).tolist() for seed in (0, 0, 1))
    assert one == two
    assert not set(one) & set(three)


@pytest.mark.parametrize("size", [0, -1, 2**62 + 1])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(VidsimError, match=r"expected 1 to 2\*\*62"):
        Shuffle(size)
