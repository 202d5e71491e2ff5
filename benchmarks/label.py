"""Predicted triplets from an index on disk to a Parquet file, beside the plain numpy way on the same vectors.

    python benchmarks/label.py [--triplets 10000000] [--plain 500000] [--clips 100000] [--dims 768]

Each side is a process of its own, so that its peak memory is its own; they take turns. The plain way gathers the three
rows of each triplet, multiplies them with einsum, takes the softmax and writes with pandas; it does fewer triplets, a
chunk at a time, and its rate is compared. It draws with replacement, and checks nothing.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from memory import measured

from vidsim.embeddings import Embeddings
from vidsim.retrieval import indexes

OURS = """
import sys
from vidsim.cli import main
try:
    main(["label", "random:last", "--root", sys.argv[1], "--out", sys.argv[2], "-n", sys.argv[3], "--force",
          "--temperature", "0.05", *sys.argv[4:]])
except SystemExit as stop:
    assert not stop.code, stop.code
"""

PLAIN = """
import sys
import numpy as np
import pandas as pd
root, out, count, chunk = sys.argv[1], sys.argv[2], int(sys.argv[3]), 50_000
matrix = np.load(root)
ids = np.array([f"clips/{row:06}.mp4" for row in range(len(matrix))], object)
rng = np.random.default_rng(0)
parts = []
for first in range(0, count, chunk):
    rows = rng.integers(len(matrix), size=(min(chunk, count - first), 3))
    x = matrix[rows]
    pairs = [np.einsum("td,td->t", x[:, i], x[:, j]) for i, j in ((1, 2), (0, 2), (0, 1))]
    p = np.exp(np.stack(pairs, axis=1) / 0.05)
    p /= p.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(ids[rows], columns=["a", "b", "c"])
    frame["odd"] = ids[rows[np.arange(len(rows)), p.argmax(axis=1)]]
    frame["probability"], frame["entropy"] = p.max(axis=1), -(p * np.log(p)).sum(axis=1)
    parts.append(frame)
pd.concat(parts).to_parquet(out)
"""


def measure(code: str, *arguments: object) -> dict[str, float]:
    seconds, megabytes, _ = measured([sys.executable, "-c", code, *map(str, arguments)])
    return {"seconds": seconds, "peak": megabytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triplets", type=int, default=10_000_000)
    parser.add_argument("--plain", type=int, default=500_000, help="triplets of the plain way")
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    matrix = np.random.default_rng(0).normal(size=(arguments.clips, arguments.dims)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    ids = tuple(f"clips/{row:06}.mp4" for row in range(arguments.clips))
    with tempfile.TemporaryDirectory() as place:
        entries = pa.table({"id": ids, "path": [f"/videos/{i}" for i in ids], "content": [f"{i:>32}" for i in ids]})
        built = Embeddings(ids, matrix)
        indexes.build(place, built, entries, encoder="random", layer="last", provenance={"identity": {}}, kind="flat")
        np.save(Path(place, "vectors.npy"), matrix)
        del matrix, built
        times: dict[str, list[dict[str, float]]] = {"vidsim label": [], "plain numpy": []}
        for _ in range(arguments.repeats):
            times["vidsim label"].append(measure(OURS, place, Path(place, "labels"), arguments.triplets))
            out = Path(place, "plain.parquet")
            times["plain numpy"].append(measure(PLAIN, Path(place, "vectors.npy"), out, arguments.plain))
        sizes = {
            "vidsim label": Path(place, "labels", "triplets.parquet").stat().st_size / arguments.triplets,
            "plain numpy": Path(place, "plain.parquet").stat().st_size / arguments.plain,
        }
        uncertain = (arguments.triplets // 10, "--design", "uncertain", "--pool", arguments.triplets)
        hard = measure(OURS, place, Path(place, "labels"), *uncertain)
    counts = {"vidsim label": arguments.triplets, "plain numpy": arguments.plain}
    rates: dict[str, float] = {}
    for name, runs in times.items():
        seconds = statistics.median(run["seconds"] for run in runs)
        rates[name] = counts[name] / seconds
        told = ", ".join(f"{run['seconds']:.1f}" for run in runs)
        print(
            f"{name}: {counts[name]:,} triplets in {seconds:.1f} s ({told}), {rates[name]:,.0f} a second, peak "
            f"{max(run['peak'] for run in runs):,.0f} MB, {sizes[name]:.1f} bytes a triplet"
        )
    print(f"vidsim over plain numpy: {rates['vidsim label'] / rates['plain numpy']:.1f}x the rate")
    kept = uncertain[0]
    print(f"uncertain, the {kept:,} most of {arguments.triplets:,}: {hard['seconds']:.1f} s, {hard['peak']:,.0f} MB")
    print("goals: 10,000,000 triplets of 100,000 clips under 60 s and 4,000 MB")


if __name__ == "__main__":
    main()
