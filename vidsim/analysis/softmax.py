"""Softmax regression: a linear classifier of embeddings, fitted to the end by L-BFGS."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import minimize

MOST_STEPS = 2000


@dataclass(frozen=True, eq=False)
class Softmax:
    """Hold a linear classifier of d features into k classes.

    Parameters
    ----------
    weights : array of shape (d, k)
        Of the features.
    intercepts : array of shape (k,)
        Of the classes.
    """

    weights: Float[ndarray, "d k"]
    intercepts: Float[ndarray, " k"]

    def scores(self, features: Float[ndarray, "n d"]) -> Float[ndarray, "n k"]:
        """Return the logits of the classes; their softmax are probabilities."""
        return features @ self.weights.astype(features.dtype) + self.intercepts


def fit_softmax(
    features: Float[ndarray, "n d"],
    labels: Int[ndarray, " n"],
    classes: int,
    penalty: float,
    *,
    start: Softmax | None = None,
    tolerance: float = 1e-5,
) -> Softmax:
    """Minimise the mean cross-entropy plus penalty / 2 times the squared length of the weights.

    Intercepts are not penalised. Of three classes or more, scikit-learn's ``LogisticRegression`` has the same minimum
    with ``C = 1 / (n * penalty)``. The problem is convex: where the search starts and the order of the examples do not
    matter. Each weight is searched in units of its curvature where all classes are equally likely, which takes far
    fewer steps where the features are uncorrelated, as principal axes are.

    Parameters
    ----------
    features : array of shape (n, d)
        In float32 or float64, which products are then computed in; the search itself is in float64.
    labels : array of shape (n,)
        Class of each row, from 0 to classes - 1.
    classes : int
        How many, 2 or more.
    penalty : float
        Above 0.
    start : Softmax, optional
        Where the search starts, such as the fit of a similar penalty; it saves time.
    tolerance : float
        Largest slope, in any weight's own unit, at which the search ends.

    Returns
    -------
    Softmax
        The minimum.

    Examples
    --------
    >>> features = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> found = fit_softmax(features, np.array([0, 0, 1, 1]), 2, penalty=0.1)
    >>> found.scores(np.array([[0.5]])).argmax(axis=1)
    array([1])
    """
    n, d = features.shape
    curvature = np.einsum("nd,nd->d", features, features).astype(np.float64) / (n * classes) + penalty
    unit = np.append(1 / np.sqrt(curvature), np.sqrt(classes))[:, None]
    own = np.arange(n), labels

    def loss(flat: ndarray) -> tuple[float, ndarray]:
        weights = flat.reshape(d + 1, classes) * unit
        scores = features @ weights[:d].astype(features.dtype)
        scores += weights[d].astype(features.dtype)
        scores -= scores.max(axis=1, keepdims=True)
        chosen = scores[own].sum(dtype=np.float64)
        np.exp(scores, out=scores)
        totals = scores.sum(axis=1, keepdims=True)
        value = (np.log(totals, dtype=np.float64).sum() - chosen) / n + penalty / 2 * float((weights[:d] ** 2).sum())
        scores /= totals
        scores[own] -= 1
        slope = np.empty_like(weights)
        slope[:d] = features.T @ scores
        slope[d] = scores.sum(axis=0, dtype=np.float64)
        slope /= n
        slope[:d] += penalty * weights[:d]
        slope *= unit
        return float(value), slope.ravel()

    at = np.zeros((d + 1, classes)) if start is None else np.vstack([start.weights, start.intercepts]) / unit
    # the slope tells when to end, unless the loss does not fall any more by what its precision can tell
    least = float(np.finfo(features.dtype).eps)
    options: Any = {"maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "gtol": tolerance, "ftol": least}
    found = minimize(loss, at.ravel(), jac=True, method="L-BFGS-B", options=options)
    weights = found.x.reshape(d + 1, classes) * unit
    return Softmax(weights[:d], weights[d])
