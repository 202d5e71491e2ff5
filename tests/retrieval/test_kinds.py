import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from vidsim.errors import IndexCorrupted, VidsimError
from vidsim.retrieval import approximate, indexes, manifest

APPROXIMATE = ("ivf-flat", "ivf-pq", "hnsw")
KINDS = ("flat", *APPROXIMATE)


def made(root, clustered, kind, rows=slice(None), **more):
    return indexes.build(str(root), **clustered.arguments(rows), provenance={"version": 1}, kind=kind, **more)


@pytest.mark.parametrize("kind", KINDS)
def test_the_recall_in_the_manifest_is_that_of_a_loop(tmp_path, clustered, kind):
    data = clustered(600)
    made(tmp_path, data, kind)
    index = indexes.load(str(tmp_path), "enc", "a.b")
    assert (index.manifest["kind"], len(index)) == (kind, 600)
    found = [
        len({h.id for h in index.search(data.matrix[row], 10, exclude=row)} & set(data.nearest(row, 10)))
        for row in range(0, 600, 10)
    ]
    reported = index.manifest["recall"]
    assert reported["at"] == 10
    assert reported["recall"] >= 0.95
    assert np.mean(found) / 10 == pytest.approx(reported["recall"], abs=0.04)


@pytest.mark.parametrize("kind", KINDS)
def test_similarities_are_cosines_in_every_kind(tmp_path, clustered, kind):
    data = clustered(300)
    index = made(tmp_path, data, kind)
    unit = data.matrix / np.linalg.norm(data.matrix, axis=1, keepdims=True)
    np.testing.assert_allclose(index.similarities(7 * data.matrix[3]), unit @ unit[3], atol=1e-5)
    np.testing.assert_allclose(index.vectors(np.array([5, 2])), unit[[5, 2]], atol=1e-6)
    for hit in index.search(data.matrix[3], 5):
        assert hit.similarity == pytest.approx(float(unit[index.find("id", hit.id)] @ unit[3]), abs=1e-5)
    similarities, rows = index.search_many(data.matrix[:20], 4)
    assert rows[:, 0].tolist() == list(range(20))
    np.testing.assert_allclose(similarities, np.take_along_axis(unit[:20] @ unit.T, rows, axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_least_filters_and_exclusions_are_exact_in_every_kind(tmp_path, clustered, kind):
    data = clustered(300)
    index = made(tmp_path, data, kind)
    unit = data.matrix / np.linalg.norm(data.matrix, axis=1, keepdims=True)
    order = np.argsort(unit @ unit[0])
    assert [h.id for h in index.search(data.matrix[0], 5, least=True)] == [data.ids[r] for r in order[:5]]
    for step in (2, 30):  # many rows, and few
        within = np.arange(300) % step == 0
        expected = [data.ids[r] for r in order[::-1] if within[r] and r not in {0, 60}][:5]
        assert [h.id for h in index.search(data.matrix[0], 5, exclude={0, 60}, within=within)] == expected
    assert index.search(data.matrix[0], 5, within=np.zeros(300, bool)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_there_are_gives_all(tmp_path, clustered, kind):
    data = clustered(60)
    index = made(tmp_path, data, kind)
    hits = index.search(data.matrix[0], 1000, exclude=0)
    assert [h.id for h in hits] == data.nearest(0, 59)
    assert index.search_many(data.matrix, 1000)[1].shape == (60, 60)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_the_smallest_sets_can_be_indexed(tmp_path, clustered, kind, rows):
    data = clustered(rows, dims=7)
    index = made(tmp_path, data, kind)
    assert [h.id for h in index.search(data.matrix[0], 5, exclude=0)] == data.nearest(0, 5)
    assert np.isnan(index.percentile(0.5)) == (rows == 1)


def test_the_search_is_made_as_thorough_as_it_takes(tmp_path, clustered):
    data = clustered(2000)
    lax = made(tmp_path / "lax", data, "ivf-flat", min_recall=0.3).manifest
    strict = made(tmp_path / "strict", data, "ivf-flat", min_recall=0.999).manifest
    assert lax["parameters"]["nprobe"] < strict["parameters"]["nprobe"]
    assert lax["recall"]["recall"] < 0.999 <= strict["recall"]["recall"]


def test_a_recall_out_of_reach_is_refused_and_nothing_is_written(tmp_path, clustered, monkeypatch):
    monkeypatch.setattr(approximate, "REFINE_MOST", 1)
    before = made(tmp_path, clustered(500), "flat").manifest
    with pytest.raises(
        VidsimError, match=r"ivf-pq reaches recall@10 0\.\d+ here, below --min-recall 0\.99.*flat is exact"
    ):
        made(tmp_path, clustered(500), "ivf-pq", min_recall=0.99)
    assert manifest.intact(str(tmp_path), "enc", "a.b") == before


def test_percentiles_are_ranks_among_all_pairs(tmp_path, clustered):
    data = clustered(50)
    index = made(tmp_path, data, "flat")
    unit = data.matrix / np.linalg.norm(data.matrix, axis=1, keepdims=True)
    pairs = (unit @ unit.T)[np.triu_indices(50, 1)]
    assert index.manifest["pairs"]["pairs"] == len(pairs)
    for similarity in (-0.2, 0.1, 0.5, 0.9):
        assert index.percentile(similarity) == pytest.approx(100 * np.mean(pairs < similarity), abs=0.2)
    assert (index.percentile(-1.0), index.percentile(1.0)) == (0.0, 100.0)
    assert np.isnan(index.percentile(float("nan")))


def test_percentiles_of_a_sample_are_near_those_of_all_pairs(clustered, monkeypatch):
    from vidsim.retrieval import pairs

    data = clustered(600)
    unit = data.matrix / np.linalg.norm(data.matrix, axis=1, keepdims=True)
    every = (unit @ unit.T)[np.triu_indices(600, 1)]
    for most, of in ((20_000, 600), (400, 400)):  # more pairs than rows, and fewer
        monkeypatch.setattr(pairs, "PAIRS", most)
        found = pairs.quantiles(unit, 0)
        assert most <= found["pairs"] <= most + of
        for similarity in (-0.2, 0.0, 0.3):
            expected = 100 * np.mean(every < similarity)
            assert pairs.percentile(found, similarity) == pytest.approx(expected, abs=7 if most < 1000 else 2)


def test_attributes_follow_the_rows(tmp_path, clustered):
    import pyarrow as pa

    data = clustered(5)
    known = pa.table({"id": data.ids[::-1], "valence": [4.0, 3.0, 2.0, 1.0, 0.0]})
    assert made(tmp_path, data, "flat", attributes=known).attributes is not None
    found = indexes.load(str(tmp_path), "enc", "a.b").attributes
    assert found is not None
    assert found["id"].to_pylist() == list(data.ids)
    assert found["valence"].to_pylist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    with pytest.raises(VidsimError, match="'clip 3' has no row"):
        made(tmp_path, data, "flat", attributes=known.slice(2))


def test_zero_embeddings_are_left_out_and_counted(tmp_path, clustered):
    data = clustered(20)
    data.matrix[[3, 8]] = 0
    index = made(tmp_path, data, "flat")
    assert (len(index), index.manifest["left_out"], index.find("id", "clip 3")) == (18, 2, None)
    data.matrix[:] = 0
    with pytest.raises(VidsimError, match=r"all embeddings of enc a\.b are zero"):
        made(tmp_path / "other", data, "flat")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_are_refused(tmp_path, clustered, value):
    data = clustered(20)
    data.matrix[4, 2] = value
    with pytest.raises(VidsimError, match=r"1 embeddings of enc a\.b hold NaN or infinity, the first is of 'clip 4'"):
        made(tmp_path, data, "flat")
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("kind", APPROXIMATE)
@pytest.mark.parametrize(("what", "damage"), [("vectors", "flip"), ("structure", "truncate"), ("structure", "extend")])
def test_damage_to_any_file_is_told(tmp_path, clustered, kind, what, damage):
    made(tmp_path, clustered(80), kind)
    path = next(p for p in tmp_path.rglob("*") if p.name.startswith(what))
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 3] ^= 16
    path.write_bytes(content[: len(content) - 5] if damage == "truncate" else content + b"x" * (damage == "extend"))
    with pytest.raises(IndexCorrupted, match="checksum differs"):
        indexes.load(str(tmp_path), "enc", "a.b")
    assert manifest.intact(str(tmp_path), "enc", "a.b") is None


def test_a_large_file_is_sampled_and_checked_whole_on_demand(tmp_path, monkeypatch):
    from vidsim.retrieval import seal
    from vidsim.retrieval.artefacts import digest

    monkeypatch.setattr(seal, "BLOCK", 1 << 10)
    monkeypatch.setattr(seal, "CHECKED", 1 << 14)
    path = tmp_path / "file"
    content = bytearray(np.random.default_rng(0).bytes(200_000))
    path.write_bytes(content)
    file = {"name": "file", "sha256": digest(path), **seal.seal(path)}
    assert all(seal.intact(path, file, thorough=t) for t in (False, True))
    for place, always in ((5, True), (199_999, True), (100_000, False)):
        content[place] ^= 1
        path.write_bytes(content)
        content[place] ^= 1
        assert not seal.intact(path, file, thorough=True)
        noticed = np.mean([not seal.intact(path, file, thorough=False) for _ in range(200)])
        assert noticed == 1.0 if always else 0 < noticed < 1


def test_an_index_of_another_encoder_under_this_name_is_refused(tmp_path, clustered):
    made(tmp_path, clustered(10), "flat")
    (tmp_path / "faiss" / "enc").rename(tmp_path / "faiss" / "other")
    with pytest.raises(IndexCorrupted, match=r"is of enc a\.b, not of other a\.b; rebuild it"):
        indexes.load(str(tmp_path), "other", "a.b")


def test_a_query_of_extreme_length_is_no_infinity(tmp_path, clustered):
    data = clustered(10)
    index = made(tmp_path, data, "flat")
    for scale in (1e30, 1e-30):
        assert index.search(data.matrix[2].astype(float) * scale, 1)[0].id == "clip 2"


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-pq"])
def test_inverted_files_are_built_on_a_gpu_where_there_is_one(tmp_path, clustered, fake_gpu, kind):
    data = clustered(300)
    index = made(tmp_path, data, kind)
    assert [c for c in fake_gpu.calls if c != "knn_gpu"] == ["to gpu 0", "to cpu"]
    assert index.search(data.matrix[0], 1)[0].id == "clip 0"


def test_what_a_gpu_refuses_is_built_without_it(tmp_path, clustered, fake_gpu):
    fake_gpu.refuses = True
    data = clustered(300)
    index = made(tmp_path, data, "ivf-pq")
    assert [c for c in fake_gpu.calls if c != "knn_gpu"] == ["to gpu 0"]
    assert index.search(data.matrix[0], 1)[0].id == "clip 0"


@pytest.mark.parametrize("kind", APPROXIMATE)
def test_an_added_row_is_found_without_training(tmp_path, clustered, monkeypatch, kind):
    data = clustered(400)
    made(tmp_path, data, kind, slice(0, 390))
    monkeypatch.setattr(approximate, "build", lambda *a: pytest.fail("it was built anew"))
    index, done = indexes.refresh(str(tmp_path), **data.arguments(), provenance={"version": 2})
    assert (done, len(index), index.manifest["provenance"]) == ("refreshed", 400, {"version": 2})
    assert index.manifest["change"] == {"added": 10, "removed": 0}
    for loaded in (index, indexes.load(str(tmp_path), "enc", "a.b")):
        found = [loaded.search(data.matrix[row], 1)[0].id for row in range(385, 400)]
        assert sum(map(str.__eq__, found, data.ids[385:])) >= 13
    assert index.manifest["recall"]["recall"] >= 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_removed_and_changed_rows_leave_the_results(tmp_path, clustered, monkeypatch, kind):
    data = clustered(400)
    made(tmp_path, data, kind)
    data.matrix[5] = -data.matrix[5]
    rows = np.array([row for row in range(400) if row % 7])[::-1]
    if kind != "hnsw":
        monkeypatch.setattr(approximate, "build", lambda *a: pytest.fail("it was built anew"))
    index, done = indexes.refresh(str(tmp_path), **data.arguments(rows), provenance={"version": 2})
    assert (done, len(index)) == ("built" if kind == "hnsw" else "refreshed", len(rows))
    for loaded in (index, indexes.load(str(tmp_path), "enc", "a.b")):
        assert set(loaded.ids) == {data.ids[row] for row in rows}
        shared = 0
        for row in (5, *range(8, 148, 7)):
            hits = loaded.search(data.matrix[row], 3, exclude=loaded.find("id", data.ids[row]))
            shared += len({h.id for h in hits} & set(data.nearest(row, 3, rows)))
        assert shared >= 0.95 * 63


def test_nothing_new_rewrites_no_vectors(tmp_path, clustered):
    data = clustered(100)
    before = made(tmp_path, data, "ivf-flat").manifest
    moved = data.arguments(np.arange(100)[::-1])
    moved["entries"] = moved["entries"].set_column(1, "path", [[f"/elsewhere/{i}" for i in moved["embeddings"].ids]])
    index, done = indexes.refresh(str(tmp_path), **moved, provenance={"version": 2})
    after = index.manifest
    assert (done, after["provenance"]) == ("refreshed", {"version": 2})
    assert all(after["files"][what] == before["files"][what] for what in ("vectors", "structure"))
    hit = indexes.load(str(tmp_path), "enc", "a.b").search(data.matrix[4], 1)[0]
    assert (hit.id, hit.path) == ("clip 4", "/elsewhere/clip 4")
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 4


def test_what_no_longer_fits_is_built_anew(tmp_path, clustered, monkeypatch):
    data = clustered(300)
    built: list[str] = []
    build = approximate.build
    monkeypatch.setattr(approximate, "build", lambda *a: built.append(a[0]) or build(*a))
    made(tmp_path, data, "ivf-flat", slice(0, 100))
    steps = (
        (data.arguments(slice(0, 250)), None, {"a": 1}),  # grown to more than twice
        (data.arguments(slice(0, 260)), None, {"a": 2}),  # other facts than the version: other embeddings
        (data.arguments(slice(0, 260)), "ivf-pq", {"a": 2}),  # another kind
    )
    for number, (arguments, kind, facts) in enumerate(steps, 2):
        _, done = indexes.refresh(str(tmp_path), **arguments, provenance=facts, kind=kind)
        assert (done, len(built)) == ("built", number)


def test_who_searches_meanwhile_sees_the_old_index_or_the_new_one(tmp_path, clustered):
    data = clustered(200)
    made(tmp_path, data, "ivf-flat", slice(0, 150))
    whole = {tuple(data.ids[:n]) for n in range(150, 201)}
    stop = threading.Event()
    seen: list[int] = []
    wrong: list[object] = []

    def search():
        while not stop.is_set():
            try:
                index = indexes.load(str(tmp_path), "enc", "a.b")
                ids, hits = index.ids, index.search(data.matrix[3], 300, exclude=3)
                if tuple(ids) not in whole or {h.id for h in hits} != set(ids) - {"clip 3"}:
                    wrong.append(len(ids))
                seen.append(len(ids))
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=search) for _ in range(2)]
    for reader in readers:
        reader.start()
    for version, n in enumerate((160, 170, 180, 190, 200), 2):
        indexes.refresh(str(tmp_path), **data.arguments(slice(0, n)), provenance={"version": version})
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert seen


def test_a_reader_keeps_what_it_has_loaded(tmp_path, clustered):
    data = clustered(100)
    made(tmp_path, data, "ivf-flat", slice(0, 90))
    old = indexes.load(str(tmp_path), "enc", "a.b")
    indexes.refresh(str(tmp_path), **data.arguments(slice(5, 100)), provenance={"version": 2})
    assert [h.id for h in old.search(data.matrix[0], 3, exclude=0)] == data.nearest(0, 3, np.arange(90))


def test_a_flat_index_needs_no_faiss(tmp_path, clustered):
    made(tmp_path, clustered(10), "flat")
    code = f"""
import sys
sys.modules["faiss"] = None
from vidsim.retrieval.indexes import load
index = load({str(tmp_path)!r}, "enc", "a.b")
print([h.id for h in index.search(index.vector(0), 1)])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout.replace("'", '"')) == ["clip 0"]


def test_faiss_missing_is_one_line(tmp_path, clustered, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(VidsimError, match="pip install 'vidsim"):
        made(tmp_path, clustered(10), "hnsw")
