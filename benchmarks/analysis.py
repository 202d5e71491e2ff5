"""Measure RSMs, rank correlations and their bootstrap beside rsatoolbox, and beside their limits of time and memory.

Prints medians of interleaved repeats in one run, on random embeddings; both sides get the same ones. Every result is
compared as well: a faster wrong number would be worth nothing.

    python benchmarks/analysis.py [--repeats 5] [--resamples 1000]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

# before numpy and rsatoolbox are imported; one thread of BLAS, as rsatoolbox's einsum has no more
os.environ |= {"TQDM_DISABLE": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np
from rsatoolbox.data import Dataset
from rsatoolbox.inference import bootstrap_sample_pattern, eval_bootstrap_pattern
from rsatoolbox.model import ModelFixed
from rsatoolbox.rdm import RDMs, calc_rdm, compare, concat

from vidsim.analysis.columns import RankedColumns, resample
from vidsim.analysis.correlation import codes_of
from vidsim.embeddings import Embeddings
from vidsim.rsm import cosine_rsm, pearson_rsm


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def interleaved(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median time of each, the sides taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            taken[name].append(seconds(run))
    return {name: median(times) for name, times in taken.items()}


def names(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(n)))


def compare_correlation(repeats: int, n: int = 250, dims: int = 4732) -> None:
    """Compute the correlation of every pair."""
    matrix = np.random.default_rng(0).normal(size=(n, dims))
    embeddings = Embeddings(names(n), matrix)
    dataset = Dataset(matrix)
    theirs = calc_rdm(dataset, method="correlation").get_vectors()[0]
    difference = np.abs(1 - pearson_rsm(embeddings).upper - theirs).max()
    runs = {
        "vidsim": lambda: pearson_rsm(embeddings),
        "rsatoolbox": lambda: calc_rdm(dataset, method="correlation"),
        "numpy.corrcoef": lambda: np.corrcoef(matrix),
    }
    times = interleaved(runs, repeats)
    print(f"RDM of {n} x {dims:,}, correlation, float64, one thread")
    for name, taken in times.items():
        goal = " (goal 10)" if name == "rsatoolbox" else ""
        print(f"  {name:28} {1e3 * taken:9.1f} ms, {taken / times['vidsim']:7.1f}x vidsim's time{goal}")
    print(f"  largest difference           {difference:9.1e} (goal below 1e-10)")


@dataclass(frozen=True)
class Task:
    """Hold people and models to be compared: the pairs of RSMs of n stimuli."""

    n: int
    people: np.ndarray
    models: np.ndarray

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and columns of the pairs."""
        return np.triu_indices(self.n, 1)


def task(n: int, models: int, rng: np.random.Generator) -> Task:
    """Make people's RSM of shares with few trials, hence with ties, and models that agree with it more and less."""
    points = rng.normal(size=(n, 8))
    truth = cosine_rsm(Embeddings(names(n), points)).upper
    people = rng.binomial(6, (truth + 1) / 2) / 6
    spaces = [points + noise * rng.normal(size=points.shape) for noise in np.linspace(0.3, 2, models)]
    return Task(n, people, np.stack([cosine_rsm(Embeddings(names(n), space)).upper for space in spaces]))


def bootstrap(given: Task, resamples: int, seed: int, workers: int | None = None) -> np.ndarray:
    """Return rho-a of each model in each resample of the stimuli, pairs of a stimulus with itself left out."""
    i, j = given.pairs
    n = given.n
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    codes = codes_of(given.people)
    columns = RankedColumns.of(given.models)
    return resample(columns, resamples, lambda part: (drawn[part][:, i] * drawn[part][:, j], codes), workers).rho_a


def rdms(pairs: np.ndarray, n: int) -> RDMs:
    return RDMs(1 - np.atleast_2d(pairs), pattern_descriptors={"index": np.arange(n)})


def their_bootstrap(given: Task, resamples: int, seed: int) -> np.ndarray:
    """Evaluate as rsatoolbox documents it, without the noise ceiling of every resample, which we do not compute."""
    np.random.seed(seed)  # noqa: NPY002  rsatoolbox draws from the global state
    models = [ModelFixed(str(number), rdms(row, given.n)) for number, row in enumerate(given.models)]
    people = rdms(given.people, given.n)
    found = eval_bootstrap_pattern(models, people, method="rho-a", N=resamples, boot_noise_ceil=False)
    return found.evaluations


def their_batch(given: Task, resamples: int, seed: int) -> np.ndarray:
    """Put the same from rsatoolbox's parts, all models in one object: the fastest way we found."""
    np.random.seed(seed)  # noqa: NPY002
    models = concat([rdms(row, given.n) for row in given.models])
    people = rdms(given.people, given.n)
    found = np.empty((resamples, len(given.models)))
    for row in range(resamples):
        sample, index = bootstrap_sample_pattern(people, "index")
        found[row] = compare(models.subsample_pattern("index", index), sample, "rho-a")[:, 0]
    return found


def same_draws(given: Task, resamples: int) -> float:
    """Return the largest difference of rho-a where both sides get the same resamples."""
    rng = np.random.default_rng(1)
    people, models = rdms(given.people, given.n), concat([rdms(row, given.n) for row in given.models])
    i, j = given.pairs
    codes, columns = codes_of(given.people), RankedColumns.of(given.models)
    largest = 0.0
    for _ in range(resamples):
        index = rng.integers(0, given.n, given.n)
        theirs = compare(models.subsample_pattern("index", index), people.subsample_pattern("index", index), "rho-a")
        drawn = np.bincount(index, minlength=given.n).astype(np.float64)
        ours = columns.correlate((drawn[i] * drawn[j])[None], codes).rho_a[0]
        largest = max(largest, float(np.abs(ours - theirs[:, 0]).max()))
    return largest


def compare_bootstrap(repeats: int, resamples: int, n: int = 50, models: int = 3) -> None:
    given = task(n, models, np.random.default_rng(0))
    seeds = iter(range(10 * repeats))
    runs = {
        "vidsim, 2 threads": lambda: bootstrap(given, resamples, next(seeds), 2),
        "vidsim, 1 thread": lambda: bootstrap(given, resamples, next(seeds), 1),
        "eval_bootstrap_pattern": lambda: their_bootstrap(given, resamples, next(seeds)),
        "rsatoolbox, models as one": lambda: their_batch(given, resamples, next(seeds)),
    }
    times = interleaved(runs, repeats)
    print(f"Bootstrap over {n} stimuli, {resamples:,} resamples, {models} models, rho-a")
    own = times["vidsim, 2 threads"]
    for name, taken in times.items():
        goal = "" if name.startswith("vidsim") else " (goal 50)"
        print(f"  {name:28} {1e3 * taken:9.1f} ms, {taken / own:7.1f}x vidsim's time{goal}")
    ours, theirs = bootstrap(given, resamples, 1, 2).std(axis=0, ddof=1), their_bootstrap(given, resamples, 1)
    ratios = ours / theirs.std(axis=0, ddof=1)
    # each standard error has itself a relative standard error of 1 / sqrt(2 resamples), their ratio sqrt(2) of that
    reach = 3 / resamples**0.5
    print(f"  standard errors              {', '.join(f'{value:.4f}' for value in ours)}; over rsatoolbox's ", end="")
    print(f"{', '.join(f'{ratio:.3f}' for ratio in ratios)} (goal 1 +- {reach:.3f})")
    print(f"  rho-a on the same 200 resamples differs by at most {same_draws(given, 200):.1e}")


def large(what: str) -> dict:
    """Run one of large.py in a process of its own."""
    command = [sys.executable, Path(__file__).with_name("large.py"), what]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)


def compare_layers() -> None:
    ours, theirs = large("layers"), large("scipy")
    print("Bootstrap of 200 layers x 19,900 pairs over 200 stimuli, 1,000 resamples, Spearman, 2 threads")
    print(f"  vidsim                       {ours['seconds']:9.1f} s (goal 60), ", end="")
    print(f"peak memory {ours['peak']:,.0f} MB (goal 4,000)")
    print(f"  scipy, resamples written out {theirs['seconds']:9.0f} s (1 of 1,000 run), ", end="")
    print(f"{theirs['seconds'] / ours['seconds']:.0f}x vidsim's time")
    difference = max(abs(a - b) for a, b in zip(ours["first"], theirs["first"], strict=True))
    print(f"  largest difference of rho    {difference:9.1e}")


def blocked() -> None:
    print("RSM of 50,000 x 768, float32, in blocks of 1,024 rows: 10,000 MB if held whole")
    for what in ("cosine", "pearson"):
        found = large(what)
        print(f"  {what:28} {found['seconds']:9.1f} s, peak memory {found['peak']:,.0f} MB (goal 2,000), ", end="")
        print(f"sum off by {found['off']:.1e} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    print(f"load before {os.getloadavg()[0]:.1f}, processors {os.cpu_count()}")
    compare_correlation(5 * options.repeats)
    compare_bootstrap(options.repeats, options.resamples)
    compare_layers()
    blocked()
    print(f"load after {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
