import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.adapt.batches import Counts, TrialBatches
from vidsim.data.judgments.released import read_release
from vidsim.data.splits import validation_split
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

from judges import random_rows

N = 30
IDS = tuple(f"v{i}" for i in range(N))
TRIPLETS = Triplets(IDS, random_rows(N, 203))
HUMAN = TRIPLETS.rsm().distances


def unique_rows(rows):
    return sorted(map(tuple, np.asarray(rows).tolist()))


def seen(steps):
    """Return the trials of some steps, as positions among the ids."""
    return np.concatenate([np.concatenate([s.stimuli, s.fixed])[s.trials] for s in steps])


def same(one, other):
    names = ("stimuli", "fixed", "trials", "pairs", "human")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(0, 8), st.integers(0, 203))
def test_an_epoch_holds_each_trial_once_and_each_extra_at_most_once_more(seed, batch, rsa_steps, extra):
    batches = TrialBatches(TRIPLETS, batch=batch, rsa_steps=rsa_steps, extra_trials=extra, seed=seed)
    steps = list(batches.epoch(3))
    assert len(steps) == len(batches) == -(-203 // batch)
    every = unique_rows(seen(steps))
    more = list(every)
    for row in unique_rows(TRIPLETS.rows):
        more.remove(row)
    assert len(more) == extra
    left = unique_rows(TRIPLETS.rows)
    for row in more:
        left.remove(row)  # without replacement
    sizes = np.array([len(s.trials) for s in steps])
    assert sizes[:-1].min(initial=batch) >= batch
    spread = sizes[:-1] - batch
    assert spread.size == 0 or spread.max() - spread.min() <= 1
    assert sum(len(s.pairs) > 0 for s in steps) == rsa_steps
    assert Counts.of(steps) == batches.counts(3)


def test_each_trial_forwards_its_three_stimuli_in_order():
    for step in TrialBatches(TRIPLETS, rsa_steps=0, seed=0).epoch(0):
        assert len(step.stimuli) == 3 * len(step.trials)
        np.testing.assert_array_equal(step.stimuli[step.trials].ravel(), step.stimuli)
        assert len(step.fixed) == len(step.pairs) == len(step.human) == 0


@pytest.mark.parametrize(("batch", "rsa_steps"), [(4, 6), (5, 6), (4, 1), (0, 8)])
def test_rsa_steps_are_evenly_spaced_and_end_the_epoch(batch, rsa_steps):
    batches = TrialBatches(TRIPLETS, batch=batch, rsa_steps=rsa_steps, seed=0)
    where = [k for k, step in enumerate(batches.epoch(0)) if len(step.pairs)]
    assert len(where) == rsa_steps
    assert where[-1] == len(batches) - 1
    gaps = np.diff([-1, *where])
    assert gaps.max() - gaps.min() <= 1


def test_an_rsa_step_has_all_judged_pairs_that_touch_one_with_gradient():
    steps = [s for s in TrialBatches(TRIPLETS, seed=5).epoch(2) if len(s.pairs)]
    assert len(steps) == 6
    for step in steps:
        own = 3 * len(step.trials)
        assert (len(step.stimuli), len(step.fixed)) == (own + 6, 18)
        every = np.concatenate([step.stimuli, step.fixed])
        group = every[own:]
        assert len(set(group.tolist())) == 24
        expected = {
            (own + i, own + j): HUMAN[group[i], group[j]]
            for i in range(6)
            for j in range(i + 1, 24)
            if np.isfinite(HUMAN[group[i], group[j]])
        }
        found = {tuple(sorted(p)): h for p, h in zip(step.pairs.tolist(), step.human.tolist(), strict=True)}
        assert len(found) == len(step.pairs)
        assert found == pytest.approx(expected)


def test_of_24_stimuli_judged_throughout_6_touch_123_pairs():
    rows = np.array([(a, b, c) for a in range(30) for b in range(a) for c in range(b)])
    full = Triplets(IDS, rows[np.random.default_rng(0).permutation(len(rows))])
    found = TrialBatches(full, seed=0).counts()
    assert (found.rsa_steps, found.pairs) == (6, 6 * 123)


def test_which_six_have_gradient_is_drawn_anew():
    steps = [s for e in range(40) for s in TrialBatches(TRIPLETS, seed=0).epoch(e) if len(s.pairs)]
    drawn = np.bincount(np.concatenate([s.stimuli[-6:] for s in steps]), minlength=N)
    assert drawn.sum() == 240 * 6
    assert (np.abs(drawn - 48) < 6 * np.sqrt(48)).all()


def test_an_epoch_is_the_same_whatever_ran_before_and_differs_from_the_next():
    one, other = (TrialBatches(TRIPLETS, extra_trials=9, seed=1) for _ in range(2))
    before = [list(one.epoch(e)) for e in range(3)]
    again = list(other.epoch(2))
    assert all(same(a, b) for a, b in zip(before[2], again, strict=True))
    half = one.epoch(2)
    next(half)
    assert same(next(one.epoch(2)), again[0])  # epochs may overlap
    assert not same(before[0][0], before[1][0])
    assert not same(next(TrialBatches(TRIPLETS, extra_trials=9, seed=2).epoch(0)), before[0][0])


def test_variants_share_the_order_of_trials_and_the_rsa_steps():
    hybrid, triplet, matched, other = (
        list(TrialBatches(TRIPLETS, seed=3, **options).epoch(1))
        for options in ({}, {"rsa_steps": 0}, {"rsa_steps": 0, "extra_trials": 20}, {"extra_trials": 20})
    )
    np.testing.assert_array_equal(seen(hybrid), seen(triplet))
    for a, b in zip(triplet, matched, strict=True):
        np.testing.assert_array_equal(a.stimuli, b.stimuli[: len(a.stimuli)])
    for a, b in zip(hybrid, other, strict=True):
        np.testing.assert_array_equal(a.fixed, b.fixed)
        np.testing.assert_array_equal(a.human, b.human)


def test_without_trials_there_are_rsa_steps_alone():
    batches = TrialBatches(TRIPLETS, batch=0, rsa_steps=5, seed=0)
    for step in batches.epoch(0):
        assert (len(step.trials), len(step.stimuli), len(step.fixed)) == (0, 6, 18)
        assert len(step.pairs) >= 2
    found = batches.counts()
    assert (found.steps, found.rsa_steps, found.forwards, found.trials) == (5, 5, 120, 0)


def test_there_are_never_more_rsa_steps_than_steps():
    found = TrialBatches(TRIPLETS, batch=100, rsa_steps=6, seed=0).counts()
    assert (found.steps, found.rsa_steps) == (3, 3)


def test_pairs_whose_third_stimulus_lies_outside_do_not_count():
    inside = TRIPLETS.restrict(IDS[:26])
    alone = Triplets(inside.ids, inside.rows)
    for step, own in zip(TrialBatches(inside, seed=0).epoch(0), TrialBatches(alone, seed=0).epoch(0), strict=True):
        np.testing.assert_array_equal(step.pairs, own.pairs)
        np.testing.assert_array_equal(step.human, own.human)
    human = inside.rsm("split").distances
    step = next(s for s in TrialBatches(inside, seed=0).epoch(0) if len(s.pairs))
    pairs = np.concatenate([step.stimuli, step.fixed])[step.pairs]
    np.testing.assert_allclose(step.human, human[pairs[:, 0], pairs[:, 1]], rtol=1e-6)


def test_stimuli_that_were_never_judged_are_not_drawn():
    wider = Triplets((*IDS, "w", "x", "y", "z"), TRIPLETS.rows)
    for step in TrialBatches(wider, seed=0).epoch(0):
        assert max(step.stimuli.max(), step.fixed.max(initial=0)) < N


def test_a_single_trial_is_an_epoch():
    one = TRIPLETS.select(np.array([4]))
    (step,) = TrialBatches(one, rsa_steps=0, seed=0).epoch(0)
    np.testing.assert_array_equal(step.stimuli, one.rows[0])


@pytest.mark.parametrize(
    ("triplets", "options", "message"),
    [
        (TRIPLETS, {"batch": -1}, "batch -1: expected 0 or more"),
        (TRIPLETS, {"rsa_steps": -1}, "rsa_steps -1: expected 0 or more"),
        (TRIPLETS, {"seed": -1}, "seed -1: expected 0 or more"),
        (TRIPLETS, {"batch": 0, "rsa_steps": 0}, "203 trials, batch 0 and rsa_steps 0: nothing to train on"),
        (TRIPLETS.select(np.arange(0)), {}, "0 trials, batch 4 and rsa_steps 6: nothing to train on"),
        (TRIPLETS, {"extra_trials": 204}, "extra_trials 204: expected 0 to 203"),
        (TRIPLETS, {"extra_trials": 1, "batch": 0}, "extra_trials 1: .*, and 0 with batch 0"),
        (TRIPLETS, {"rsa_stimuli": 31}, "rsa_stimuli 31 and rsa_gradients 6: expected 3 to 30 stimuli"),
        (TRIPLETS, {"rsa_stimuli": 6, "rsa_gradients": 7}, "rsa_gradients 7: expected .* for 1 of them to all"),
        (TRIPLETS, {"rsa_gradients": 0}, "rsa_gradients 0"),
        (
            Triplets(IDS, np.array([[0, 1, 2], [0, 2, 1], [1, 2, 0]])),
            {"rsa_stimuli": 3, "rsa_gradients": 1},
            "the human distances of all 3 judged pairs are the same",
        ),
    ],
)
def test_what_cannot_be_sampled_is_refused(triplets, options, message):
    with pytest.raises(VidsimError, match=message):
        TrialBatches(triplets, **{"seed": 0, **options})


def test_judgments_too_few_for_rsa_steps_are_told():
    rows = np.arange(30).reshape(10, 3)
    batches = TrialBatches(Triplets(IDS, rows), rsa_stimuli=3, rsa_gradients=1, seed=0)
    with pytest.raises(VidsimError, match="in 100 draws of 3 of 30 stimuli no two judged pairs differed"):
        batches.counts()


def test_the_papers_epoch(shared):
    judgments, stimuli = read_release(shared / "data" / "social-ooo")
    train, _ = validation_split([s.id for s in stimuli if s.split == "train"])
    triplets = judgments.triplets.restrict(train)
    hybrid = TrialBatches(triplets, seed=0).counts()
    assert (hybrid.steps, hybrid.rsa_steps, hybrid.trials) == (3060, 6, 12_239)
    assert hybrid.forwards == 3 * 12_239 + 6 * 24
    assert 600 < hybrid.pairs <= 738  # 738 before masking
    matched = TrialBatches(triplets, rsa_steps=0, extra_trials=738, seed=0).counts()
    assert (matched.steps, matched.rsa_steps, matched.trials) == (3060, 0, 12_239 + 738)
    assert TrialBatches(triplets, batch=0, rsa_steps=106, seed=0).counts().steps == 106
