"""Embeddings, and judgments by people who look at a few of their directions only."""

import numpy as np

from vidsim.adapt.linear import LinearTransform
from vidsim.data.simulate import simulate
from vidsim.embeddings import Embeddings
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

DIMS = 12


def space(n: int = 60, d: int = DIMS, seed: int = 0) -> Embeddings:
    return Embeddings(tuple(f"s{i}" for i in range(n)), np.random.default_rng(seed).normal(size=(n, d)) + 0.5)


def planted(d: int = DIMS) -> LinearTransform:
    """People look at three directions only."""
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(d, d)))[0][:, :3]
    return LinearTransform(np.zeros(d, np.float32), (axes * [3, 2, 1]).astype(np.float32))


def judged(embeddings: Embeddings, trials: int = 6000, seed: int = 1) -> Triplets:
    human = cosine_rsm(planted(embeddings.matrix.shape[1]).apply(embeddings))
    return simulate(human, trials=trials, temperature=0.2, seed=seed).triplets
