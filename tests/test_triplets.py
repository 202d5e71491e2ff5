import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.errors import VidsimError
from vidsim.triplets import Triplets, pair_index

from judges import random_rows


def slow_counts(ids, trials, among, context):
    """Count pairs with loops, from trials given as names."""
    shown = {frozenset((i, j)): 0 for i in among for j in among if i != j}
    together = dict(shown)
    for a, b, odd in trials:
        inside = sum(name in among for name in (a, b, odd))
        if inside < (3 if context == "split" else 2):
            continue
        for pair in ((a, b), (a, odd), (b, odd)):
            key = frozenset(pair)
            if key in shown:
                shown[key] += 1
                together[key] += pair == (a, b)
    return shown, together


@given(st.integers(0, 10**6), st.integers(4, 9), st.integers(0, 40))
def test_rsm_is_a_slow_loops(seed, n, t):
    names = [f"s{i}" for i in range(n)]
    rows = random_rows(n, t, seed) if t else np.empty((0, 3), np.int32)
    trials = [tuple(names[i] for i in row) for row in rows.tolist()]
    among = list(np.random.default_rng(seed).permutation(names)[: max(2, n // 2)])
    for context in ("split", "any"):
        for ids, triplets in ((names, Triplets(names, rows)), (among, Triplets(names, rows).restrict(among))):
            rsm = triplets.rsm(context)
            shown, together = slow_counts(names, trials, set(ids), context)
            assert tuple(rsm.ids) == tuple(ids)
            for i, a in enumerate(ids):
                assert rsm.similarities[i, i] == 1
                assert rsm.counts[i, i] == 0
                for j, b in enumerate(ids):
                    if i == j:
                        continue
                    key = frozenset((a, b))
                    assert rsm.counts[i, j] == shown[key]
                    expected = together[key] / shown[key] if shown[key] else np.nan
                    np.testing.assert_equal(rsm.similarities[i, j], expected)


@given(st.integers(0, 10**6))
def test_restricting_twice_is_restricting_once(seed):
    names = [f"s{i}" for i in range(9)]
    triplets = Triplets(names, random_rows(9, 60, seed))
    large = list(np.random.default_rng(seed).permutation(names)[:7])
    small = large[1:5]
    for context in ("split", "any"):
        once = triplets.restrict(small).rsm(context)
        twice = triplets.restrict(large).restrict(small).rsm(context)
        np.testing.assert_array_equal(once.similarities, twice.similarities)
        np.testing.assert_array_equal(once.counts, twice.counts)


def test_order_of_ids_and_of_trials_changes_nothing():
    names = [f"s{i}" for i in range(8)]
    rows = random_rows(8, 200)
    rsm = Triplets(names, rows).rsm()
    order = np.random.default_rng(1).permutation(8)
    shuffled = Triplets([names[i] for i in order], np.argsort(order).astype(np.int32)[rows[::-1]]).rsm()
    np.testing.assert_array_equal(shuffled.take(names).similarities, rsm.similarities)


def test_pairs_are_numbered_as_the_upper_triangle():
    for n in (2, 3, 10):
        i, j = np.triu_indices(n, 1)
        np.testing.assert_array_equal(pair_index(i, j, n), np.arange(len(i)))
        np.testing.assert_array_equal(pair_index(j, i, n), np.arange(len(i)))


def test_more_trials_than_fit_in_one_chunk(monkeypatch):
    triplets = Triplets([str(i) for i in range(6)], random_rows(6, 100))
    whole = triplets.counts()
    monkeypatch.setattr("vidsim.triplets.CHUNK", 7)
    parts = triplets.counts()
    np.testing.assert_array_equal(whole.shown, parts.shown)
    np.testing.assert_array_equal(whole.together, parts.together)
    assert whole.shown.sum() == 300
    assert whole.together.sum() == 100


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1, 3]], "positions from 0 to 3; expected 0 to 2"),
        ([[0, -1, 2]], "positions from -1 to 2"),
        ([[0, 1, 2], [1, 1, 2]], "trial 1 shows 'b' more than once .1 such trials"),
        ([[0, 1, 0]], "more than once"),
        ([[2, 1, 1]], "shows 'b' more than once"),
    ],
)
def test_what_is_no_trial_is_refused(rows, message):
    with pytest.raises(VidsimError, match=message):
        Triplets(("a", "b", "c"), np.array(rows))


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([0, 1, 2]), r"rows of trials of shape \(3,\) were given; expected an array of shape \(n, 3\)"),
        (np.array([[0, 1, 2, 0]]), r"rows of trials of shape \(1, 4\) were given; expected three positions"),
        (np.array([[0.0, 1.0, 2.0]]), "rows of trials of type float64 were given; expected integers"),
        (np.array([[0.0, 1.0, np.nan]]), "expected integers"),
        (np.array([[0, 1, 2]], object), "rows of trials of type object"),
        ([[0, 1, 2]], "rows of trials came as list; expected a numpy array"),
    ],
)
def test_rows_that_are_not_three_integers_are_refused(rows, message):
    with pytest.raises(VidsimError, match=message):
        Triplets(("a", "b", "c"), rows)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("outside", "message"),
    [
        ([[0, 1, 5]], "says from 5 to 5 of whether two stayed together; expected 0 or 1"),
        ([[0, 1, 1], [0, 2, -1]], "says from -1 to 1"),
        ([[0, 1, 0], [1, 1, 1]], "outside of trials pairs 'b' with itself"),
        ([[0, 3, 1]], "outside of trials hold positions from 0 to 3"),
        ([[0, 1]], r"outside of trials of shape \(1, 2\)"),
    ],
)
def test_what_says_nothing_of_two_is_refused(outside, message):
    with pytest.raises(VidsimError, match=message):
        Triplets(("a", "b", "c"), np.array([[0, 1, 2]]), np.array(outside))


@pytest.mark.usefixtures("unhooked")
def test_unsigned_positions_are_those_they_say():
    signed = Triplets(("a", "b", "c", "d"), np.array([[3, 1, 2], [0, 3, 1]]))
    for kind in (np.uint8, np.uint64):
        unsigned = Triplets(signed.ids, signed.rows.astype(kind), np.array([[0, 1, 1]], kind))
        np.testing.assert_array_equal(unsigned.rsm().similarities, signed.rsm().similarities)
        assert unsigned.rsm("any").similarities[0, 1] == 0.5


def test_bad_names_are_refused():
    triplets = Triplets(("a", "b", "c"), np.array([[0, 1, 2]]))
    with pytest.raises(VidsimError, match="no context 'all': expected 'split' or 'any'"):
        triplets.counts("all")
    with pytest.raises(VidsimError, match="1 of 1 ids are not among the judged stimuli, the first is 'x'"):
        triplets.restrict(["x"])
    with pytest.raises(VidsimError, match="'a' stands more than once"):
        Triplets(("a", "a"), np.empty((0, 3), np.int32))


def test_selected_trials_keep_their_stimuli():
    triplets = Triplets(("a", "b", "c", "d"), np.array([[0, 1, 2], [3, 1, 0]]))
    assert triplets.select(np.array([False, True])).rows.tolist() == [[3, 1, 0]]
    assert triplets.select(np.array([1])).ids == triplets.ids
