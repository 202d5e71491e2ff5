from itertools import combinations

import numpy as np
import pytest

from vidsim.analysis.pair_interval import pair_variance
from vidsim.analysis.sharing import Sharing


@pytest.mark.parametrize("size", [2, 3])
def test_variance_is_the_sum_over_items_that_share_a_stimulus(size):
    rng = np.random.default_rng(0)
    items = np.array([rng.choice(8, size, replace=False) for _ in range(40)])
    influences = rng.normal(size=40)
    influences -= influences.mean()
    products = np.zeros(size + 1)
    sharing = 0
    for a, x in zip(items, influences, strict=True):
        for b, y in zip(items, influences, strict=True):
            shared = len(set(a.tolist()) & set(b.tolist()))
            products[shared] += x * y
            sharing += shared > 0
    found = Sharing.of(items, 8)
    assert found.share == pytest.approx(sharing / 40**2)
    assert found.variance(influences) == pytest.approx(np.maximum(products[1:], 0).sum() / max(1 - found.share, 1 / 8))


def test_variance_of_a_mean_over_trials_is_right_on_average():
    """Values a_i + a_j + a_k + b_ij + b_ik + b_jk + e: the variance of their mean is known."""
    n, t, sd = 30, 500, (0.5, 1.0, 2.0)
    rng = np.random.default_rng(0)
    every = np.array(list(combinations(range(n), 3)))
    trials = every[rng.choice(len(every), t, replace=False)]
    number = {pair: k for k, pair in enumerate(combinations(range(n), 2))}
    pairs = np.array([[number[pair] for pair in combinations(trial, 2)] for trial in trials.tolist()])
    shares = [np.bincount(which.ravel(), minlength=most) / t for which, most in ((trials, n), (pairs, len(number)))]
    truth = sum(s**2 * (share**2).sum() for s, share in zip(sd, shares, strict=False)) + sd[2] ** 2 / t
    sharing = Sharing.of(trials, n)
    found = []
    for _ in range(500):
        values = rng.normal(0, sd[0], n)[trials].sum(axis=1) + rng.normal(0, sd[1], len(number))[pairs].sum(axis=1)
        values += rng.normal(0, sd[2], t)
        found.append(sharing.variance((values - values.mean()) / t))
    assert np.mean(found) == pytest.approx(truth, rel=0.08)


def test_of_pairs_it_agrees_with_resamples():
    n = 30
    rng = np.random.default_rng(1)
    pairs = np.array(list(combinations(range(n), 2)))
    own = rng.normal(size=n)
    values = own[pairs].sum(axis=1) + rng.normal(size=len(pairs))
    influences = (values - values.mean()) / len(values)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=4000)
    weights = drawn[:, pairs[:, 0]] * drawn[:, pairs[:, 1]]
    spread = ((weights @ values) / weights.sum(axis=1)).var(ddof=1)
    resampled = pair_variance(np.array([spread]), np.array([(influences**2).sum()]), ~np.eye(n, dtype=bool))
    assert Sharing.of(pairs, n).variance(influences) == pytest.approx(resampled[0], rel=0.1)
