from itertools import combinations

import numpy as np
import pytest

from vidsim.analysis.differences import MOST_COMPARED, check_against, compare, compared_pairs, estimates
from vidsim.analysis.multiple import max_statistic
from vidsim.errors import VidsimError

RNG = np.random.default_rng(0)
NAMES = ["one", "two", "three"]
VALUES = {"rho": np.array([0.1, 0.4, 0.3]), "share": np.array([0.5, 0.6, 0.9])}
DRAWN = {name: RNG.normal(scale=0.1, size=(200, 3)) for name in VALUES}


def deviations(statistic, contrast):
    return (DRAWN[statistic] - DRAWN[statistic].mean(axis=0)) @ contrast


def test_every_two_are_compared_the_better_first():
    assert compared_pairs(NAMES, VALUES["rho"], None) == [(1, 2), (1, 0), (2, 0)]
    assert compared_pairs(NAMES, VALUES["rho"], "three") == [(1, 2), (0, 2)]
    for many in (MOST_COMPARED, MOST_COMPARED + 1):
        names = [str(number) for number in range(many)]
        expected = list(combinations(range(many), 2)) if many == MOST_COMPARED else []
        assert compared_pairs(names, np.zeros(many), None) == expected
        assert len(compared_pairs(names, np.zeros(many), "7")) == many - 1


def test_differences_are_those_of_a_slow_loop():
    pairs = [(1, 2), (1, 0), (2, 0)]
    found = list(compare(pairs, VALUES, deviations))
    assert [(statistic, pair) for statistic, pair, _ in found] == [(name, pair) for name in VALUES for pair in pairs]
    for name, values in VALUES.items():
        moved = np.stack([DRAWN[name][:, i] - DRAWN[name][:, j] for i, j in pairs], axis=1)
        moved -= moved.mean(axis=0)
        differences = np.array([values[i] - values[j] for i, j in pairs])
        together = max_statistic(differences, moved)
        for k, own in enumerate(own for statistic, _, own in found if statistic == name):
            assert own.value == pytest.approx(differences[k])
            np.testing.assert_allclose(
                own.interval, own.value + np.percentile(np.abs(moved[:, k]), 95) * np.array([-1, 1])
            )
            larger = (np.abs(moved[:, k]) >= abs(own.value)).sum()
            assert own.p_value == pytest.approx((1 + larger) / 201)
            assert own.p_corrected == pytest.approx(together.p_values[k])
            np.testing.assert_allclose(own.interval_corrected, together.intervals[k])


def test_without_resamples_only_values_are_known():
    found = estimates("rho", VALUES["rho"], np.eye(3), None)
    assert [own.value for own in found] == VALUES["rho"].tolist()
    for own in found:
        assert np.isnan([*own.interval, own.p_value, own.p_corrected, *own.interval_corrected]).all()
    assert estimates("rho", np.empty(0), np.empty((0, 3)), deviations) == []
    assert list(compare([], VALUES, deviations)) == []


def test_a_model_that_there_is_not_is_refused():
    check_against(None, NAMES)
    check_against("two", NAMES)
    with pytest.raises(VidsimError, match="no model 'four' to compare with; there are: one, two, three"):
        check_against("four", NAMES)
