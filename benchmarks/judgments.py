"""Measure counts, reliability and triplet design beside plain loops over a pandas table, the way study code is written.

Prints medians of interleaved repeats in one run. The loops are literal and take long, so they run over fewer trials or
splits, and what is compared is the time per trial or per split.

    python benchmarks/judgments.py [RELEASE]

RELEASE is a folder in the layout of the Social-OOO release; without it 24,096 random trials over 200 stimuli are used.
"""

import argparse
import itertools
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from memory import peak
from scipy.stats import spearmanr

from vidsim.analysis.ordinal import denoised_rsm, fit
from vidsim.analysis.reliability import reliability
from vidsim.data.design import cover, greedy_cover, pairs_covered, schoenheim
from vidsim.data.judgments.read import read
from vidsim.triplets import Triplets


def trials(release: Path | None) -> Triplets:
    if release is not None:
        return read(release).judgments.triplets
    rng = np.random.default_rng(0)
    rows = rng.random((24_096, 200)).argsort(axis=1)[:, :3].astype(np.int32)
    return Triplets(tuple(map(str, range(200))), rows)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def loop_rsm(table: pd.DataFrame, n: int) -> np.ndarray:
    """Count as a loop over rows does."""
    together, shown = np.zeros((n, n)), np.zeros((n, n))
    for _, row in table.iterrows():
        a, b, odd = row["a"], row["b"], row["odd"]
        for i, j in itertools.combinations((a, b, odd), 2):
            shown[i, j] += 1
            shown[j, i] += 1
        together[a, b] += 1
        together[b, a] += 1
    with np.errstate(invalid="ignore"):
        return together / shown


def grouped_rsm(table: pd.DataFrame, n: int) -> np.ndarray:
    """Count with group-bys, as fast as pandas goes."""
    together, shown = np.zeros((n, n)), np.zeros((n, n))
    for columns, into in ((("a", "b"), (together, shown)), (("a", "odd"), (shown,)), (("b", "odd"), (shown,))):
        for (i, j), count in table.groupby(list(columns)).size().items():
            for matrix in into:
                matrix[i, j] += count
                matrix[j, i] += count
    with np.errstate(invalid="ignore"):
        return together / shown


def loop_split(table: pd.DataFrame, n: int, seed: int) -> float:
    """Correlate one random split's halves, counted with group-bys and ranked by scipy."""
    half = table.sample(frac=0.5, random_state=seed)
    first, second = grouped_rsm(half, n), grouped_rsm(table.drop(half.index), n)
    upper = np.triu_indices(n, 1)
    x, y = first[upper], second[upper]
    both = ~np.isnan(x) & ~np.isnan(y)
    return float(spearmanr(x[both], y[both]).statistic)


def loop_greedy(n: int, seed: int, pool: int = 10_000) -> int:
    """Run Algorithm 1 as written, up to line 9."""
    rng = random.Random(seed)
    every = list(itertools.combinations(range(n), 3))
    open_pairs = set(itertools.combinations(range(n), 2))
    taken = 0
    while open_pairs:
        candidates = rng.sample(every, min(len(every), pool))
        best = max(candidates, key=lambda t: sum(p in open_pairs for p in itertools.combinations(t, 2)))
        open_pairs -= set(itertools.combinations(best, 2))
        taken += 1
    return taken


def compare_counts(triplets: Triplets, repeats: int) -> None:
    table = pd.DataFrame(triplets.rows, columns=["a", "b", "odd"])
    n = len(triplets.ids)
    runs = {
        "vidsim": triplets.rsm,
        "pandas, row by row": lambda: loop_rsm(table, n),
        "pandas, group-by": lambda: grouped_rsm(table, n),
    }
    np.testing.assert_array_equal(triplets.rsm().upper, loop_rsm(table, n)[np.triu_indices(n, 1)])
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            taken[name].append(seconds(run))
    print(f"RSM of {len(triplets):,} trials over {n} stimuli")
    for name, times in taken.items():
        ratio = median(times) / median(taken["vidsim"])
        print(f"  {name:22} {1e3 * median(times):9.1f} ms, {ratio:7.1f}x vidsim's time")


def compare_reliability(triplets: Triplets, splits: int) -> None:
    table = pd.DataFrame(triplets.rows, columns=["a", "b", "odd"])
    n = len(triplets.ids)
    ours = [seconds(lambda: reliability(triplets, splits=1000, resamples=1000)) for _ in range(3)]
    plain = [seconds(lambda: reliability(triplets, splits=1000, resamples=0)) for _ in range(3)]
    theirs = seconds(lambda: [loop_split(table, n, seed) for seed in range(splits)]) / splits
    found = reliability(triplets, splits=1000, resamples=1000)
    print(f"Reliability of {len(triplets):,} trials, 1,000 splits: {found.spearman_brown:.4f}")
    print(f"  vidsim                 {median(ours):9.2f} s (goal 5), with the interval of 1,000 resamples")
    print(f"  vidsim                 {median(plain):9.2f} s, without an interval")
    print(f"  pandas and scipy       {1000 * theirs:9.1f} s for 1,000 ({splits} run), no interval, ", end="")
    print(f"{1000 * theirs / median(plain):.0f}x vidsim's time")


def compare_denoised(triplets: Triplets, halves: int = 5) -> None:
    """Correlate the RSM of one random half of the trials, raw and denoised, with the raw RSM of the other half."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"raw": [], "denoised": []}
    for _ in range(halves):
        order = rng.permutation(len(triplets))
        half = len(order) // 2
        first, second = triplets.select(order[:half]), triplets.select(order[half:])
        target = second.rsm().upper
        for name, rsm in (("raw", first.rsm()), ("denoised", denoised_rsm(fit(first, 5, l2=2.0)))):
            both = ~np.isnan(target) & ~np.isnan(rsm.upper)
            found[name].append(float(spearmanr(rsm.upper[both], target[both]).statistic))
    print(f"RSM of a random half of the trials against the raw RSM of the other half (Spearman, {halves} times)")
    for name, values in found.items():
        print(f"  {name:22} {np.mean(values):9.3f} ({min(values):.3f} to {max(values):.3f})")


def compare_design(small: int) -> None:
    print("Triplet design")
    for n, goal in ((250, 0.5), (998, 5.0)):
        times = [seconds(lambda n=n: cover(n, seed=0)) for _ in range(5)]
        rows = cover(n, seed=0)
        assert pairs_covered(rows, n) == n * (n - 1) // 2
        assert len(rows) == schoenheim(n)
        print(f"  optimal, {n} stimuli: {len(rows):,} triplets in {median(times):.3f} s (goal {goal})")
    taken = seconds(lambda: greedy_cover(250, seed=0))
    print(f"  greedy, 250 stimuli: {len(greedy_cover(250, seed=0)):,} triplets in {taken:.2f} s (10,780 in the paper)")
    ours = [seconds(lambda: greedy_cover(small, seed=0)) for _ in range(3)]
    theirs = seconds(lambda: loop_greedy(small, 0))
    print(
        f"  greedy, {small} stimuli: {len(greedy_cover(small, seed=0))} triplets in {median(ours):.4f} s; plain Python "
        f"{loop_greedy(small, 0)} in {theirs:.1f} s, {theirs / median(ours):.0f}x vidsim's time"
    )


LARGE = """
import time, numpy as np
from memory import peak
from vidsim.triplets import Triplets
n, t = 10_000, 10_000_000
rng = np.random.default_rng(0)
a = rng.integers(0, n, t, dtype=np.int32)
b = (a + rng.integers(1, n // 2, t, dtype=np.int32)) % n
odd = (b + rng.integers(1, n // 2, t, dtype=np.int32)) % n
triplets = Triplets(tuple(map(str, range(n))), np.stack([a, b, odd], axis=1))
del a, b, odd
start = time.perf_counter()
counts = triplets.counts()
middle = time.perf_counter()
most = peak()
assert counts.shown.sum() == 3 * t and counts.together.sum() == t
del counts
again = time.perf_counter()
triplets.rsm()
stop = time.perf_counter()
last = peak()
print(f"{middle - start:.1f} {most:.0f} {stop - again:.1f} {last:.0f}")
"""


def large() -> None:
    """Count ten million trials in a process of its own, so that the peak memory is its own."""
    command = [sys.executable, "-c", LARGE]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    out = done.stdout.split()
    print("10,000,000 trials over 10,000 stimuli, in a process of its own")
    print(f"  counts                 {out[0]:>9} s (goal 10), peak memory {int(out[1]):,} MB (goal 2,000)")
    print(f"  counts and square RSM  {out[2]:>9} s, peak memory {int(out[3]):,} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--small", type=int, default=40)
    options = parser.parse_args()
    triplets = trials(options.release)
    compare_counts(triplets, options.repeats)
    large()
    compare_reliability(triplets, options.splits)
    compare_denoised(triplets)
    compare_design(options.small)
    print(f"peak memory of this process {peak():,.0f} MB")


if __name__ == "__main__":
    main()
