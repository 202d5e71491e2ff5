from collections import defaultdict
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from vidsim.analysis.agreement import agreement
from vidsim.data.judgments.read import read
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets, triplet_numbers

from judges import random_rows


def by_loops(triplets, people):
    """Return mean agreement between people and within, their pairs, and the accuracy of the others' majority."""
    judged = defaultdict(list)
    for row, person in zip(triplets.rows.tolist(), people.tolist(), strict=True):
        judged[frozenset(row)].append((row[2], person))
    shares = {True: [], False: []}
    number = {True: 0, False: 0}
    credits = []
    for votes in judged.values():
        same = {True: [], False: []}
        for (odd, person), (other, somebody) in combinations(votes, 2):
            same[person == somebody >= 0].append(odd == other)
        for within, found in same.items():
            number[within] += len(found)
            if found:
                shares[within].append(np.mean(found))
        credit = []
        for k, (odd, person) in enumerate(votes):
            others = [o for m, (o, p) in enumerate(votes) if m != k and (p != person or person < 0)]
            if others:
                top = [o for o in set(others) if others.count(o) == max(map(others.count, others))]
                credit.append((odd in top) / len(top))
        if credit:
            credits.append(np.mean(credit))
    return [np.mean(shares[False]), np.mean(shares[True]), number[False], number[True], np.mean(credits)]


@pytest.mark.parametrize("seed", range(5))
def test_loops_give_the_same(seed):
    rng = np.random.default_rng(seed)
    trials = Triplets(tuple("abcde"), random_rows(5, 60, seed))
    people = rng.integers(-1, 4, 60)
    found = agreement(trials, people, resamples=0)
    fast = [found.agreement, found.within, found.pairs, found.pairs_within, found.best_accuracy]
    np.testing.assert_allclose(fast, by_loops(trials, people), rtol=1e-12)


def test_who_is_unknown_is_somebody_else():
    trials = Triplets(tuple("abcde"), random_rows(5, 60))
    found, unknown = agreement(trials), agreement(trials, np.full(60, -1))
    assert (found.agreement, found.pairs_within) == (unknown.agreement, 0)
    assert np.isnan([found.within, *found.interval_within]).all()


def judged(rows):
    return Triplets(tuple("abcdefgh"), np.array(rows, np.int32))


def test_a_single_triplet_has_no_interval():
    found = agreement(judged([(0, 1, 2), (0, 1, 2), (0, 2, 1)]))
    assert found.agreement == pytest.approx(1 / 3)
    assert np.isnan(found.interval).all()
    two = agreement(judged([(0, 1, 2), (0, 1, 2), (0, 2, 1), (0, 1, 3), (0, 1, 3)]))
    assert two.interval[0] < two.agreement < two.interval[1]


@pytest.mark.parametrize("again", [(0, 1, 2), (0, 2, 1)])
def test_triplets_that_agree_alike_have_an_interval_where_two_are_apart(again):
    """Whether people agree on all of them or on none."""
    near = [[first[k] for k in again] for first in ((0, 1, 2), (0, 1, 3), (2, 3, 4))]
    found = agreement(judged([(0, 1, 2), (0, 1, 3), (2, 3, 4), *near]))
    assert found.triplets == 3
    assert np.isnan(found.interval).all()
    far = [[first[k] for k in again] for first in ((0, 1, 2), (3, 4, 5))]
    found = agreement(judged([(0, 1, 2), (3, 4, 5), *far]))
    assert found.interval == (found.agreement, found.agreement)


def test_repeated_triplets_of_the_training_judgments(shared):
    judgments = read(shared / "data" / "social-ooo").judgments
    found = agreement(judgments.triplets, judgments.participants[1][~judgments.catch], resamples=200)
    table = pd.read_csv(shared / "data" / "social-ooo" / "data" / "interim" / "similarity" / "train_triplets.csv")
    table["key"] = [tuple(sorted(row)) for row in table[["stim1_name", "stim2_name", "stim3_name"]].to_numpy()]
    sizes = table.groupby("key").size()
    assert found.repeated == (sizes > 1).sum() == 4167
    people = table.groupby("key").participation.nunique()
    assert found.triplets == (people > 1).sum()
    assert found.pairs + found.pairs_within == (sizes * (sizes - 1) // 2).sum()
    assert 0.5 < found.interval[0] < found.agreement < found.interval[1] < 0.6
    assert found.agreement < found.best_accuracy < found.accuracy_bound


def test_bound_of_known_choices():
    # 6:3:1 on every triplet: what the best prediction reaches is 0.6, agreement 0.46, and the bound lies above
    rng = np.random.default_rng(0)
    shown = np.repeat(np.array(list(combinations(range(12), 3))), 30, axis=0)
    odd = rng.choice(3, len(shown), p=[0.6, 0.3, 0.1])
    rows = np.take_along_axis(shown, (odd[:, None] + [1, 2, 0]) % 3, axis=1)
    found = agreement(Triplets(tuple("abcdefghijkl"), rows), resamples=0)
    assert found.agreement == pytest.approx(0.46, abs=0.01)
    assert found.best_accuracy == pytest.approx(0.6, abs=0.02)
    assert found.accuracy_bound == pytest.approx((1 + np.sqrt(6 * found.agreement - 2)) / 3)
    assert found.best_accuracy <= found.accuracy_bound < 0.65


def test_bound_is_reached_where_the_rest_is_split_evenly():
    rows = np.repeat(np.array([[1, 2, 0], [0, 2, 1], [0, 1, 2]]), [6000, 2000, 2000], axis=0)  # 0.6, 0.2, 0.2
    assert agreement(Triplets(tuple("abc"), rows), resamples=0).accuracy_bound == pytest.approx(0.6, abs=1e-3)


def test_nothing_repeated():
    found = agreement(Triplets(tuple("abcd"), np.array([[0, 1, 2], [0, 1, 3]])), np.array([0, 1]))
    assert (found.repeated, found.triplets, found.pairs, found.pairs_within) == (0, 0, 0, 0)
    values = [found.agreement, found.within, found.best_accuracy, found.accuracy_bound, *found.interval]
    assert np.isnan(values).all()
    assert agreement(Triplets(("a",), np.empty((0, 3), np.int32))).repeated == 0


def test_less_than_chance_has_no_bound():
    found = agreement(Triplets(tuple("abc"), np.array([[0, 1, 2], [2, 1, 0]])), resamples=5)
    assert found.agreement == 0
    assert np.isnan(found.accuracy_bound)


def test_same_stimuli_in_any_order_are_one_triplet():
    trials = Triplets(tuple("abcdefg"), random_rows(7, 300))
    group = triplet_numbers(trials.rows)
    sets = [frozenset(row) for row in trials.rows.tolist()]
    assert len(set(zip(group.tolist(), sets, strict=True))) == len(set(sets)) == group.max() + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"participants": np.arange(2)}, "2 participants were given for 5 trials"),
        ({"resamples": -1}, "^resamples -1: expected 0 or more"),
        ({"seed": -1}, "^seed -1: expected 0 or more"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(VidsimError, match=message):
        agreement(Triplets(tuple("abcde"), random_rows(5, 5)), **arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("triplets", "centres"), [(30, 0), (300, 0), (2000, 5)])
def test_the_interval_covers_the_truth(triplets, centres):
    found = []
    for study in range(200):
        rng = np.random.default_rng([study, centres])
        points = rng.standard_normal((60, 4))
        if centres:
            points = np.random.default_rng(9).standard_normal((centres, 4))[rng.integers(centres, size=60)] + points / 3
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        shown = np.repeat(random_rows(60, triplets, study), 2, axis=0)
        a, b, c = shown.T
        odds = np.stack([(points[i] * points[j]).sum(axis=1) for i, j in ((b, c), (a, c), (a, b))], axis=1) / 0.3
        odd = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
        rows = np.take_along_axis(shown, (odd[:, None] + [1, 2, 0]) % 3, axis=1)
        found.append(agreement(Triplets(tuple(map(str, range(60))), rows), resamples=200))
    truth = np.mean([one.agreement for one in found])
    covered = np.mean([one.interval[0] <= truth <= one.interval[1] for one in found])
    assert 0.88 < covered < 0.995
    # neither too wide nor too narrow
    spread = np.std([one.agreement for one in found])
    assert np.mean([np.ptp(one.interval) for one in found]) == pytest.approx(2 * 1.96 * spread, rel=0.2)
