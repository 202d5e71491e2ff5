import numpy as np
import pytest
from scipy.special import stdtrit

from vidsim.analysis.alignment import align
from vidsim.analysis.odd_one_out import credits
from vidsim.analysis.trial_interval import trial_interval, trial_intervals
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

from judges import random_rows

ROWS = random_rows(9, 40)
VALUES = np.random.default_rng(1).choice([-1.0, 0.0, 0.0, 1.0], size=40)


def test_the_interval_is_a_slow_bootstrap():
    stream = np.random.default_rng(np.random.SeedSequence(3).spawn(1)[0])
    means = []
    for counts in stream.multinomial(9, np.full(9, 1 / 9), size=60):
        weights = [counts[a] * counts[b] * counts[c] for a, b, c in ROWS]
        if sum(weights):
            means.append(np.average(VALUES, weights=weights))
    # products of deviations over all pairs of trials, by how many stimuli they share; a share of trials does so
    total, sharing = np.zeros(4), 0
    for s, x in zip(ROWS, VALUES - VALUES.mean(), strict=True):
        for t, y in zip(ROWS, VALUES - VALUES.mean(), strict=True):
            total[len(set(s) & set(t))] += x * y
            sharing += bool(set(s) & set(t))
    variance = np.maximum(total[1:], 0).sum() / 40**2 / max(1 - sharing / 40**2, 1 / 9)
    spread = np.sqrt(variance / np.var(means, ddof=1)) * stdtrit(4.5, 0.975) / 1.959963984540054
    expected = VALUES.mean() + spread * (np.percentile(means, [2.5, 97.5]) - np.mean(means))
    np.testing.assert_allclose(trial_interval(VALUES, ROWS, resamples=60, seed=3), expected)
    reach = spread * np.percentile(np.abs(np.array(means) - np.mean(means)), 95)
    even = VALUES.mean() - reach, VALUES.mean() + reach
    np.testing.assert_allclose(trial_interval(VALUES, ROWS, resamples=60, seed=3, even=True), even)


def test_differences_between_models_are_those_of_align():
    ids = tuple(map(str, range(9)))
    first, second = (cosine_rsm(Embeddings(ids, np.random.default_rng(k).normal(size=(9, 4)))) for k in (0, 1))
    triplets = Triplets(ids, ROWS)
    change = credits(second, triplets).three_way - credits(first, triplets).three_way
    models = {"first": first, "second": second}
    aligned = align(triplets, models, against="first", resamples=200, seed=5).differences
    (expected,) = (c for c in aligned if c.statistic == "three_way")
    assert (expected.first, expected.second) == ("second", "first")
    np.testing.assert_allclose(trial_interval(change, ROWS, resamples=200, seed=5, even=True), expected.interval)


def test_several_means_have_the_intervals_that_each_has_alone():
    several = np.stack([VALUES, VALUES**2, np.ones(40), np.full(40, np.nan)])
    found = trial_intervals(several, ROWS, resamples=60, seed=3)
    np.testing.assert_allclose(found, [trial_interval(one, ROWS, resamples=60, seed=3) for one in several])


def test_names_and_the_order_of_trials_do_not_matter_and_units_scale():
    low, high = trial_interval(VALUES, ROWS)
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_allclose(trial_interval(VALUES[order], ROWS[order][:, [2, 0, 1]] * 10 + 5), (low, high))
    np.testing.assert_allclose(trial_interval(3 * VALUES + 1, ROWS), (3 * low + 1, 3 * high + 1))


def test_without_anything_to_tell():
    assert np.isnan(trial_interval(np.empty(0), np.empty((0, 3), int))).all()
    assert np.isnan(trial_interval(VALUES, ROWS, resamples=1)).all()
    assert trial_interval(np.ones(40), ROWS) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "trials"), [(50, 400), (30, 1500)])
def test_coverage(n, trials):
    """Judges see 8 dimensions, the first model 4 of them and noise, the second 6 of them and noise."""
    rng = np.random.default_rng(n)

    def change(stimuli, rows):
        seen = stimuli[:, :8]
        human, first, second = (
            cosine_rsm(Embeddings(tuple(map(str, range(len(stimuli)))), points))
            for points in (seen, np.hstack([seen[:, :4], stimuli[:, 8:12]]), np.hstack([seen[:, :6], stimuli[:, 12:]]))
        )
        a, b, c = rows.T
        s = human.similarities
        noisy = np.stack([s[b, c], s[a, c], s[a, b]]) + 0.2 * rng.gumbel(size=(3, len(rows)))
        odd = noisy.argmax(axis=0)
        each = np.arange(len(rows))
        judged = np.stack([rows[each, (odd + 1) % 3], rows[each, (odd + 2) % 3], rows[each, odd]], axis=1)
        triplets = Triplets(human.ids, judged)
        return credits(second, triplets).three_way - credits(first, triplets).three_way, judged

    truth = change(rng.normal(size=(2000, 14)), random_rows(2000, 60_000))[0].mean()
    assert truth > 0.03
    inside = 0
    for seed in range(500):
        picked = rng.random((trials, n)).argpartition(3, axis=1)[:, :3]
        low, high = trial_interval(*change(rng.normal(size=(n, 14)), picked), resamples=100, seed=seed)
        inside += low <= truth <= high
    assert 0.92 <= inside / 500 <= 0.98


def test_models_that_differ_in_a_single_trial_are_not_told_apart():
    rows, change = random_rows(40, 175), np.zeros(175)
    change[3] = 1.0
    assert trial_interval(change, rows)[0] > 0  # percentiles of resamples that mostly miss the trial
    low, high = trial_interval(change, rows, even=True)
    assert low < 0 < change.mean() < high


@pytest.mark.parametrize("name", ["resamples", "seed"])
def test_numbers_out_of_range_are_refused(name):
    with pytest.raises(VidsimError, match=f"{name} -1: expected 0 or more"):
        trial_interval(np.zeros(2), np.array([[0, 1, 2], [0, 1, 3]]), **{name: -1})
