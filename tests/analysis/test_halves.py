import numpy as np
import pytest
from scipy.stats import chisquare, spearmanr

from vidsim.analysis import halves as module
from vidsim.analysis.halves import pair_positions, trial_halves, vote_halves
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets, pair_index

from judges import random_rows


def trials(n=12, t=150, seed=0):
    return Triplets(tuple(map(str, range(n))), random_rows(n, t, seed))


def unpacked(halves, half):
    return np.divmod(half, halves.base)


def test_pair_positions_undo_pair_index():
    i, j = np.triu_indices(37, 1)
    found = pair_positions(pair_index(i, j, 37), 37)
    np.testing.assert_array_equal(found, (i, j))


@pytest.mark.parametrize("most", [511, 0])
@pytest.mark.parametrize("make", [trial_halves, vote_halves])
def test_correlations_are_scipys(make, most, monkeypatch):
    monkeypatch.setattr(module, "MOST_CODED", most)  # 0: no table of codes
    halves = make(trials(), "split")
    rng = np.random.default_rng(0)
    for split in range(20):
        half = halves.draw(rng)
        (shown, together), (shown_rest, together_rest) = (unpacked(halves, h) for h in (half, halves.total - half))
        seen = (shown > 0) & (shown_rest > 0)
        sides = together[seen] / shown[seen], together_rest[seen] / shown_rest[seen]
        r, pairs = halves.correlate(half)
        assert pairs == seen.sum() > 30
        assert r == pytest.approx(spearmanr(*sides).statistic, abs=1e-12)
        times = np.random.default_rng(split).integers(0, 4, len(seen))
        written_out = [np.repeat(side, times[seen]) for side in sides]
        assert halves.correlate(half, times.astype(float))[0] == pytest.approx(
            spearmanr(*written_out).statistic, abs=1e-12
        )


def test_all_judgments_of_pairs_judged_twice_are_split():
    judged = trials()
    counts = judged.counts()
    twice = counts.shown >= 2
    for halves in (trial_halves(judged, "split"), vote_halves(judged, "split")):
        shown, together = unpacked(halves, halves.total)
        np.testing.assert_array_equal(shown, counts.shown[twice])
        np.testing.assert_array_equal(together, counts.together[twice])
        np.testing.assert_array_equal(pair_index(halves.i, halves.j, 12), np.flatnonzero(twice))


def test_a_trial_goes_to_one_half_with_its_three_pairs():
    # four triplets without a common pair, each judged three times with another odd one
    rows = [np.roll([3 * k, 3 * k + 1, 3 * k + 2], turn) for k in range(4) for turn in range(3)]
    halves = trial_halves(Triplets(tuple("abcdefghijkl"), np.array(rows)), "split")
    rng = np.random.default_rng(0)
    firsts = np.zeros(4)
    for _ in range(400):
        shown, together = unpacked(halves, halves.draw(rng))
        for k in range(4):
            mine = (halves.i // 3 == k) & (halves.j // 3 == k)
            assert len(set(shown[mine])) == 1
            assert together[mine].sum() == shown[mine][0]
            firsts[k] += shown[mine][0]
        assert shown.sum() == 3 * 6
    assert chisquare(firsts).pvalue > 1e-3


def test_a_person_goes_to_one_half():
    rows = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]] * 4)
    people = np.tile([7, 2, 5], 4)  # each judges one triplet four times
    halves = trial_halves(Triplets(tuple("abcdefghi"), rows), "split", people)
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(60):
        shown, _ = unpacked(halves, halves.draw(rng))
        assert sorted(shown) == [0] * 6 + [4] * 3  # one person of three
        seen.add(int(halves.i[shown > 0][0]) // 3)
    assert seen == {0, 1, 2}


def test_trials_with_a_stimulus_outside_are_split_too():
    everything = trials(n=20, t=400)
    inside = everything.restrict([str(k) for k in range(8)])
    halves = trial_halves(inside, "any")
    counts = inside.counts("any")
    assert halves.trials == len(inside) + len(inside.outside)
    np.testing.assert_array_equal(halves.total // halves.base, counts.shown[counts.shown > 1])
    np.testing.assert_array_equal(halves.total % halves.base, counts.together[counts.shown > 1])
    assert trial_halves(inside, "split").trials == len(inside)


def test_votes_are_shuffled_and_cut():
    rows = np.array([[0, 1, 2]] * 3 + [[0, 2, 1]] * 2 + [[1, 2, 0]] * 2)
    halves = vote_halves(Triplets(("a", "b", "c"), rows), "split")
    rng = np.random.default_rng(0)
    drawn = np.array([unpacked(halves, halves.draw(rng)) for _ in range(4000)])
    assert (drawn[:, 0] == 3).all()  # of 7
    slow = np.random.default_rng(1)
    for pair, stayed in enumerate((3, 2, 2)):
        votes = np.repeat([1, 0], [stayed, 7 - stayed])
        expected = np.bincount([slow.permutation(votes)[:3].sum() for _ in range(20_000)], minlength=4) / 20_000
        found = np.bincount(drawn[:, 1, pair], minlength=4) / 4000
        assert np.abs(found - expected).max() < 0.03


def test_pairs_must_be_judged_twice():
    once = Triplets(tuple("abcdef"), np.array([[0, 1, 2], [3, 4, 5], [0, 1, 3]]))
    for make in (trial_halves, vote_halves):
        with pytest.raises(VidsimError, match=r"1 of 8 judged pairs were judged more than once.*at least 3"):
            make(once, "split")
