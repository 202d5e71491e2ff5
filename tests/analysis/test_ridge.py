import numpy as np
import pytest
from sklearn.linear_model import Ridge as SlowRidge
from sklearn.linear_model import RidgeCV

from vidsim.analysis.ridge import PENALTIES, fit_ridge, rotated
from vidsim.errors import VidsimError

SHAPES = [(40, 6), (40, 40), (25, 120), (12, 1000)]


def data(n, d, a=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + 7, d)) * np.arange(1, d + 1) ** -0.5 + 5
    y = x @ rng.normal(size=(d, a)) + rng.normal(size=(n + 7, a)) * [0.1, 3, 30]
    return x[:n], y[:n], x[n:]


def unit(x):
    """Return the mean squared length of a centred embedding."""
    return ((x - x.mean(axis=0)) ** 2).sum() / len(x)


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_penalty_and_residuals_are_those_of_a_slow_loop(shape):
    x, y, new = data(*shape)
    penalties = np.logspace(-3, 3, 7)
    found = fit_ridge(x, y, penalties)
    left_out = np.empty((len(penalties), *y.shape))
    for number, penalty in enumerate(penalties):
        for i in range(len(x)):
            rest = np.arange(len(x)) != i
            fit = SlowRidge(alpha=penalty * unit(x)).fit(x[rest], y[rest])
            left_out[number, i] = y[i] - fit.predict(x[[i]])[0]
    best = (left_out**2).mean(axis=1).argmin(axis=0)
    np.testing.assert_array_equal(found.penalties, penalties[best])
    for k, number in enumerate(best):
        np.testing.assert_allclose(found.residuals[:, k], left_out[number, :, k], rtol=1e-6, atol=1e-8)
        fit = SlowRidge(alpha=penalties[number] * unit(x)).fit(x, y[:, k])
        np.testing.assert_allclose(found.predict(new)[:, k], fit.predict(new), rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_choice_is_that_of_scikit_learn(shape):
    x, y, new = data(*shape)
    slow = RidgeCV(alphas=PENALTIES * unit(x), alpha_per_target=True).fit(x, y)
    found = fit_ridge(x, y)
    np.testing.assert_allclose(found.penalties * unit(x), slow.alpha_)
    np.testing.assert_allclose(found.predict(new), slow.predict(new), rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_pull_is_what_leaving_a_stimulus_out_changes(shape):
    x, y, new = data(*shape)
    found = fit_ridge(x, y)
    wanted = np.random.default_rng(1).normal(size=(len(new), y.shape[1]))
    wanted -= wanted.mean(axis=0)
    whole = (wanted * found.predict(new)).sum(axis=0)
    pull = found.pull(new, wanted)
    for i in (0, 3, len(x) - 1):
        rest = np.arange(len(x)) != i
        fit = SlowRidge(alpha=found.penalties * unit(x)).fit(x[rest], y[rest])
        np.testing.assert_allclose(pull[i], whole - (wanted * fit.predict(new)).sum(axis=0), rtol=1e-5, atol=1e-8)


def test_neither_scale_nor_place_nor_direction_of_embeddings_matters():
    x, y, new = data(25, 30)
    found = fit_ridge(x, y)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0]
    for change in (lambda v: 1e4 * v, lambda v: v - 17, lambda v: v @ turn):
        other = fit_ridge(change(x), y)
        np.testing.assert_array_equal(other.penalties, found.penalties)
        np.testing.assert_allclose(other.predict(change(new)), found.predict(new), rtol=1e-7)


def test_ratings_may_be_scaled_and_do_not_touch_each_other():
    x, y, new = data(25, 30)
    together = fit_ridge(x, y).predict(new)
    np.testing.assert_allclose(fit_ridge(x, -3 * y + 2).predict(new), -3 * together + 2)
    np.testing.assert_allclose(fit_ridge(x, y[:, [1]]).predict(new)[:, 0], together[:, 1])


def test_embeddings_are_rotated_without_loss():
    x, y, new = data(25, 300)
    both = np.vstack([x, new]).astype(np.float32)
    turned = rotated(both)
    assert turned.shape == (32, 32)
    np.testing.assert_allclose(turned @ turned.T, both.astype(np.float64) @ both.T.astype(np.float64))
    plain = fit_ridge(both[:25].astype(np.float64), y).predict(both[25:].astype(np.float64))
    np.testing.assert_allclose(fit_ridge(turned[:25], y).predict(turned[25:]), plain, rtol=1e-8)
    assert rotated(both[:, :9]).shape == (32, 9)


def test_features_that_say_the_same_do_no_harm():
    x, y, new = data(40, 6)
    found = fit_ridge(np.hstack([x, x, np.ones((40, 1))]), y).predict(np.hstack([new, new, np.ones((7, 1))]))
    np.testing.assert_allclose(found, fit_ridge(x, y).predict(new), rtol=1e-6)


def test_a_planted_signal_is_recovered():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 40))
    weights = rng.normal(size=(40, 1))
    found = fit_ridge(x, x @ weights + 0.1 * rng.normal(size=(500, 1)))
    np.testing.assert_allclose(found.weights, weights, atol=0.03)
    noise = fit_ridge(x, rng.normal(size=(500, 1)))
    assert np.linalg.norm(noise.weights) < 0.3
    assert noise.penalties[0] > found.penalties[0]


def test_constant_ratings_are_predicted_as_they_are():
    x, _, new = data(25, 30)
    np.testing.assert_allclose(fit_ridge(x, np.full((25, 1), 0.3)).predict(new), 0.3)


def test_nothing_to_fit_is_refused():
    with pytest.raises(VidsimError, match="2 stimuli cannot be fitted"):
        fit_ridge(np.eye(2), np.ones((2, 1)))
    with pytest.raises(VidsimError, match="embeddings of all 9 stimuli to fit are the same"):
        fit_ridge(np.full((9, 4), 2.0), np.arange(9.0)[:, None])
