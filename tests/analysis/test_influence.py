import numpy as np
import pytest

from vidsim.analysis.correlation import codes_of, rho_a, spearman
from vidsim.analysis.influence import RankInfluence, Removals

RNG = np.random.default_rng(0)
P = 300
X = codes_of(RNG.normal(size=P).round(1))
Y = codes_of(RNG.normal(size=P).round(0) + X / 20)
STEP = 1e-4


@pytest.mark.parametrize(("name", "correlation"), [("spearman", spearman), ("rho_a", rho_a)])
def test_influence_is_the_derivative_by_the_weight_of_an_item(name, correlation):
    found = getattr(RankInfluence.of(X, Y), name)()
    assert found.mean() == pytest.approx(0, abs=1e-12)
    for item in range(0, P, 17):
        up, down = np.ones(P), np.ones(P)
        up[item] += STEP
        down[item] -= STEP
        slope = P * (correlation(X, Y, up) - correlation(X, Y, down)) / (2 * STEP)
        # rho-a divides by p^3 - p where the influence knows p^3
        assert found[item] == pytest.approx(slope, abs=1e-6 if name == "spearman" else 1e-3)


@pytest.mark.parametrize(("name", "correlation"), [("spearman", spearman), ("rho_a", rho_a)])
def test_influence_of_an_item_at_another_level_is_that_of_an_item_put_there(name, correlation):
    found = RankInfluence.of(X, Y)
    items, levels = np.array([3, 50, 222]), np.array([0, 2, int(Y.max())])
    for item, level, value in zip(items, levels, getattr(found, name)(items, levels), strict=True):
        more_x, more_y = np.append(X, X[item]), np.append(Y, level)
        weights = np.append(np.ones(P), STEP)
        slope = P * (correlation(more_x, more_y, weights) - correlation(X, Y)) / STEP
        assert value == pytest.approx(slope, abs=5e-3)


def test_removals_take_each_judgment_away():
    # pairs 0, 1, 2 judged in three trials, pair 3 in one
    units = np.array([[0, 1, 2], [0, 1, 2], [1, 0, 2], [3, 4, 4]])
    together, shown = np.array([2, 1, 0, 1]), np.array([3, 3, 3, 1])
    found = Removals.of(units, together, shown)
    levels = np.unique(together / shown)  # 0, 1/3, 2/3, 1
    without = (1 - found.between) * levels[found.lower] + found.between * levels[found.upper]
    assert without[0] == pytest.approx([1 / 2, 1 / 2, 0])
    assert without[2] == pytest.approx([0, 1, 0])
    assert found.weight[0] == pytest.approx(np.sqrt(2 / 3))
    assert found.weight[3].tolist() == [1, 0, 0]
    assert found.only[3].tolist()[0] is True


def test_squared_removals_estimate_the_variance_over_judgments():
    """Pairs of known probability, judged anew many times: the scatter of rho is that which one study tells."""
    rng = np.random.default_rng(3)
    p, k = 400, 3
    chance = rng.random(p)
    model = codes_of(chance + rng.normal(0, 0.5, p))
    rhos, told = [], []
    for study in range(300):
        stayed = rng.random((k, p)) < chance
        together = stayed.sum(axis=0)
        rhos.append(spearman(model, codes_of(together)))
        if study < 30:
            pairs = np.arange(p)
            units = np.full((k * p, 3), p)
            first = stayed.ravel()
            units[first, 0] = np.tile(pairs, k)[first]
            units[~first, 1] = np.tile(pairs, k)[~first]
            removals = Removals.of(units, together, np.full(p, k))
            told.append((removals.influences(RankInfluence.of(model, codes_of(together)), "spearman") ** 2).sum())
    assert np.mean(told) == pytest.approx(np.var(rhos), rel=0.15)
