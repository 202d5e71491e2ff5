"""A process that writes to a store; run by the tests of concurrency and of sudden death.

Every row's vectors are a function of its content, so that whoever reads can tell rows that were shifted or mixed.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

import vidsim
from vidsim.store import EmbeddingTable, Entry, Store

LAYERS = {"blocks.0": 5, "head": 3}


def vector(content: str, layer: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(f"{content}/{layer}".encode()).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(LAYERS[layer], np.float32)


def vectors(contents: list[str]) -> dict[str, np.ndarray]:
    return {layer: np.stack([vector(content, layer) for content in contents]) for layer in LAYERS}


def open_table(root: str) -> EmbeddingTable:
    return Store(root, create=True).create(
        "worker", {"test": True}, LAYERS, default_layer="head", versions={"numpy": np.__version__}
    )


def content_of(name: str) -> str:
    return f"content of {name.removeprefix('moved/')}"


def look(table: EmbeddingTable) -> int:
    """Check all vectors by their ids while others write, and return how many rows there are at least."""
    count = len(table)
    assert count % 4 == 0  # no commit is seen by half, no move by one end
    for layer in LAYERS:
        embeddings = table[layer]
        assert len(embeddings) >= count
        for name, row in zip(embeddings.ids, embeddings.matrix, strict=True):
            assert np.array_equal(row, vector(content_of(name), layer)), (name, layer)
    return count


def contents(table: EmbeddingTable) -> dict[str, str]:
    """Check that every vector is its row's, and return the content of every id."""
    rows = table.entries()
    found = dict(zip(rows["id"].to_pylist(), rows["content"].to_pylist(), strict=True))
    assert len(found) == len(rows)
    for layer in LAYERS:
        embeddings = table[layer]
        assert set(embeddings.ids) == set(found)
        for name, row in zip(embeddings.ids, embeddings.matrix, strict=True):
            assert np.array_equal(row, vector(found[name], layer)), (name, layer)
    return found


def write(root: str, who: str, commits: int, shared: bool, moves: bool) -> None:
    """Commit rows, and print a line after each commit; `shared` ids are written by every worker alike."""
    sys.stdin.readline()
    table = open_table(root)
    for commit in range(commits):
        names = [f"{'all' if shared else who}-{commit}-{i}" for i in range(4)]
        table.write(
            [Entry(name, f"/clips/{name}", content_of(name)) for name in names],
            vectors([content_of(name) for name in names]),
        )
        tell("wrote", commit)
        if moves:
            pairs = [(n, Entry(f"moved/{n}", f"/moved/{n}", content_of(n))) for n in names[:2]]
            table.copy(pairs, remove_sources=True)
            tell("moved", commit)


def tell(what: str, commit: int) -> None:
    sys.stdout.write(f"{what} {commit}\n")
    sys.stdout.flush()


def environment() -> dict[str, str]:
    """Return an environment in which a process imports this vidsim."""
    return {**os.environ, "PYTHONPATH": str(Path(vidsim.__file__).parents[1])}


@contextmanager
def workers(root: str, *arguments: tuple[str, ...]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start processes that wait for a line before they write; none outlives the test."""
    with ExitStack() as stack:
        started: list[subprocess.Popen[str]] = []
        for more in arguments:
            command = [sys.executable, __file__, root, *more]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment())
            )
            stack.callback(process.kill)
            started.append(process)
        yield started


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.communicate()
        assert process.returncode == 0


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]), "shared" in sys.argv, "moves" in sys.argv)
