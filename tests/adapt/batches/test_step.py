import numpy as np

from vidsim.adapt.batches import Counts, Step


def step(stimuli, fixed, trials, pairs):
    return Step(
        np.arange(stimuli), np.arange(fixed), np.zeros((trials, 3), int), np.zeros((pairs, 2), int), np.ones(pairs)
    )


def test_counts_are_sums_over_steps():
    found = Counts.of([step(12, 0, 4, 0), step(18, 18, 4, 123), step(9, 0, 3, 0)])
    assert found == Counts(steps=3, rsa_steps=1, forwards=57, trials=11, pairs=123)
    assert found.constraints == 134


def test_nothing_counts_nothing():
    assert Counts.of([]) == Counts(0, 0, 0, 0, 0)
