import numpy as np
import pytest

from vidsim.analysis.pair_interval import pair_intervals, pair_variance


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_variance_of_a_mean_over_pairs_is_right_on_average(missing):
    """Values a_i + a_j + e_ij: the variance of their mean is known; resamples triple what the noise gives to it."""
    n, sd, noise_sd = 20, 1.0, 4.0
    rng = np.random.default_rng(0)
    upper = np.triu_indices(n, 1)
    known = np.zeros((n, n), bool)
    known[upper] = rng.random(len(upper[0])) >= missing
    known |= known.T
    i, j = np.nonzero(np.triu(known))
    degrees, p = known.sum(axis=1), len(i)
    truth = sd**2 * (degrees**2).sum() / p**2 + noise_sd**2 / p
    found, plain = [], []
    for _ in range(300):
        own = sd * rng.normal(size=n)
        values = own[i] + own[j] + noise_sd * rng.normal(size=p)
        influence = (values - values.mean()) / p
        times = rng.multinomial(n, np.full(n, 1 / n), size=300)
        weights = times[:, i] * times[:, j]
        drawn = ((weights @ values) / weights.sum(axis=1)).var(ddof=1)
        plain.append(drawn)
        found.append(pair_variance(np.array([drawn]), np.array([(influence**2).sum()]), known)[0])
    assert np.mean(found) == pytest.approx(truth, rel=0.08)
    assert np.mean(plain) > 1.25 * truth


def test_intervals_lie_about_the_values_and_scale():
    rng = np.random.default_rng(0)
    known = ~np.eye(30, dtype=bool)
    drawn = rng.normal(size=(4000, 2)) + 5
    (low, high), wider = pair_intervals(np.array([1.0, 2.0]), drawn * [1, 3], np.zeros(2), known)
    assert low + high == pytest.approx(2, abs=0.1)
    assert np.diff(wider)[0] == pytest.approx(3 * (high - low), rel=0.05)
    assert high - low > 2 * 1.96


def test_resamples_without_a_value_are_left_out():
    known = ~np.eye(5, dtype=bool)
    drawn = np.array([[0.1], [np.nan], [0.3], [0.2]])
    rest = drawn[[0, 2, 3]]
    assert pair_intervals(np.array([0.2]), drawn, np.zeros(1), known) == pair_intervals(
        np.array([0.2]), rest, np.zeros(1), known
    )
    assert np.isnan(pair_intervals(np.array([0.2]), drawn[:2], np.zeros(1), known)).all()
