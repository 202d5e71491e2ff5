"""The store on an object store: a local server that speaks S3."""

import pyarrow as pa
import pytest

from vidsim.errors import StoreError
from vidsim.store import Entry, Failure, Store

from store import worker


def test_a_remote_store_is_written_read_reopened_and_optimized(bucket: str) -> None:
    root = f"{bucket}/some prefix/indexes/"
    with pytest.raises(StoreError, match=r"there is no store in 's3://bucket/some prefix/indexes'; make one"):
        Store(root)
    Store(root, create=True)
    table = worker.open_table(root)
    table.write([Entry(n, "", f"c{n}") for n in "abc"], worker.vectors(["ca", "cb", "cc"]))
    table.write([Entry("c", "", "c2")], worker.vectors(["c2"]))
    table.copy([("a", Entry("x' y", "/x", "ca"))], remove_sources=True)
    assert table.delete(["b"]) == 1
    store = Store(root)
    store.failures.record([Failure(path="/f", scope="pyav", kind="empty", reason="no bytes")])
    store.stimuli.put("set", pa.table({"id": ["a"], "rating.x": [1.0]}))
    again = Store(root)
    assert worker.contents(again.tables()[0]) == {"x' y": "ca", "c": "c2"}
    assert [f.path for f in again.failures] == ["/f"]
    assert again.stimuli["set"]["rating.x"].to_pylist() == [1.0]
    assert again.info()["tables"][0]["bytes"] > 0
    again.optimize()
    assert again.check() == []
    assert worker.contents(table) == {"x' y": "ca", "c": "c2"}


def test_processes_write_to_a_remote_store_at_once(bucket: str) -> None:
    root = f"{bucket}/concurrent"
    with worker.workers(root, ("w0", "8", "shared"), ("w1", "8", "shared", "moves")) as running:
        store = Store(root, create=True)
        for process in running:
            worker.go(process)
        worker.finish(running)
    (table,) = store.tables()
    found = worker.contents(table)
    assert set(found.values()) == {f"content of all-{c}-{i}" for c in range(8) for i in range(4)}


def test_a_missing_bucket_is_told(bucket: str) -> None:
    with pytest.raises(StoreError, match="the bucket of the store in 's3://elsewhere/x' does not exist"):
        Store("s3://elsewhere/x", create=True)
