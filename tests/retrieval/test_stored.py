import numpy as np
import pytest

from vidsim.errors import VidsimError
from vidsim.retrieval import freshness, indexes, manifest, stored
from vidsim.store import Entry, Store


@pytest.fixture
def table(tmp_path, clustered, monkeypatch):
    """Return a table of 400 stimuli, one of which has been written twice and one of which is zero; and the vectors."""
    monkeypatch.setattr(stored, "QUERIES", 10)
    data = clustered(400)
    data.matrix[7] = 0
    store = Store(tmp_path, create=True)
    made = store.create("enc", {}, {"a.b": 16}, default_layer="a.b", versions={})
    write(made, data, range(400))
    write(made, data, [3])
    return made, data


def write(table, data, rows):
    entries = [Entry(data.ids[r], f"/videos/{r}", f"hash {r}") for r in rows]
    table.write(entries, {"a.b": data.matrix[list(rows)]})


def made(root, table, again=True, min_recall=0.95):
    return stored.build(
        str(root),
        table,
        "a.b",
        provenance={"table": table.name},
        min_recall=min_recall,
        attributes=lambda _: None,
        again=again,
    )


def unit(data):
    return data.matrix / np.maximum(np.linalg.norm(data.matrix, axis=1, keepdims=True), 1e-9)


def test_a_search_in_the_store_is_a_search(tmp_path, table):
    of, data = table
    built = made(tmp_path, of).manifest
    assert (built["kind"], built["rows"], built["left_out"]) == ("lancedb", 399, 1)
    index = indexes.load(str(tmp_path), "enc", "a.b")
    row = index.find("id", "clip 3")
    assert row is not None
    hits = index.search(data.matrix[3], 5, exclude=row)
    others = [r for r in range(400) if r != 7]
    assert len({h.id for h in hits} & set(data_nearest(data, 3, 5, others))) >= 4
    cosines = unit(data) @ unit(data)[3]
    for hit in hits:
        assert hit.similarity == pytest.approx(float(cosines[int(hit.id.split()[1])]), abs=1e-5)
    expected = np.array([cosines[int(name.split()[1])] for name in index.ids])
    np.testing.assert_allclose(index.similarities(data.matrix[3]), expected, atol=1e-5)
    np.testing.assert_allclose(index.vectors(np.array([row])), unit(data)[[3]], atol=1e-6)
    least = index.search(data.matrix[3], 1, least=True)[0]
    assert least.similarity == pytest.approx(float(expected.min()), abs=1e-5)


def data_nearest(data, row, n, rows):
    cosines = unit(data) @ unit(data)[row]
    return [data.ids[r] for r in sorted(rows, key=lambda r: -cosines[r]) if r != row][:n]


def test_what_the_store_has_lost_or_gained_since_is_not_found_until_it_is_refreshed(tmp_path, table):
    of, data = table
    before = made(tmp_path, of).manifest
    assert freshness.stale(str(tmp_path), before) is None
    of.delete(["clip 5"])
    of.write([Entry("twin", "/videos/twin", "hash twin")], {"a.b": data.matrix[3:4]})
    told = freshness.stale(str(tmp_path), before)
    assert told is not None
    assert "vidsim index --refresh" in told
    index = indexes.load(str(tmp_path), "enc", "a.b")
    found = {h.id for h in index.search(data.matrix[3], 400)}
    assert not found & {"clip 5", "twin"}
    gone = index.find("id", "clip 5")
    assert gone is not None
    with pytest.raises(VidsimError, match="has left the store since the index was built"):
        index.vector(gone)
    after = made(tmp_path, of, again=False).manifest
    assert (after["rows"], freshness.stale(str(tmp_path), after)) == (399, None)
    index = indexes.load(str(tmp_path), "enc", "a.b")
    assert "twin" in {h.id for h in index.search(data.matrix[3], 2)}


def test_a_recall_out_of_reach_is_refused(tmp_path, table, monkeypatch):
    from vidsim.retrieval.recall import Sample

    monkeypatch.setattr(Sample, "recall", lambda *a: 0.5)
    monkeypatch.setattr(stored, "REFINE_MOST", 1)
    with pytest.raises(VidsimError, match=r"kind lancedb reaches recall@10 0\.500"):
        made(tmp_path, table[0])
    assert manifest.built(str(tmp_path)) == []


def test_a_lost_table_is_one_line(tmp_path, table):
    import shutil

    made(tmp_path, table[0])
    shutil.rmtree(tmp_path / "store" / f"{table[0].name}.lance")
    index = indexes.load(str(tmp_path), "enc", "a.b")
    with pytest.raises(VidsimError, match=r"searches table .* no longer in"):
        index.vector(0)


def test_a_recall_that_there_is_not_is_refused(tmp_path, table):
    with pytest.raises(VidsimError, match="min_recall nan: expected a number from 0 to 1"):
        made(tmp_path, table[0], min_recall=float("nan"))
