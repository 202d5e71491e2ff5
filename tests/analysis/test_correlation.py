import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from vidsim.analysis.columns import RankedColumns, resample
from vidsim.analysis.correlation import codes_of, rho_a, spearman


def sample(seed, p, levels):
    rng = np.random.default_rng(seed)
    return rng.integers(0, levels, p) / levels, rng.normal(size=p) + rng.integers(0, 2, p), rng.integers(0, 4, p)


@given(st.integers(0, 10**6), st.integers(3, 60), st.integers(2, 9))
def test_weights_write_the_sample_out(seed, p, levels):
    x, y, weights = sample(seed, p, levels)
    long_x, long_y = np.repeat(x, weights), np.repeat(y, weights)
    if len(set(long_x)) > 1 and len(set(long_y)) > 1:
        expected = spearmanr(long_x, long_y).statistic
        assert spearman(x, y, weights) == pytest.approx(expected, abs=1e-12)
        assert spearman(long_x, long_y) == pytest.approx(expected, abs=1e-12)
    if weights.sum() > 1:
        assert rho_a(x, y, weights) == pytest.approx(rho_a(long_x, long_y), abs=1e-12)


def test_pairs_that_one_side_lacks_are_left_out():
    x, y, _ = sample(0, 50, 20)
    x[::7], y[::5] = np.nan, np.nan
    both = ~np.isnan(x) & ~np.isnan(y)
    assert spearman(x, y) == pytest.approx(spearmanr(x[both], y[both]).statistic, abs=1e-12)


def test_rho_a_is_the_mean_over_random_orders_of_ties():
    rng = np.random.default_rng(0)
    x, y = np.array([0, 0, 1, 1, 1, 2, 3]), np.array([1, 0, 0, 2, 2, 2, 3])
    broken = [
        spearmanr(rankdata(x + 1e-6 * rng.random(7)), rankdata(y + 1e-6 * rng.random(7))).statistic for _ in range(4000)
    ]
    assert rho_a(x, y) == pytest.approx(np.mean(broken), abs=4 * np.std(broken) / np.sqrt(4000))
    distinct = rng.normal(size=(2, 30))
    assert rho_a(*distinct) == pytest.approx(spearman(*distinct), abs=1e-12)
    assert rho_a(np.zeros(5), np.arange(5)) == 0
    assert np.isnan(spearman(np.zeros(5), np.arange(5)))
    assert np.isnan(rho_a(np.zeros(1), np.zeros(1)))


@pytest.mark.parametrize("workers", [1, 3])
def test_columns_are_correlated_in_all_resamples_as_one_by_one(workers):
    rng = np.random.default_rng(1)
    n, resamples = 14, 40
    i, j = np.triu_indices(n, 1)
    human = rng.integers(0, 5, len(i)) / 5
    models = np.stack([rng.normal(size=len(i)), rng.integers(0, 4, len(i)), human + rng.normal(size=len(i))])
    times = np.array([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)], np.float64)
    pairs = times[:, i] * times[:, j]
    codes = codes_of(human)
    found = resample(RankedColumns.of(models), resamples, lambda part: (pairs[part], codes), workers)
    for r in range(resamples):
        for m, model in enumerate(models):
            assert found.spearman[r, m] == pytest.approx(spearman(model, human, pairs[r]), abs=1e-10)
            assert found.rho_a[r, m] == pytest.approx(rho_a(model, human, pairs[r]), abs=1e-10)
