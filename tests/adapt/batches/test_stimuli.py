from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.adapt.batches import Counts, StimulusBatches, TrialBatches
from vidsim.data.judgments.released import read_release
from vidsim.data.splits import validation_split
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

from judges import random_rows

N = 14
IDS = tuple("abcdefghijklmn")
TRIPLETS = Triplets(IDS, random_rows(N, 150))
HUMAN = TRIPLETS.rsm().distances


@given(st.integers(0, 2**32 - 1), st.integers(3, N + 2))
def test_an_epoch_is_one_pass_in_groups_of_one_size(seed, size):
    batches = StimulusBatches(TRIPLETS, stimuli=size, seed=seed)
    steps = list(batches.epoch(1))
    size = min(size, N)
    assert len(steps) == len(batches) == -(-N // size)
    assert all(len(set(s.stimuli.tolist())) == len(s.stimuli) == size for s in steps)
    assert all(len(s.fixed) == 0 for s in steps)
    assert set(np.concatenate([s.stimuli for s in steps]).tolist()) == set(range(N))
    assert Counts.of(steps) == batches.counts(1)


@pytest.mark.parametrize("size", [3, 5, 9, 14])
def test_a_step_has_all_judged_trials_and_pairs_among_its_stimuli(size):
    for step in StimulusBatches(TRIPLETS, stimuli=size, steps=10, seed=0).epoch(0):
        group = step.stimuli.tolist()
        inside = [row for row in TRIPLETS.rows.tolist() if set(row) <= set(group)]
        assert sorted(step.stimuli[step.trials].tolist()) == sorted(inside)
        expected = {frozenset(p): HUMAN[p] for p in combinations(group, 2) if np.isfinite(HUMAN[p])}
        if len(set(expected.values())) < 2:
            expected = {}
        pairs = step.stimuli[step.pairs].tolist()
        assert len(pairs) == len(expected)
        assert {frozenset(p): h for p, h in zip(pairs, step.human.tolist(), strict=True)} == pytest.approx(expected)


def test_a_group_of_all_holds_everything():
    found = StimulusBatches(TRIPLETS, stimuli=99, seed=0).counts()
    assert found == Counts(1, 1, N, 150, int(np.isfinite(TRIPLETS.rsm().upper).sum()))


def test_more_steps_go_over_the_stimuli_again_in_another_order():
    steps = list(StimulusBatches(TRIPLETS, stimuli=7, steps=6, seed=0).epoch(0))
    passes = [np.concatenate([a.stimuli, b.stimuli]) for a, b in zip(steps[::2], steps[1::2], strict=True)]
    assert all(sorted(one.tolist()) == list(range(N)) for one in passes)
    assert not np.array_equal(passes[0], passes[1])
    first = list(StimulusBatches(TRIPLETS, stimuli=7, seed=0).epoch(0))
    np.testing.assert_array_equal(first[1].stimuli, steps[1].stimuli)


def test_an_epoch_is_the_same_whatever_ran_before_and_differs_from_the_next():
    one, other = (StimulusBatches(TRIPLETS, stimuli=5, seed=4) for _ in range(2))
    before = [list(one.epoch(e)) for e in range(3)]
    for a, b in zip(before[2], other.epoch(2), strict=True):
        np.testing.assert_array_equal(a.stimuli, b.stimuli)
        np.testing.assert_array_equal(a.trials, b.trials)
    assert not np.array_equal(before[0][0].stimuli, before[1][0].stimuli)


def test_every_pair_of_stimuli_meets_equally_often():
    met = np.zeros((N, N), int)
    batches = StimulusBatches(TRIPLETS, stimuli=5, steps=3, seed=0)
    for epoch in range(600):
        for step in batches.epoch(epoch):
            met[np.ix_(step.stimuli, step.stimuli)] += 1
    upper = met[np.triu_indices(N, 1)]
    expected = 1800 * 10 / 91
    assert upper.mean() == pytest.approx(expected)
    assert (np.abs(upper - expected) < 5 * np.sqrt(expected)).all()


def test_stimuli_that_were_never_judged_are_not_forwarded():
    wider = Triplets((*IDS, "x", "y"), TRIPLETS.rows)
    steps = list(StimulusBatches(wider, stimuli=7, seed=0).epoch(0))
    assert sorted(np.concatenate([s.stimuli for s in steps]).tolist()) == list(range(N))


def test_pairs_whose_third_stimulus_lies_outside_do_not_count():
    inside = TRIPLETS.restrict(IDS[:9])
    counts = StimulusBatches(inside, stimuli=9, seed=0).counts()
    assert counts.trials == len(inside)
    assert counts.pairs == np.isfinite(inside.rsm("split").upper).sum() < np.isfinite(inside.rsm("any").upper).sum()


@pytest.mark.parametrize(
    ("triplets", "options", "message"),
    [
        (TRIPLETS, {"stimuli": 2}, "stimuli 2: expected 3 or more"),
        (TRIPLETS, {"steps": 0}, "steps 0: expected 1 or more"),
        (TRIPLETS, {"seed": -1}, "seed -1: expected 0 or more"),
        (TRIPLETS.select(np.arange(0)), {}, "no trials among 14 stimuli: nothing to train on"),
    ],
)
def test_what_cannot_be_sampled_is_refused(triplets, options, message):
    with pytest.raises(VidsimError, match=message):
        StimulusBatches(triplets, **{"stimuli": 5, "seed": 0, **options})


def test_the_papers_constraints_cost_twenty_times_fewer_forwards(shared):
    judgments, stimuli = read_release(shared / "data" / "social-ooo")
    train, _ = validation_split([s.id for s in stimuli if s.split == "train"])
    triplets = judgments.triplets.restrict(train)
    paper = TrialBatches(triplets, seed=0).counts()
    found = StimulusBatches(triplets, stimuli=64, steps=20, seed=0).counts()
    assert found.trials >= paper.trials
    assert found.pairs >= paper.pairs
    assert paper.forwards > 20 * found.forwards
