from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from vidsim.analysis.ranks import share_codes, spearman_of_codes

CODES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 3)), min_size=3, max_size=40)


@given(CODES)
def test_spearman_is_scipys(items):
    x, y, times = np.array(items).T
    if np.ptp(x) and np.ptp(y):
        assert spearman_of_codes(x, y) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)
    else:
        assert np.isnan(spearman_of_codes(x, y))
    written_out = np.repeat(x, times), np.repeat(y, times)
    weighted = spearman_of_codes(x, y, times.astype(float))
    if all(len(side) and np.ptp(side) for side in written_out):
        assert weighted == pytest.approx(spearmanr(*written_out).statistic, abs=1e-12)
    else:
        assert np.isnan(weighted)


def test_nothing_has_no_correlation():
    empty = np.empty(0, np.int64)
    assert np.isnan(spearman_of_codes(empty, empty))


@pytest.mark.parametrize("most", [1, 2, 7, 30])
def test_codes_order_shares_exactly(most):
    codes = share_codes(most)
    shares = {(t, s): Fraction(t, s) for s in range(1, most + 1) for t in range(s + 1)}
    rank = {share: number for number, share in enumerate(sorted(set(shares.values())))}
    assert all(codes[s, t] == rank[share] for (t, s), share in shares.items())
