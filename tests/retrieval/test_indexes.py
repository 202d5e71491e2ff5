import errno
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.embeddings import Embeddings
from vidsim.errors import IndexCorrupted, VidsimError
from vidsim.retrieval import flat, indexes, manifest


@pytest.mark.usefixtures("unhooked")
def test_a_root_may_be_a_path(tmp_path):
    entries = pa.table({"id": ["a", "b"], "path": ["/a", "/b"], "content": ["1", "2"]})
    embeddings = Embeddings(("a", "b"), np.eye(2, dtype=np.float32))
    made = indexes.build(tmp_path, embeddings, entries, encoder="net", layer="block", provenance={})
    assert indexes.load(tmp_path, "net", "block").manifest == made.manifest
    assert indexes.load(str(tmp_path), "net", "block").ids == ["a", "b"]


def build(root, matrix, *, layer="block.1", version=1):
    ids = tuple(f"clip {row}" for row in range(len(matrix)))
    entries = pa.table(
        {
            "id": ids[::-1],  # entries may come in another order than embeddings
            "path": [f"/videos/{i}.mp4" for i in ids[::-1]],
            "content": [f"hash {i}" for i in ids[::-1]],
            "size": [1] * len(ids),
        }
    )
    embeddings = Embeddings(ids, matrix)
    return indexes.build(
        str(root), embeddings, entries, encoder="some/model", layer=layer, provenance={"version": version}
    )


@settings(max_examples=25)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 12), st.randoms(use_true_random=False))
def test_search_equals_brute_force(tmp_path_factory, rows, dims, n, random):
    rng = np.random.default_rng(random.randrange(1 << 30))
    matrix = rng.normal(size=(rows, dims)).astype(np.float32)
    index = build(tmp_path_factory.mktemp("index"), matrix)
    query = rng.normal(size=dims)
    cosines = [float(query @ v / np.linalg.norm(query) / np.linalg.norm(v)) for v in matrix.astype(float)]
    hits = index.search(query, n)
    assert len(hits) == min(n, rows)
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    np.testing.assert_allclose([hit.similarity for hit in hits], sorted(cosines, reverse=True)[:n], atol=1e-5)
    for hit in hits:
        row = int(hit.id.removeprefix("clip "))
        assert hit.path == f"/videos/{hit.id}.mp4"
        assert hit.similarity == pytest.approx(cosines[row], abs=1e-5)


def test_nearest_neighbour_of_a_row_is_itself_and_can_be_left_out(tmp_path):
    rng = np.random.default_rng(0)
    index = build(tmp_path, rng.normal(size=(20, 16)).astype(np.float16))
    for row in range(20):
        itself = index.search(index.vector(row), 1)[0]
        assert (itself.id, itself.similarity) == (f"clip {row}", pytest.approx(1.0, abs=1e-5))
        others = index.search(index.vector(row), 19, exclude=row)
        assert {hit.id for hit in others} == {f"clip {r}" for r in range(20)} - {f"clip {row}"}


def test_a_loaded_index_is_the_built_one(tmp_path):
    matrix = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    built = build(tmp_path, matrix)
    loaded = indexes.load(str(tmp_path), "some/model", "block.1")
    assert loaded.manifest == built.manifest
    assert loaded.ids == built.ids
    assert loaded.search(matrix[3], 9) == built.search(matrix[3], 9)
    assert manifest.built(str(tmp_path)) == [("some/model", "block.1")]
    assert (loaded.find("path", "/videos/clip 4.mp4"), loaded.find("id", "nobody")) == (4, None)


def test_rebuilding_swaps_and_leaves_no_old_files(tmp_path):
    build(tmp_path, np.eye(3, dtype=np.float32), version=1)
    build(tmp_path, np.eye(4, dtype=np.float32), version=2)
    loaded = indexes.load(str(tmp_path), "some/model", "block.1")
    assert (len(loaded), loaded.manifest["provenance"]) == (4, {"version": 2})
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 3


def files(root: Path) -> dict[str, Path]:
    return {p.name.split("-")[0]: p for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("what", ["vectors", "entries"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damaged_files_are_refused_by_name(tmp_path, what, damage):
    build(tmp_path, np.eye(3, dtype=np.float32))
    path = files(tmp_path)[what]
    content = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
    with pytest.raises(IndexCorrupted, match=r"rebuild it: vidsim index FOLDER --encoder some/model"):
        indexes.load(str(tmp_path), "some/model", "block.1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("{}", "lacks entries"),
        ("[]", "lacks entries"),
        ('{"format": 2, "files": {}}', "lacks entries"),
        ('{"format": 1, "files": {}}', "of an older vidsim"),
    ],
)
def test_damaged_manifests_are_refused(tmp_path, content, message):
    build(tmp_path, np.eye(3, dtype=np.float32))
    files(tmp_path)["manifest.json"].write_text(content)
    with pytest.raises(IndexCorrupted, match=message):
        indexes.load(str(tmp_path), "some/model", "block.1")


def test_an_index_of_a_newer_vidsim_is_refused(tmp_path):
    build(tmp_path, np.eye(3, dtype=np.float32))
    files(tmp_path)["manifest.json"].write_text('{"format": 99}')
    for use in (indexes.load, manifest.intact):
        with pytest.raises(VidsimError, match=r"format 99.*upgrade vidsim"):
            use(str(tmp_path), "some/model", "block.1")


@pytest.mark.parametrize("damage", ["vectors", "entries", "manifest.json"])
def test_a_damaged_index_is_not_taken_for_intact_and_can_be_rebuilt(tmp_path, damage):
    built = build(tmp_path, np.eye(3, dtype=np.float32))
    assert manifest.intact(str(tmp_path), "some/model", "block.1") == built.manifest
    files(tmp_path)[damage].write_bytes(b"{")
    assert manifest.intact(str(tmp_path), "some/model", "block.1") is None
    again = build(tmp_path, np.eye(4, dtype=np.float32))
    assert manifest.intact(str(tmp_path), "some/model", "block.1") == again.manifest


def test_two_builders_at_once_leave_one_whole_index(tmp_path, monkeypatch):
    """The second builds, from start to end, just before the first publishes."""
    put = manifest.write_json
    second = []

    def late(path, content):
        if not second:
            second.append(True)
            build(tmp_path, np.eye(4, dtype=np.float32))
        put(path, content)

    monkeypatch.setattr(manifest, "write_json", late)
    first = build(tmp_path, np.eye(3, dtype=np.float32))
    assert indexes.load(str(tmp_path), "some/model", "block.1").manifest == first.manifest


def test_missing_index_names_the_command(tmp_path):
    with pytest.raises(VidsimError, match=r"no index of x y .*vidsim index FOLDER --encoder x"):
        indexes.load(str(tmp_path), "x", "y")


@pytest.mark.parametrize(
    ("query", "n", "message"),
    [
        (np.ones(3), 0, "at least 1"),
        (np.ones(2), 1, "2 dimensions, the index 3"),
        (np.zeros(3), 1, "zero or not finite"),
        (np.array([1.0, np.nan, 0.0]), 1, "zero or not finite"),
    ],
)
def test_impossible_queries_are_refused(tmp_path, query, n, message):
    with pytest.raises(VidsimError, match=message):
        build(tmp_path, np.eye(3, dtype=np.float32)).search(query, n)


@pytest.mark.parametrize("exclude", [3, np.int64(3), [3], {3}, np.array([3, 3]), (n for n in [3])])
def test_rows_are_left_out_however_they_are_given(tmp_path, unhooked, exclude):
    index = build(tmp_path, np.eye(6, dtype=np.float32))
    hits = index.search(np.eye(6)[3], 6, exclude=exclude)
    assert sorted(hit.row for hit in hits) == [0, 1, 2, 4, 5]


@pytest.mark.parametrize(
    "exclude", [-1, 6, [0, 100], 1.0, "1", True, [[1, 2]], np.zeros(6, bool), np.ones((2, 2), int)]
)
def test_what_is_no_row_cannot_be_left_out(tmp_path, unhooked, exclude):
    index = build(tmp_path, np.eye(6, dtype=np.float32))
    with pytest.raises(VidsimError, match=r"exclude holds .*: expected rows of the index, 0 to 5"):
        index.search(np.eye(6)[3], 6, exclude=exclude)


@pytest.mark.parametrize(
    ("within", "what"),
    [
        (np.array([1, 0, 0, 1, 0, 0]), r"int64 of shape \(6,\)"),
        (np.array([0, 3]), r"int64 of shape \(2,\)"),
        (np.ones(5, bool), r"bool of shape \(5,\)"),
        (np.ones((6, 1), bool), r"bool of shape \(6, 1\)"),
        ([True] * 6, "list"),
    ],
)
@pytest.mark.parametrize("least", [False, True])
def test_a_mask_of_other_rows_is_refused(tmp_path, unhooked, within, what, least):
    index = build(tmp_path, np.eye(6, dtype=np.float32))
    with pytest.raises(VidsimError, match=rf"within is {what}: expected bool of shape \(6,\)"):
        index.search(np.eye(6)[3], 2, within=within, least=least)


@pytest.mark.parametrize("make", [indexes.build, indexes.refresh])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "foo"}, "no kind 'foo': expected 'auto', 'flat', 'ivf-flat', 'ivf-pq' or 'hnsw'"),
        ({"min_recall": float("nan")}, "min_recall nan: expected a number from 0 to 1"),
        ({"min_recall": 1.5}, r"min_recall 1\.5: expected a number from 0 to 1"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
    ],
)
def test_what_no_index_can_be_is_refused(tmp_path, clustered, unhooked, make, options, message):
    with pytest.raises(VidsimError, match=message):
        make(str(tmp_path), **clustered(30).arguments(), provenance={}, **options)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_index(tmp_path, monkeypatch):
    build(tmp_path, np.eye(3, dtype=np.float32))

    def full(path, matrix):
        path.write_bytes(b"half")
        raise RuntimeError("Error in write: No space left on device")  # as faiss tells it

    monkeypatch.setattr(flat, "write", full)
    with pytest.raises(VidsimError, match=r"cannot write to .*No space left.*unchanged"):
        build(tmp_path, np.eye(4, dtype=np.float32))
    assert len(indexes.load(str(tmp_path), "some/model", "block.1")) == 3
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("26260 requested and 24576 written"), "26260 requested and 24576 written, as on a full disk"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
    ],
)
def test_why_an_index_cannot_be_written_is_told(tmp_path, monkeypatch, error, said):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(flat, "write", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)  # on a disk that is read-only
    with pytest.raises(VidsimError) as told:
        build(tmp_path, np.eye(4, dtype=np.float32))
    monkeypatch.undo()
    assert str(told.value).startswith(f"cannot write to '{tmp_path}")
    assert str(told.value).endswith(f"': {said}; what was there is unchanged")


def test_loading_imports_neither_torch_nor_lancedb(tmp_path):
    build(tmp_path, np.eye(3, dtype=np.float32))
    code = f"""
import json, sys
from vidsim.retrieval.indexes import load
load({str(tmp_path)!r}, "some/model", "block.1")
print(json.dumps([m for m in ("torch", "lancedb", "transformers") if m in sys.modules]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == []
