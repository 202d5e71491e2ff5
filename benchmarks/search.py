"""`vidsim search ID` and `vidsim --help` as whole processes, beside a bare numpy script that does the same search.

    python benchmarks/search.py [--rows 100000] [--dims 768]

Every figure is the median of several fresh processes; the commands take turns.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from vidsim.embeddings import Embeddings
from vidsim.retrieval import index

NUMPY = """
import json, sys
import numpy as np
matrix, ids = np.load(sys.argv[1]), json.load(open(sys.argv[2]))
matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
similarity = matrix @ matrix[ids.index(sys.argv[3])]
for row in np.argsort(-similarity)[1:11]:
    print(json.dumps({"id": ids[row], "similarity": float(similarity[row])}))
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    matrix = np.random.default_rng(0).normal(size=(arguments.rows, arguments.dims)).astype(np.float32)
    ids = tuple(f"clips/{row:06}.mp4" for row in range(arguments.rows))
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        entries = pa.table({"id": ids, "path": [f"/videos/{i}" for i in ids], "content": [f"{i:>32}" for i in ids]})
        index.build(place, Embeddings(ids, matrix), entries, encoder="random", layer="last", provenance={})
        print(f"index of {arguments.rows} x {arguments.dims} built in {time.perf_counter() - start:.1f} s")
        vectors, names = Path(place, "vectors.npy"), Path(place, "ids.json")
        np.save(vectors, matrix)
        names.write_text(str(list(ids)).replace("'", '"'))
        del matrix
        vidsim = os.fspath(Path(sys.executable).with_name("vidsim"))
        commands = {
            "vidsim search ID": [vidsim, "search", ids[123], "--root", place, "--json"],
            "numpy script": [sys.executable, "-c", NUMPY, str(vectors), str(names), ids[123]],
            "vidsim --help": [vidsim, "--help"],
            "vidsim models": [vidsim, "models"],
            "python -c pass": [sys.executable, "-c", "pass"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.repeats):
            for name, command in commands.items():
                times[name].append(seconds(command))
    for name, values in times.items():
        print(f"{name}: median {statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})")
    ratios = [b / a for a, b in zip(times["vidsim search ID"], times["numpy script"], strict=True)]
    print(f"numpy script over vidsim search: {statistics.median(ratios):.2f}x")
    print("goals: search under 1.5 s, help under 0.15 s")


if __name__ == "__main__":
    main()
