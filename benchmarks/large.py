"""Run one large analysis and print its seconds and peak memory: a process of its own, so that the peak is its own.

python benchmarks/large.py layers|scipy|cosine|pearson
"""

import argparse
import json
import time
from collections.abc import Callable

import numpy as np
from memory import peak

from vidsim.analysis.columns import RankedColumns, resample
from vidsim.analysis.correlation import codes_of
from vidsim.embeddings import Embeddings
from vidsim.rsm import cosine_blocks, pearson_blocks

STIMULI, LAYERS, RESAMPLES = 200, 200, 1000
MANY, DIMS = 50_000, 768


def layers() -> tuple[np.ndarray, np.ndarray]:
    """Make people's pair values, with ties, and those of many layers that share more and less with them."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=STIMULI * (STIMULI - 1) // 2)
    people = np.round(2 * (truth + rng.normal(size=truth.size))) / 2
    return people, np.stack([noise * rng.normal(size=truth.size) + truth for noise in np.linspace(0.5, 4, LAYERS)])


def draws() -> np.ndarray:
    """Return how often each stimulus stands in each resample."""
    return np.random.default_rng(1).multinomial(STIMULI, np.full(STIMULI, 1 / STIMULI), size=RESAMPLES)


def bootstrap_layers() -> dict[str, object]:
    people, models = layers()
    start = time.perf_counter()
    i, j = np.triu_indices(STIMULI, 1)
    drawn, codes = draws().astype(np.float64), codes_of(people)
    columns = RankedColumns.of(models)
    rhos = resample(columns, RESAMPLES, lambda part: (drawn[part][:, i] * drawn[part][:, j], codes), 2).spearman
    return {"seconds": time.perf_counter() - start, "peak": peak(), "first": rhos[0].tolist()}


def scipy_layers() -> dict[str, object]:
    """Rank one resample with scipy, written out: each pair as often as it was drawn."""
    from scipy.stats import spearmanr

    people, models = layers()
    start = time.perf_counter()
    i, j = np.triu_indices(STIMULI, 1)
    drawn = draws()[0]
    chosen = np.repeat(np.arange(len(i)), drawn[i] * drawn[j])
    first = [float(spearmanr(model[chosen], people[chosen]).statistic) for model in models]
    return {"seconds": (time.perf_counter() - start) * RESAMPLES, "peak": peak(), "first": first}


def blocked(blocks: Callable) -> dict[str, object]:
    """Go through a whole RSM; its sum is also the squared length of the sum of all unit vectors."""
    matrix = np.random.default_rng(0).standard_normal((MANY, DIMS), dtype=np.float32)
    matrix += 0.1
    embeddings = Embeddings(tuple(map(str, range(MANY))), matrix)
    start = time.perf_counter()
    total = sum(float(block.sum(dtype=np.float64)) for _, block in blocks(embeddings))
    taken = time.perf_counter() - start
    found = {"seconds": taken, "peak": peak()}
    rows = matrix.astype(np.float64)
    if blocks is pearson_blocks:
        rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = float((rows.sum(axis=0) ** 2).sum())
    return found | {"off": abs(total / expected - 1)}


WAYS: dict[str, Callable[[], dict[str, object]]] = {
    "layers": bootstrap_layers,
    "scipy": scipy_layers,
    "cosine": lambda: blocked(cosine_blocks),
    "pearson": lambda: blocked(pearson_blocks),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    print(json.dumps(WAYS[parser.parse_args().way]()))
