"""Search beside numpy, faiss and LanceDB over the same vectors, and `vidsim search` as a command.

    python benchmarks/search.py [--kinds ivf-flat hnsw] [--parts batch single approximate commands]

batch: many queries at once, exactly; sides take turns, and medians, best runs and the ratios of both are printed.
single: one query through the Python API, with the index loaded. approximate: each kind built to recall@10 of at least
.99, beside the flat index, with build time and peak memory of a fresh process. commands: fresh processes, from nothing
to the printed result. Vectors lie round a thousand centres; neighbours are then worth finding, as among embeddings.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from memory import peak

from vidsim.embeddings import Embeddings
from vidsim.retrieval import indexes
from vidsim.retrieval.index import Index

NUMPY = """
import json, sys
import numpy as np
matrix, ids = np.load(sys.argv[1]), json.load(open(sys.argv[2]))
matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
similarity = matrix @ matrix[ids.index(sys.argv[3])]
for row in np.argsort(-similarity)[1:11]:
    print(json.dumps({"id": ids[row], "similarity": float(similarity[row])}))
"""
PARTS = ("batch", "single", "approximate", "commands")
RECALL = 0.99


def clustered(rows: int, dims: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, dims)).astype(np.float32)
    matrix = np.empty((rows, dims), np.float32)
    for start in range(0, rows, 10_000):  # so that the peak of memory is that of indexing
        part = matrix[start : start + 10_000]
        part[:] = centres[rng.integers(len(centres), size=len(part))] + rng.normal(size=part.shape, scale=0.5)
    return matrix


def built(place: str, matrix: np.ndarray, kind: str) -> Index:
    ids = tuple(f"clips/{row:06}.mp4" for row in range(len(matrix)))
    entries = pa.table({"id": ids, "path": [f"/videos/{i}" for i in ids], "content": [f"{i:>32}" for i in ids]})
    return indexes.build(
        place,
        Embeddings(ids, matrix),
        entries,
        encoder="random",
        layer="last",
        provenance={},
        kind=kind,
        min_recall=RECALL,
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def turns(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time every side once a turn."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, work in sides.items():
            times[name].append(seconds(work))
    return times


def batch(place: str, unit: np.ndarray, queries: int, repeats: int) -> None:
    import faiss
    import lancedb

    loaded = indexes.load(place, "random", "last")
    asked = np.ascontiguousarray(unit[:: max(1, len(unit) // queries)][:queries])
    flat = faiss.IndexFlatIP(unit.shape[1])
    flat.add(unit)

    def numpy() -> np.ndarray:
        found = []
        for start in range(0, len(asked), 64):  # all products at once would take more memory than the vectors
            products = asked[start : start + 64] @ unit.T
            rows = np.argpartition(products, -10, axis=1)[:, -10:]
            order = np.argsort(-np.take_along_axis(products, rows, axis=1), axis=1)
            found.append(np.take_along_axis(rows, order, axis=1))
        return np.concatenate(found)

    theirs = [unit[rows] @ query for rows, query in zip(numpy(), asked, strict=True)]
    np.testing.assert_allclose(loaded.search_many(asked, 10)[0], theirs, atol=1e-6)  # rows may differ in rounding
    times = turns(
        {
            "vidsim": lambda: loaded.search_many(asked, 10),
            "numpy": numpy,
            "faiss flat": lambda: flat.search(asked, 10),
        },
        repeats,
    )
    few = min(10, len(asked))
    with tempfile.TemporaryDirectory() as folder:
        column = pa.FixedSizeListArray.from_arrays(pa.array(unit.ravel()), unit.shape[1])
        table = lancedb.connect(folder).create_table("t", pa.table({"row": np.arange(len(unit)), "vector": column}))
        lance = []
        for query in asked[:few]:
            search = table.search(query).distance_type("dot").limit(10).select(["row", "_distance"])
            lance.append(seconds(search.to_arrow))
    print(f"exact search of {len(asked)} queries at once, ms a query:")
    for name, values in times.items():
        print(
            f"  {name}: median {statistics.median(values) / len(asked) * 1e3:.2f}, "
            f"best {min(values) / len(asked) * 1e3:.2f}"
        )
    print(f"  LanceDB flat, one by one: median {statistics.median(lance) * 1e3:.0f}, best {min(lance) * 1e3:.0f}")
    for name in ("numpy", "faiss flat"):
        ratios = [a / b for a, b in zip(times["vidsim"], times[name], strict=True)]
        best = min(times["vidsim"]) / min(times[name])
        print(f"  vidsim over {name}: median {statistics.median(ratios):.2f}, of the best runs {best:.2f} (goal 1.1)")


def single(place: str, unit: np.ndarray, repeats: int) -> None:
    loaded = indexes.load(place, "random", "last")
    loaded.search(unit[0], 10)
    times = [seconds(lambda row=row: loaded.search(unit[row], 10, exclude=row)) for row in range(10 * repeats)]
    print(
        f"one query through the API, index loaded: median {statistics.median(times) * 1e3:.1f} ms, "
        f"best {min(times) * 1e3:.1f} ms (goal 25 ms)"
    )


def approximate(kind: str, rows: int, dims: int, queries: int, repeats: int) -> None:
    """Build one kind, and compare it with a flat index; run in a process of its own, for its peak memory."""
    matrix = clustered(rows, dims)
    before = peak()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryDirectory() as other:
        start = time.perf_counter()
        manifest = built(place, matrix, kind).manifest
        took = time.perf_counter() - start
        most = peak()
        disk = sum(p.stat().st_size for p in Path(place).rglob("*") if p.is_file())
        built(other, matrix, "flat")
        some, flat = indexes.load(place, "random", "last"), indexes.load(other, "random", "last")
        asked = np.ascontiguousarray(matrix[:: max(1, rows // queries)][:queries])
        one = asked[0]
        times = turns(
            {
                "batch": lambda: some.search_many(asked, 10),
                "flat batch": lambda: flat.search_many(asked, 10),
                "one": lambda: [some.search(one, 10) for _ in range(10)],
                "flat one": lambda: [flat.search(one, 10) for _ in range(10)],
            },
            repeats,
        )
    recall = manifest["recall"]["recall"]
    print(f"{kind}: recall@10 {recall:.3f} {json.dumps(manifest['parameters'])}")
    print(
        f"  built in {took:.0f} s, peak memory {most:.0f} MB ({most - before:.0f} MB beside the "
        f"embeddings), {disk / 2**20:.0f} MB on disk"
    )
    for name, count in (("batch", len(asked)), ("one", 10)):
        own, of_flat = times[name], times[f"flat {name}"]
        ratio = statistics.median(b / a for a, b in zip(own, of_flat, strict=True))
        print(
            f"  {name}: best {min(own) / count * 1e3:.3f} ms a query, flat {min(of_flat) / count * 1e3:.2f} ms: "
            f"median {ratio:.0f} times faster, best runs {min(of_flat) / min(own):.0f} (goal 10)"
        )


def commands(place: str, matrix: np.ndarray, repeats: int) -> None:
    ids = [f"clips/{row:06}.mp4" for row in range(len(matrix))]
    vectors, names = Path(place, "vectors.npy"), Path(place, "ids.json")
    np.save(vectors, matrix)
    names.write_text(json.dumps(ids))
    vidsim = os.fspath(Path(sys.executable).with_name("vidsim"))
    lines = {
        "vidsim search ID": [vidsim, "search", ids[123], "--root", place, "--json"],
        "numpy script": [sys.executable, "-c", NUMPY, str(vectors), str(names), ids[123]],
        "vidsim --help": [vidsim, "--help"],
        "vidsim models": [vidsim, "models"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    sides: dict[str, Callable[[], object]] = {}
    for name, line in lines.items():
        sides[name] = partial(subprocess.run, line, check=True, stdout=subprocess.DEVNULL)
    times = turns(sides, repeats)
    for name, values in times.items():
        print(f"{name}: median {statistics.median(values):.3f} s ({min(values):.3f} to {max(values):.3f})")
    ratios = [b / a for a, b in zip(times["vidsim search ID"], times["numpy script"], strict=True)]
    print(f"numpy script over vidsim search: {statistics.median(ratios):.2f}x")
    print("goals: search under 1.5 s, help under 0.15 s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--kinds", nargs="+", default=["ivf-flat"], help="also ivf-pq, hnsw")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--one-kind", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sizes = (arguments.rows, arguments.dims, arguments.queries, arguments.repeats)
    if arguments.one_kind:
        approximate(arguments.one_kind, *sizes)
        return
    print(f"{arguments.rows} x {arguments.dims}")
    if set(arguments.parts) - {"approximate"}:
        matrix = clustered(arguments.rows, arguments.dims)
        with tempfile.TemporaryDirectory() as place:
            print(f"flat index built in {seconds(lambda: built(place, matrix, 'flat')):.1f} s")
            unit = np.array(indexes.load(place, "random", "last").vectors(np.arange(arguments.rows)))
            if "batch" in arguments.parts:
                batch(place, unit, arguments.queries, arguments.repeats)
            if "single" in arguments.parts:
                single(place, unit, arguments.repeats)
            del unit
            if "commands" in arguments.parts:
                commands(place, matrix, arguments.repeats)
        del matrix
    if "approximate" in arguments.parts:
        for kind in arguments.kinds:
            options = zip(("--rows", "--dims", "--queries", "--repeats"), map(str, sizes), strict=True)
            own = [sys.executable, __file__, "--one-kind", kind, *(word for pair in options for word in pair)]
            subprocess.run(own, check=True)


if __name__ == "__main__":
    main()
