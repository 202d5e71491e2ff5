import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from vidsim.analysis.softmax import fit_softmax


def examples(n=120, d=7, k=4, dtype=np.float64):
    rng = np.random.default_rng(0)
    labels = rng.integers(k, size=n)
    features = rng.normal(size=(k, d))[labels] + rng.normal(size=(n, d)) * np.linspace(0.2, 3, d)
    return features.astype(dtype), labels


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_weights_and_probabilities_are_scikit_learns(penalty):
    features, labels = examples()
    found = fit_softmax(features, labels, 4, penalty, tolerance=1e-9)
    other = LogisticRegression(C=1 / (len(labels) * penalty), tol=1e-10, max_iter=10_000).fit(features, labels)
    np.testing.assert_allclose(found.weights.T, other.coef_, rtol=1e-4, atol=1e-6)
    centred = found.intercepts - found.intercepts.mean()  # a constant added to all changes nothing
    np.testing.assert_allclose(centred, other.intercept_ - other.intercept_.mean(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(softmax(found.scores(features), axis=1), other.predict_proba(features), atol=1e-6)


def test_two_classes_are_a_logistic_regression_of_half_the_penalty():
    features, labels = examples(k=2)
    found = fit_softmax(features, labels, 2, 0.02, tolerance=1e-9)
    other = LogisticRegression(C=2 / (len(labels) * 0.02), tol=1e-10).fit(features, labels)
    np.testing.assert_allclose(softmax(found.scores(features), axis=1), other.predict_proba(features), atol=1e-6)
    np.testing.assert_allclose(found.weights[:, 0], -found.weights[:, 1], atol=1e-7)


def test_single_precision_is_good_enough():
    features, labels = examples(n=800, d=40, k=6)
    wide = fit_softmax(features, labels, 6, 1e-3)
    narrow = fit_softmax(features.astype(np.float32), labels, 6, 1e-3)
    a, b = (softmax(found.scores(features), axis=1) for found in (wide, narrow))
    np.testing.assert_allclose(a, b, atol=2e-3)


def test_the_start_does_not_matter():
    features, labels = examples()
    start = fit_softmax(features, labels, 4, 10.0)
    near, far = (fit_softmax(features, labels, 4, 1e-3, start=s, tolerance=1e-9) for s in (start, None))
    np.testing.assert_allclose(near.scores(features), far.scores(features), atol=1e-4)
