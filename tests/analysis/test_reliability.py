import time
import warnings
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr

from vidsim.analysis.reliability import METHODS, percentile_interval, reliability, restrict_people, spearman_brown
from vidsim.data.judgments.read import read
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

from judges import random_rows


@pytest.fixture(scope="module")
def social(shared):
    return read(shared / "data" / "social-ooo").judgments


def planted(n, dims, seed, centres=0):
    """Return similarities of random points, around some centres that are the same for every seed."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, dims))
    if centres:
        middle = np.random.default_rng(99).standard_normal((centres, dims))
        points = middle[rng.integers(centres, size=n)] + 0.5 * points
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points @ points.T


def judge(similarities, shown, temperature, rng):
    """Let people judge triplets: (a, b, odd)."""
    a, b, c = shown.T
    odds = np.stack([similarities[b, c], similarities[a, c], similarities[a, b]], axis=1) / temperature
    odd = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
    rows = np.take_along_axis(shown, (odd[:, None] + [1, 2, 0]) % 3, axis=1)
    return Triplets(tuple(map(str, range(len(similarities)))), rows.astype(np.int32))


def mean_of_halves(triplets, splits, seed):
    """Return the mean correlation of halves, by loops."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(splits):
        order = rng.permutation(len(triplets))
        shares = []
        for part in np.array_split(order, 2):
            seen = {}
            for a, b, odd in triplets.rows[part].tolist():
                for pair, together in (((a, b), 1), ((a, odd), 0), ((b, odd), 0)):
                    seen.setdefault(tuple(sorted(pair)), []).append(together)
            shares.append({pair: np.mean(votes) for pair, votes in seen.items()})
        both = sorted(shares[0].keys() & shares[1].keys())
        found.append(spearmanr([shares[0][p] for p in both], [shares[1][p] for p in both]).statistic)
    return np.mean(found)


def test_trial_splits_of_the_training_judgments(social):
    start = time.process_time()
    found = reliability(social.triplets)
    assert time.process_time() - start < 10  # about 2 s, intervals included
    assert found.spearman_brown == pytest.approx(0.49, abs=0.005)
    assert found.r == pytest.approx(found.spearman_brown / (2 - found.spearman_brown))
    assert (found.protocol, found.splits, found.undefined, found.trials) == ("default", 1000, 0, 24_096)
    assert found.expected_rho_of_perfect_model == pytest.approx(0.70, abs=0.005)
    assert 14_000 < found.pairs < 14_200
    low, high = found.interval
    assert 0.44 < low < found.split_interval[0] < found.spearman_brown < found.split_interval[1] < high < 0.54


@pytest.mark.parametrize("method", METHODS)
def test_three_stimuli_have_no_interval(method):
    few, more = (
        reliability(
            Triplets(tuple("abcde"), random_rows(stimuli, 60)),
            method=method,
            participants=np.arange(60) % 4 if method == "participants" else None,
            splits=50,
        )
        for stimuli in (3, 4)
    )
    assert not np.isnan([few.r, *few.split_interval]).any()
    assert np.isnan(few.interval).all()
    assert more.interval[0] < more.interval[1]


def test_shuffled_votes_of_the_training_judgments(social):
    found = reliability(social.triplets, method="votes", resamples=0)
    assert found.protocol == "paper"
    assert found.spearman_brown == pytest.approx(0.50, abs=0.005)
    assert found.spearman_brown_squared == pytest.approx(0.25, abs=0.005)
    assert found.pairs == 17_654  # judged at least twice
    assert np.isnan(found.interval).all()


def test_people_in_halves(social):
    people = social.participants[1][~social.catch]
    found = reliability(social.triplets, method="participants", participants=people, splits=200, resamples=0)
    assert found.spearman_brown == pytest.approx(0.488, abs=0.005)
    unknown = np.where(people == 3, -1, people)
    without = reliability(social.triplets, method="participants", participants=unknown, splits=2, resamples=0)
    assert without.left_out == (people == 3).sum() == 24_096 - without.trials


def test_mean_of_loops():
    trials = Triplets(tuple("abcdefghijkl"), random_rows(12, 150))
    fast = reliability(judge(planted(12, 2, 0), trials.rows, 0.5, np.random.default_rng(0)), splits=2000, resamples=0)
    slow = mean_of_halves(judge(planted(12, 2, 0), trials.rows, 0.5, np.random.default_rng(0)), 200, 1)
    assert fast.r == pytest.approx(slow, abs=0.02)  # either is uncertain by less than 0.007


def test_reliability_is_the_correlation_of_two_studies():
    rng = np.random.default_rng(0)
    truth = planted(40, 3, 1)
    # other triplets in each: the third stimulus a pair is shown with is chance, too
    studies = [judge(truth, random_rows(40, 4000, study), 0.5, rng) for study in range(12)]
    upper = np.array([study.rsm().upper for study in studies])
    between = [spearmanr(upper[k], upper[k + 1]).statistic for k in range(0, 12, 2)]
    found = [reliability(study, splits=100, resamples=0) for study in studies]
    estimate = np.mean([one.spearman_brown for one in found])
    assert estimate == pytest.approx(np.mean(between), abs=0.02)
    assert 0.6 < estimate < 0.9
    # what no end of judges would show is the perfect model
    perfect = judge(truth, np.tile(np.array(list(combinations(range(40), 3))), (20, 1)), 0.5, rng).rsm().upper
    rho = np.mean([spearmanr(perfect, one).statistic for one in upper])
    assert np.mean([one.expected_rho_of_perfect_model for one in found]) == pytest.approx(rho, abs=0.02)


def test_sure_judges_agree_and_random_ones_do_not():
    shown = random_rows(20, 3000)
    rng = np.random.default_rng(0)
    sure = reliability(judge(planted(20, 1, 0), np.tile(shown[:200], (20, 1)), 1e-6, rng), splits=50, resamples=50)
    assert sure.spearman_brown > 0.99
    chance = [reliability(judge(np.eye(20), shown, 1.0, rng), splits=60, resamples=100) for _ in range(8)]
    assert abs(np.mean([one.r for one in chance])) < 0.07  # either is uncertain by 1 / sqrt(190 pairs)
    assert sum(one.interval[0] < 0 < one.interval[1] for one in chance) > 5
    negative = [one for one in chance if one.r < 0]
    assert len(negative) > 1
    for one in negative:
        assert one.spearman_brown == pytest.approx(2 * one.r / (1 + one.r))
        assert np.isnan([one.expected_rho_of_perfect_model, one.spearman_brown_squared]).all()


def test_halves_that_contradict_each_other():
    # each pair stays together in one of three trials: the half that has it and the other that has not
    rows = np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0], [3, 4, 5], [5, 3, 4], [4, 5, 3]])
    found = reliability(Triplets(tuple("abcdef"), rows), method="votes", splits=500, resamples=50)
    assert found.r == pytest.approx(-1)
    assert found.undefined > 0
    assert np.isnan([found.spearman_brown, found.expected_rho_of_perfect_model]).all()


def test_equal_shares_have_no_correlation_and_no_warning():
    trials = Triplets(tuple("abcd"), np.empty((0, 3), np.int32), np.array([[0, 1, 1], [0, 2, 1], [0, 3, 1]] * 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = reliability(trials, context="any", splits=20, resamples=20)
    assert found.undefined == 20
    assert np.isnan([found.r, found.spearman_brown, found.expected_rho_of_perfect_model, *found.interval]).all()


def test_the_seed_decides_and_resamples_do_not():
    trials = judge(planted(15, 2, 0), random_rows(15, 600), 0.5, np.random.default_rng(0))
    first, again, other = (reliability(trials, splits=50, resamples=20, seed=seed) for seed in (3, 3, 4))
    assert (first.r, first.interval) == (again.r, again.interval)
    assert first.r != other.r
    assert reliability(trials, splits=50, resamples=0, seed=3).r == first.r


def test_any_context_uses_more():
    everything = judge(planted(60, 3, 0), random_rows(60, 6000), 0.5, np.random.default_rng(0))
    inside = everything.restrict([str(k) for k in range(20)])
    within, more = (reliability(inside, context=context, splits=200, resamples=0) for context in ("split", "any"))
    assert more.trials == len(inside) + len(inside.outside) > 5 * within.trials
    assert more.spearman_brown > within.spearman_brown + 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "people"}, "no method 'people': expected 'trials', 'participants' or 'votes'"),
        ({"method": "participants"}, "needs to know them"),
        ({"method": "participants", "participants": np.zeros(60, np.int64)}, "at least 2; these trials name 1"),
        ({"method": "participants", "participants": np.full(60, -1)}, "at least 2; these trials name 0"),
        ({"method": "participants", "participants": np.arange(3)}, "3 participants were given for 60 trials"),
        ({"context": "all"}, "no context 'all': expected 'split' or 'any'"),
        ({"splits": 0}, "splits 0: expected 1 or more"),
        ({"resamples": -1}, "resamples -1: expected 0 or more"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(VidsimError, match=message):
        reliability(Triplets(tuple("abcdef"), random_rows(6, 60)), **arguments)


def test_spearman_brown_of_perfect_disagreement_is_undefined():
    np.testing.assert_allclose(
        spearman_brown(np.array([0.0, 0.5, 1.0, -1.0, -1 + 1e-15])), [0, 2 / 3, 1, np.nan, np.nan]
    )
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


def test_the_order_of_trials_changes_nothing():
    trials = Triplets(tuple("abcdefghij"), random_rows(10, 300))
    rng = np.random.default_rng(0)
    shuffled = trials.rows[rng.permutation(300)]
    shuffled[::2, :2] = shuffled[::2, 1::-1]
    for method in ("trials", "votes"):
        found, again = (
            reliability(Triplets(trials.ids, rows), method=method, splits=20, resamples=20)
            for rows in (trials.rows, shuffled)
        )
        assert found.spearman_brown == again.spearman_brown
        assert found.interval == again.interval


def test_people_follow_their_trials_into_a_split():
    trials = Triplets(tuple("abcdefgh"), random_rows(8, 200))
    people = np.random.default_rng(0).integers(-1, 5, 200)
    ids = ["g", "b", "d", "a"]
    inside, who = restrict_people(trials, people, ids)
    expected = trials.restrict(ids)
    assert len(who) == len(inside) + len(inside.outside) == len(expected) + len(expected.outside)
    for person in range(-1, 5):
        own = trials.select(people == person).restrict(ids)
        np.testing.assert_array_equal(inside.rows[who[: len(inside)] == person], own.rows)
        np.testing.assert_array_equal(inside.outside[who[len(inside) :] == person], own.outside)
    with pytest.raises(VidsimError, match="3 participants were given for 200 trials"):
        restrict_people(trials, people[:3], ids)


@pytest.mark.slow
@pytest.mark.parametrize("centres", [0, 5])
def test_the_interval_covers_the_truth(centres):
    found = []
    for study in range(120):
        rng = np.random.default_rng([study, centres])
        trials = judge(planted(40, 5, study, centres), random_rows(40, 1040, study), 0.3, rng)
        found.append(reliability(trials, splits=100, resamples=200))
    truth = spearman_brown(np.array([np.mean([one.r for one in found])]))[0]
    covered = np.mean([one.interval[0] <= truth <= one.interval[1] for one in found])
    assert covered >= 0.9
    # the chance of splitting alone is no substitute
    assert np.mean([one.split_interval[0] <= truth <= one.split_interval[1] for one in found]) < covered
    # off-centre by far less than it is wide
    off = np.mean([np.mean(one.interval) - one.spearman_brown for one in found])
    assert abs(off) < 0.15 * np.mean([np.ptp(one.interval) for one in found])
