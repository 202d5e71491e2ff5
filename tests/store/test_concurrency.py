import time
from datetime import timedelta
from pathlib import Path

import numpy as np

from vidsim.store import Store

from store import worker


def test_processes_write_at_once_while_others_read_and_optimize(tmp_path: Path) -> None:
    root = str(tmp_path)
    with worker.workers(
        root, ("w0", "20"), ("w1", "20", "moves"), ("w2", "20", "shared"), ("w3", "20", "shared")
    ) as running:
        store = Store(root, create=True)  # the workers make the table, all at once
        for process in running:
            worker.go(process)
        counts: list[int] = []
        while any(process.poll() is None for process in running):
            if store.tables():
                counts.append(worker.look(store.tables()[0]))
                store.optimize(keep=timedelta(minutes=1))
            time.sleep(0.01)
        worker.finish(running)
    (table,) = store.tables()
    found = worker.contents(table)
    own = {f"w0-{c}-{i}" for c in range(20) for i in range(4)}
    moved = {f"{'moved/' if i < 2 else ''}w1-{c}-{i}" for c in range(20) for i in range(4)}
    shared = {f"all-{c}-{i}" for c in range(20) for i in range(4)}
    assert set(found) == own | moved | shared
    assert counts == sorted(counts)
    store.optimize()
    assert worker.contents(table) == found
    assert store.info()["tables"][0]["superseded"] == 0


def test_a_writer_killed_at_any_moment_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    root = str(tmp_path)
    table = worker.open_table(root)
    rng = np.random.default_rng(0)
    kills = 10
    with worker.workers(root, *[(f"k{kill}", "1000", "moves") for kill in range(kills)]) as running:
        for kill, process in enumerate(running):
            worker.go(process)
            assert process.stdout is not None
            told = [process.stdout.readline()]
            time.sleep(rng.uniform(0, 0.1))
            process.kill()
            told += process.stdout.readlines()
            found = worker.contents(table)
            mine = {content for content in found.values() if content.startswith(f"content of k{kill}-")}
            # every committed clip stands once, moved or not; a commit is there as a whole or not at all
            assert len(mine) == sum(1 for content in found.values() if content in mine)
            assert len(mine) % 4 == 0
            assert len(mine) // 4 - sum(line.startswith("wrote") for line in told) in {0, 1}
            for line in told:
                what, _, commit = line.strip().partition(" ")
                here = {name for name in found if f"k{kill}-{commit}-" in name}
                assert len(here) == 4
                assert what == "wrote" or sum(name.startswith("moved/") for name in here) == 2
    store = Store(root)
    before = worker.contents(table)
    store.optimize(keep=timedelta(0))
    assert worker.contents(table) == before
    assert store.check() == []
