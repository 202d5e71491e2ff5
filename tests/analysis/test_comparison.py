import numpy as np
import pytest

from vidsim.analysis.comparison import compare
from vidsim.analysis.trial_interval import trial_interval
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"clip {k}" for k in range(30))
RNG = np.random.default_rng(4)
HUMAN, WORSE = RNG.normal(size=(2, 30, 5))
B = cosine_rsm(Embeddings(IDS, HUMAN + 0.6 * RNG.normal(size=(30, 5))))
A = cosine_rsm(Embeddings(IDS, WORSE))


def trials(count=400, seed=0):
    """Let people single out the stimulus outside the most similar pair, and one in five of them any other."""
    s = cosine_rsm(Embeddings(IDS, HUMAN)).similarities
    rows = []
    for number, row in enumerate(random_rows(30, count, seed).tolist()):
        odd = max(range(3), key=lambda k: s[row[k - 1], row[k - 2]]) if number % 5 else number % 3
        rows.append([row[odd - 2], row[odd - 1], row[odd]])
    return Triplets(IDS, np.array(rows))


TRIALS = trials()


def odd_of(rsm, names):
    alone = {k: rsm.take([n for n in names if n != k]).similarities[0, 1] for k in names}
    return max(alone, key=alone.get)


def test_the_better_space_moves_towards_people():
    found = compare(A, B, TRIALS, names=("before", "after"), resamples=500)
    first = sum(odd_of(A, [IDS[k] for k in row]) == IDS[row[2]] for row in TRIALS.rows) / 400
    second = sum(odd_of(B, [IDS[k] for k in row]) == IDS[row[2]] for row in TRIALS.rows) / 400
    assert found.accuracies == (pytest.approx(first), pytest.approx(second))
    assert found.change == pytest.approx(second - first)
    assert found.change == pytest.approx((found.counts["towards"] - found.counts["away"]) / 400)
    assert 0 < found.interval[0] < found.change < found.interval[1] < 1
    assert found.p < 1e-6
    swapped = compare(B, A, TRIALS, names=("after", "before"), resamples=500)
    assert swapped.change == -found.change
    assert [e.trial for e in swapped.away] == [e.trial for e in found.towards]


def test_examples_are_a_slow_loops():
    found = compare(A, B, TRIALS, resamples=0)
    assert np.isnan(found.interval).all()
    choices = [(frozenset(row), row[2]) for row in TRIALS.rows.tolist()]
    seen = set()
    for example in found.towards:
        choice = choices[example.trial]
        assert choice not in seen
        seen.add(choice)
        assert example.stimuli == tuple(IDS[k] for k in TRIALS.rows[example.trial])
        assert example.odd_a == odd_of(A, example.stimuli) != example.stimuli[2]
        assert example.odd_b == odd_of(B, example.stimuli) == example.stimuli[2]
        assert example.margin_a < 0 < example.margin_b
        assert example.same == choices.count(choice)
        assert example.judged == [triplet for triplet, _ in choices].count(choice[0])
    assert seen == {choices[trial] for trial in found.flips.towards}
    order = [(2 * e.same <= e.judged, e.margin_a - e.margin_b) for e in found.towards]
    assert order == sorted(order)
    assert {contested for contested, _ in order} == {False, True}
    assert any(e.judged > e.same for e in (*found.towards, *found.away))
    assert any(e.same > 1 for e in found.towards)


def test_the_interval_of_few_trials_ends_where_a_difference_can():
    few = TRIALS.select(np.arange(3))
    low, high = compare(A, B, few).interval
    assert -1 <= low <= high <= 1
    wide = trial_interval(np.array([1.0, 0.0, 1.0]), few.rows, even=True)
    assert wide[1] > 1  # what it would be


def test_nothing_to_compare():
    with pytest.raises(VidsimError, match="no trial"):
        compare(A, B, TRIALS.select(np.arange(0)))
    with pytest.raises(VidsimError, match="all similarities of 'B' are equal"):
        compare(A, cosine_rsm(Embeddings(IDS, np.ones((30, 3)))), TRIALS)
