import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from vidsim.analysis.mcnemar import mcnemar


@given(st.integers(0, 300), st.integers(0, 300))
def test_it_is_the_binomial_test(towards, away):
    expected = binomtest(towards, towards + away).pvalue if towards + away else 1
    assert mcnemar(towards, away) == pytest.approx(expected, abs=1e-12)
    assert mcnemar(towards, away) == mcnemar(away, towards)


def test_large_counts():
    assert mcnemar(6200, 5900) == pytest.approx(binomtest(6200, 12100).pvalue, rel=1e-9)
    assert mcnemar(50_000, 50_000) == 1
    assert 0 <= mcnemar(9000, 1000) < 1e-300
