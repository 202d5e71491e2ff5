"""Likelihood of odd-one-out choices under an embedding, with its gradient."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

Similarity = Literal["dot", "distance"]
"""How two embeddings make a similarity: their inner product, or minus their squared Euclidean distance."""

CHUNK = 1 << 20
"""Trials at a time, so that memory stays bounded."""


def pair_similarities(matrix: Float[ndarray, "n d"], similarity: Similarity) -> Float[ndarray, "n n"]:
    """Compute the similarity of every pair of embeddings, in log-odds.

    Parameters
    ----------
    matrix : array of shape (n, d)
        One embedding per row.
    similarity : {"dot", "distance"}
        Inner product, or minus the squared Euclidean distance.

    Returns
    -------
    array of shape (n, n)
        Symmetric.

    Examples
    --------
    >>> pair_similarities(np.array([[0.0, 1.0], [2.0, 3.0]]), "distance")
    array([[ 0., -8.],
           [-8.,  0.]])
    """
    products = matrix @ matrix.T
    if similarity == "dot":
        return products
    squares = np.diag(products)
    return 2 * products - squares[:, None] - squares


def pair_keys(rows: Int[ndarray, "t 3"], n: int) -> Int[ndarray, "3 t"]:
    """Number the three pairs of each trial by their place in a flattened n by n matrix.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Positions of (a, b, odd).
    n : int
        How many stimuli.

    Returns
    -------
    array of shape (3, t)
        Of (a, b), the pair that stayed together, first.

    Examples
    --------
    >>> pair_keys(np.array([[0, 1, 2]]), 3).T
    array([[1, 2, 5]])
    """
    a, b, odd = rows.T.astype(np.int64)
    return np.stack([a * n + b, a * n + odd, b * n + odd])


def log_probabilities(similarities: Float[ndarray, "n n"], keys: Int[ndarray, "3 t"]) -> Float[ndarray, "3 t"]:
    """Compute, for each trial, the log probability of each pair to stay together: the log softmax over the three.

    Parameters
    ----------
    similarities : array of shape (n, n)
        In log-odds.
    keys : array of shape (3, t)
        As `pair_keys` numbers them.

    Returns
    -------
    array of shape (3, t)
        Of the pair that did stay together first.
    """
    logits = similarities.ravel()[keys]
    logits -= logits.max(axis=0)
    logits -= np.log(np.exp(logits).sum(axis=0))
    return logits


def negative_log_likelihood(
    matrix: Float[ndarray, "n d"], keys: Int[ndarray, "3 t"], similarity: Similarity
) -> tuple[float, Float[ndarray, "n d"]]:
    """Compute the negative log-likelihood of trials and its gradient (Zheng et al. 2019; Hebart et al. 2020).

    Parameters
    ----------
    matrix : array of shape (n, d)
        One embedding per row.
    keys : array of shape (3, t)
        Pairs of each trial, as `pair_keys` numbers them.
    similarity : {"dot", "distance"}
        Inner product, or minus the squared Euclidean distance.

    Returns
    -------
    float
        Sum over trials, in nats.
    array of shape (n, d)
        Its derivative by each coordinate.
    """
    n = len(matrix)
    similarities = pair_similarities(matrix, similarity)
    loss = 0.0
    weights = np.zeros(n * n)  # derivative by each pair's similarity, in one direction
    for start in range(0, keys.shape[1], CHUNK):
        part = keys[:, start : start + CHUNK]
        logits = similarities.ravel()[part]
        logits -= logits.max(axis=0)
        residuals = np.exp(logits)
        total = residuals.sum(axis=0)
        loss += float((np.log(total) - logits[0]).sum())
        residuals /= total
        residuals[0] -= 1
        weights += np.bincount(part.ravel(), residuals.ravel(), n * n)
    both = weights.reshape(n, n)
    both = both + both.T
    gradient = both @ matrix
    if similarity == "distance":
        gradient = 2 * (gradient - both.sum(axis=1, keepdims=True) * matrix)
    return loss, gradient
