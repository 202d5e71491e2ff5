import numpy as np
import pytest

from vidsim.analysis.multiple import max_statistic

RNG = np.random.default_rng(0)


def slow(values, deviations):
    """Do the same one number at a time."""
    scales = [np.std(column, ddof=1) for column in deviations.T]
    largest = [max(abs(row[k]) / scales[k] for k in range(len(scales))) for row in deviations]
    p, intervals = [], []
    for value, scale in zip(values, scales, strict=True):
        as_large = sum(one >= abs(value) / scale for one in largest)
        p.append((1 + as_large) / (1 + len(largest)))
        reach = np.percentile(largest, 95) * scale
        intervals.append((value - reach, value + reach))
    return p, intervals


def test_equals_a_slow_loop():
    values, deviations = RNG.normal(size=5), RNG.normal(size=(99, 5)) * [1, 2, 0.1, 5, 1]
    found = max_statistic(values, deviations)
    p, intervals = slow(values, deviations)
    np.testing.assert_allclose(found.p_values, p)
    np.testing.assert_allclose(found.intervals, intervals)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_of_all_studies_without_any_effect_five_in_a_hundred_find_one(correlation):
    m, studies = 6, 2000
    mixed = np.linalg.cholesky(correlation + (1 - correlation) * np.eye(m)).T
    deviations = RNG.normal(size=(1999, m)) @ mixed
    values = RNG.normal(size=(studies, m)) @ mixed
    found = [max_statistic(row, deviations) for row in values]
    wrong = np.mean([one.p_values.min() <= 0.05 for one in found])
    assert 0.035 < wrong < 0.065
    missed = np.mean([((one.intervals[:, 0] > 0) | (one.intervals[:, 1] < 0)).any() for one in found])
    assert missed == pytest.approx(wrong, abs=0.005)
    single = np.mean([max_statistic(row[:1], deviations[:, :1]).p_values[0] <= 0.05 for row in values])
    assert 0.035 < single < 0.065


def test_copies_are_corrected_like_one():
    value, deviations = np.array([2.0]), RNG.normal(size=(500, 1))
    one = max_statistic(value, deviations)
    ten = max_statistic(np.repeat(value, 10), np.repeat(deviations, 10, axis=1))
    np.testing.assert_array_equal(ten.p_values, np.repeat(one.p_values, 10))
    np.testing.assert_allclose(ten.intervals, np.repeat(one.intervals, 10, axis=0))
    others = max_statistic(np.repeat(value, 10), RNG.normal(size=(500, 10)))
    assert (others.p_values > one.p_values[0]).all()


def test_units_do_not_matter():
    values, deviations = RNG.normal(size=4), RNG.normal(size=(200, 4))
    units = np.array([1.0, 1e-6, -3.0, 1e5])
    plain, scaled = max_statistic(values, deviations), max_statistic(values * units, deviations * units)
    np.testing.assert_allclose(scaled.p_values, plain.p_values)
    np.testing.assert_allclose(scaled.intervals, np.sort(plain.intervals * units[:, None], axis=1))


def test_what_is_unknown_stays_so():
    deviations = RNG.normal(size=(50, 3))
    deviations[:, 1] = np.nan
    deviations[7, 0] = np.nan
    found = max_statistic(np.array([0.5, 0.5, 0.5]), deviations)
    rest = np.delete(deviations, 7, axis=0)[:, [0, 2]]
    alone = max_statistic(np.array([0.5, 0.5]), rest)
    np.testing.assert_array_equal(found.p_values, [alone.p_values[0], np.nan, alone.p_values[1]])
    assert np.isnan(found.intervals[1]).all()
    unknown = max_statistic(np.array([np.nan, 0.5]), deviations[:, [0, 2]])
    assert np.isnan(unknown.p_values).tolist() == [True, False]
    for few in (0, 1):
        assert np.isnan(max_statistic(np.ones(2), np.zeros((few, 2))).p_values).all()


def test_what_does_not_vary_is_beyond_doubt():
    found = max_statistic(np.array([0.0, 1.0]), np.zeros((99, 2)))
    assert found.p_values.tolist() == [1.0, 0.01]
    assert found.intervals.tolist() == [[0.0, 0.0], [1.0, 1.0]]
