import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.data.design import balanced, cover, greedy_cover
from vidsim.data.design.places import _turned


def spread(places, n) -> int:
    counts = np.array([[(places[:, p] == i).sum() for p in range(3)] for i in range(n)])
    return int((counts.max(axis=1) - counts.min(axis=1)).max())


@settings(deadline=None)
@given(st.integers(3, 9), st.integers(0, 60), st.integers(0, 2**32))
def test_places_of_any_trials_differ_by_at_most_one(n, size, seed):
    rng = np.random.default_rng(seed)
    rows = np.array([np.sort(rng.permutation(n)[:3]) for _ in range(size)], np.int32).reshape(-1, 3)
    places = balanced(rows, n, rng)
    np.testing.assert_array_equal(np.sort(places, axis=1), rows)
    assert spread(places, n) <= 1


@pytest.mark.parametrize("rows", [cover(100), greedy_cover(60)], ids=["optimal", "greedy"])
def test_places_of_a_design(rows):
    n = int(rows.max()) + 1
    assert spread(balanced(rows, n, np.random.default_rng(0)), n) <= 1


def test_the_order_within_a_trial_is_random():
    seen = [tuple(balanced(cover(7), 7, np.random.default_rng(seed))[0].tolist()) for seed in range(180)]
    tally = np.array([seen.count(order) for order in set(seen)])
    assert len(tally) == 6
    assert tally.min() > 10


@settings(deadline=None)
@given(st.integers(2, 7), st.integers(0, 40), st.integers(0, 2**32))
def test_turned_edges_leave_as_many_going_out_as_coming_in(n, size, seed):
    rng = np.random.default_rng(seed)
    tails = rng.integers(n, size=size)
    heads = (tails + rng.integers(1, n, size=size)) % n
    turned = _turned(tails, heads, rng)
    outgoing = np.where(turned, heads, tails)
    incoming = np.where(turned, tails, heads)
    for point in range(n):
        degree = (tails == point).sum() + (heads == point).sum()
        assert abs((outgoing == point).sum() - (incoming == point).sum()) == degree % 2
