"""Measure the sparse random projection against scikit-learn's, drawing of the matrix included.

Prints ratios of medians over interleaved repeats in one run, and the peak memory that one projection adds to a fresh
process that already holds the libraries and the input.

    python benchmarks/projection.py
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import psutil
from sklearn.random_projection import SparseRandomProjection

from vidsim.projection import SparseProjection

ROWS, DIMS = 50, 4732
WIDTHS = {301_056: "a map of 96 x 56 x 56", 1_204_992: "TimeSformer's 1,569 tokens of 768, flattened"}


def ours(features: np.ndarray) -> np.ndarray:
    return SparseProjection(features.shape[1], DIMS).transform(features)


def theirs(features: np.ndarray) -> np.ndarray:
    return SparseRandomProjection(DIMS, random_state=0).fit_transform(features)


RUNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"vidsim": ours, "scikit-learn": theirs}


def features(width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((ROWS, width), dtype=np.float32)


def compare(width: int, repeats: int) -> None:
    rows = features(width)
    ours(rows)
    taken: dict[str, list[float]] = {name: [] for name in RUNS}
    for _ in range(repeats):
        for name, run in RUNS.items():
            start = time.perf_counter()
            run(rows)
            taken[name].append(time.perf_counter() - start)
    seconds = {name: median(times) for name, times in taken.items()}
    memory = {name: added_memory(name, width) for name in RUNS}
    print(f"{ROWS} rows of {width:,} ({WIDTHS[width]}) -> {DIMS:,}, matrix drawn anew each time")
    for name in RUNS:
        print(f"  {name:12} {seconds[name]:7.3f} s, peak memory +{memory[name]:,.0f} MB")
    print(f"  scikit-learn / vidsim: time {seconds['scikit-learn'] / seconds['vidsim']:.1f}x, ", end="")
    print(f"memory {memory['scikit-learn'] / memory['vidsim']:.1f}x")


def added_memory(name: str, width: int) -> float:
    """Return the peak memory in MB that a projection adds, measured in a process of its own."""
    command = [sys.executable, __file__, "--memory", name, "--width", str(width)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(name: str, width: int) -> float:
    RUNS[name](features(6000))  # libraries loaded, threads started
    rows = features(width)
    before = psutil.Process().memory_info().rss
    RUNS[name](rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return (peak - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", choices=sorted(RUNS))
    parser.add_argument("--width", type=int)
    options = parser.parse_args()
    if options.memory:
        print(measure_memory(options.memory, options.width))
        return
    for width in [options.width] if options.width else WIDTHS:
        compare(width, options.repeats)


if __name__ == "__main__":
    main()
