"""Measure exact search and the building of indexes by faiss-gpu, beside the same on the CPU.

python benchmarks/gpu_search.py
"""

import argparse
import time

import numpy as np
from device import timed
from search import clustered

from vidsim.retrieval import approximate, exact, gpu


def compare(rows: int, dims: int, queries: int) -> None:
    """Compare searching and building on the GPU with the same on the CPU."""
    matrix = clustered(rows, dims)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    asked = np.ascontiguousarray(matrix[:: rows // queries][:queries])
    on_gpu, on_cpu = gpu.nearest(matrix, asked, 10), exact.nearest_among(exact.blocks(matrix), asked, 10)
    same = np.mean(on_gpu[1] == on_cpu[1])
    print(f"exact: the same rows in {same:.2%}, similarities differ by {abs(on_gpu[0] - on_cpu[0]).max():.1e} at most")
    fast = timed(lambda: gpu.nearest(matrix, asked, 10), "cpu")
    slow = timed(lambda: exact.nearest_among(exact.blocks(matrix), asked, 10), "cpu")
    print(f"  {len(asked):,} queries in {rows:,} x {dims}: {fast:.3f} s, on the CPU {slow:.3f} s, {slow / fast:.1f}x")
    there = gpu.available
    for kind in ("ivf-flat", "ivf-pq"):
        seconds, found = [], []
        for answer in (there, lambda: False):
            gpu.available = answer
            start = time.perf_counter()
            structure = approximate.build(kind, matrix, 0)
            seconds.append(time.perf_counter() - start)
            structure.parameters["nprobe"] = 16
            nearest = structure.nearest(asked, 10)[1]
            found.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest, on_cpu[1], strict=True)]))
        gpu.available = there
        one, two = seconds
        print(f"{kind}: built in {one:.1f} s, on the CPU {two:.1f} s, {two / one:.1f}x; ", end="")
        print("recall@10 at 16 lists {:.3f} and {:.3f}".format(*found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--queries", type=int, default=1000)
    told = parser.parse_args()
    if not gpu.available():
        parser.error("faiss sees no GPU; expected faiss-gpu and a device")
    compare(told.rows, told.dims, told.queries)


if __name__ == "__main__":
    main()
