import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vidsim.errors import StoreError
from vidsim.store import EmbeddingTable, Entry, InvalidVectors, NotStored, Store
from vidsim.store import table as table_module

LAYERS = {"encoder.layer.0.attention": 4, "0.auto_model.encoder.layer.3": 3, "head": 2}
HOSTILE = ["x' OR 1=1 --", "a\nb", 'quo"te`', "ünïcode/日本.mp4", "../up", "%_%", "\0nul", "k" * 4096, " ", "-rf", "\\"]


def random_vectors(n: int, seed: int = 0, dtype: str = "float32") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {layer: rng.standard_normal((n, width)).astype(dtype) for layer, width in LAYERS.items()}


def entries_named(names: Sequence[str], content: str = "c") -> list[Entry]:
    return [Entry(name, f"/clips/{name}", f"{content}{i}", i, 10**18 + i, i / 7) for i, name in enumerate(names)]


def stored(table: EmbeddingTable) -> dict[str, tuple[Entry, dict[str, list[float]]]]:
    """Read a table into plain Python."""
    rows = [Entry(**row) for row in table.entries().to_pylist()]
    assert len({row.id for row in rows}) == len(rows) == len(table)
    layers = {layer: table[layer] for layer in table.layers}
    return {
        row.id: (row, {layer: e.matrix[e.position[row.id]].tolist() for layer, e in layers.items()}) for row in rows
    }


def expected(
    entries: Sequence[Entry], vectors: Mapping[str, np.ndarray]
) -> dict[str, tuple[Entry, dict[str, list[float]]]]:
    return {e.id: (e, {layer: rows[i].tolist() for layer, rows in vectors.items()}) for i, e in enumerate(entries)}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_come_back_exactly(store: Store, dtype: str) -> None:
    table = store.create("e", {}, LAYERS, default_layer="head", dtype=dtype, versions={})
    entries, vectors = entries_named(HOSTILE), random_vectors(len(HOSTILE), dtype=dtype)
    table.write(entries, vectors)
    assert stored(table) == expected(entries, vectors)
    assert table["head"].matrix.dtype == dtype
    again = Store(store.root).table("e", {})
    assert again is not None
    assert stored(again) == expected(entries, vectors)


def test_values_are_rounded_to_the_precision_of_the_table(store: Store) -> None:
    table = store.create("e", {}, {"l": 2}, default_layer="l", dtype="float16", versions={})
    given = np.array([[1 / 3, 65504.0]])
    table.write([Entry("a", "", "c")], {"l": given})
    assert np.array_equal(table["l"].matrix, given.astype(np.float16))


def test_a_view_that_is_not_contiguous_is_stored_row_by_row(table: EmbeddingTable) -> None:
    vectors = {layer: np.asfortranarray(rows)[::2] for layer, rows in random_vectors(6).items()}
    table.write(entries_named("abc"), vectors)
    assert stored(table) == expected(entries_named("abc"), vectors)


def test_an_empty_table_reads_as_empty(table: EmbeddingTable) -> None:
    assert len(table) == 0
    assert table["head"].matrix.shape == (0, 2)
    assert table.entries().num_rows == 0
    assert table.entries().column_names == ["id", "path", "content", "size", "mtime_ns", "duration"]
    table.write([], {layer: np.zeros((0, width)) for layer, width in LAYERS.items()})
    assert table.delete(["a"]) == 0
    table.copy([], remove_sources=True)
    assert table.version == 1


def test_a_table_knows_what_it_holds(table: EmbeddingTable) -> None:
    assert (table.encoder, table.default_layer, table.dtype) == ("x3d-m", "head", "float32")
    assert list(table.layers.items()) == list(LAYERS.items())
    assert table.identity == {"checkpoint": "a"}
    assert table.versions == {"torch": "2.13"}
    assert table.created.endswith("+00:00")


def test_writing_is_one_commit_and_all_or_nothing(table: EmbeddingTable) -> None:
    table.write(entries_named("ab"), random_vectors(2))
    assert table.version == 2
    before = stored(table)
    wrong = random_vectors(2, 1)
    wrong["head"][1, 0] = np.nan
    for entries, vectors in [
        (entries_named("bc"), wrong),
        (entries_named("bb"), random_vectors(2)),
        (entries_named("bc"), random_vectors(3)),
        (entries_named("bc"), {"head": random_vectors(2)["head"]}),
        (entries_named("bc"), {**random_vectors(2), "tail": np.zeros((2, 2))}),
        (entries_named("bc"), {**random_vectors(2), "head": np.zeros((2, 3))}),
        (entries_named("bc"), {**random_vectors(2), "head": np.zeros(2)}),
        ([Entry("broken\udcff", "", "c"), Entry("b", "", "c")], random_vectors(2)),
    ]:
        with pytest.raises(StoreError):
            table.write(entries, vectors)
    assert table.version == 2
    assert stored(table) == before


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        ("float32", np.nan, "NaN or infinity"),
        ("float32", -np.inf, "NaN or infinity"),
        ("float32", 1e39, "beyond float32"),
        ("float16", 65505.0, "65505 is beyond float16 .at most 65504"),
        ("float16", -70000.0, "70000 is beyond float16"),
    ],
)
def test_vectors_that_cannot_be_stored_are_named(store: Store, dtype: str, value: float, message: str) -> None:
    table = store.create("e", {}, {"first": 2, "second": 2}, default_layer="first", dtype=dtype, versions={})
    vectors = {"first": np.zeros((4, 2)), "second": np.zeros((4, 2))}
    vectors["second"][[1, 3], 1] = value
    vectors["first"][3, 0] = value
    with pytest.raises(InvalidVectors, match=message) as caught:
        table.write(entries_named("abcd"), vectors)
    assert set(caught.value.ids) == {"b", "d"}
    assert "'first'" in caught.value.reason
    assert "'d'" in caught.value.reason
    assert "1 more" in caught.value.reason
    assert len(table) == 0


def test_messages_name_the_layer_the_widths_and_the_id(table: EmbeddingTable) -> None:
    with pytest.raises(StoreError, match=r"'head'.*expected 1 vectors of width 2, the first of 'a'.*\(1, 3\)"):
        table.write(entries_named("a"), {**random_vectors(1), "head": np.zeros((1, 3))})
    with pytest.raises(StoreError, match=r"missing: \['head'\], unknown: \['heed'\]"):
        table.write(
            entries_named("a"), {**{k: v for k, v in random_vectors(1).items() if k != "head"}, "heed": np.ones((1, 2))}
        )
    with pytest.raises(NotStored, match=r"no layer 'haed'.*did you mean 'head'"):
        table["haed"]
    with pytest.raises(KeyError):
        table["haed"]
    with pytest.raises(StoreError, match="'nobody' has no embeddings"):
        table.copy([("nobody", Entry("a", "", ""))], remove_sources=False)


def test_hostile_ids_delete_themselves_only(table: EmbeddingTable) -> None:
    names = [*HOSTILE, "x", "1", "id", ""]
    table.write(entries_named(names), random_vectors(len(names)))
    for name in HOSTILE:
        assert table.delete([name]) == 1
        assert name not in table.entries()["id"].to_pylist()
    assert set(table.entries()["id"].to_pylist()) == {"x", "1", "id", ""}
    assert table.delete(["' OR 1=1 --", "x", "x"]) == 1


def test_ids_can_change_places_even_across_commits(table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "COPY_BYTES", 1)  # one row a commit
    names = list("abcdef")
    vectors = random_vectors(6)
    table.write(entries_named(names), vectors)
    turned = names[1:] + names[:1]
    entries = entries_named(turned, "turned")
    table.copy(list(zip(names, entries, strict=True)), remove_sources=True)
    assert stored(table) == expected(entries, vectors)


def test_a_move_is_one_commit(table: EmbeddingTable) -> None:
    vectors = random_vectors(1)
    table.write(entries_named("a"), vectors)
    entry = Entry("b", "/new", "c0")
    version = table.version
    table.copy([("a", entry)], remove_sources=True)
    assert table.version == version + 1
    assert stored(table) == expected([entry], vectors)


def test_deleting_a_moved_row_does_not_bring_back_its_source(table: EmbeddingTable) -> None:
    table.write(entries_named("a"), random_vectors(1))
    table.copy([("a", Entry("b", "/new", "c0"))], remove_sources=True)
    assert table.delete(["b"]) == 1
    assert len(table) == 0


def test_a_handle_sees_what_another_writes(store: Store, table: EmbeddingTable) -> None:
    other = Store(store.root).table("x3d-m", {"checkpoint": "a"})
    assert other is not None
    table.write(entries_named("ab"), random_vectors(2))
    assert len(other) == 2
    other.write(entries_named("bc"), random_vectors(2, 1))
    assert set(table["head"].ids) == {"a", "b", "c"}
    table.write(entries_named("a"), random_vectors(1, 2))
    assert len(other["head"]) == 3
    assert other.version == table.version


def test_a_later_write_wins_over_a_clock_that_runs_ahead(
    store: Store, table: EmbeddingTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = time.time_ns() + 3600 * 10**9
    with monkeypatch.context() as patch:
        patch.setattr("vidsim.store.log.time.time_ns", lambda: ahead)
        table.write(entries_named("a"), random_vectors(1))
    other = store.table("x3d-m", {"checkpoint": "a"})
    assert other is not None
    other.write(entries_named("a"), random_vectors(1, 1))
    assert stored(other) == expected(entries_named("a"), random_vectors(1, 1))


NAMES = st.sampled_from(["a", "b'", "c\n", "d d", "é", "-f"])


class TableAgainstDict(RuleBasedStateMachine):
    """Drive a table and a dict through the same writes, copies, deletions and optimizations."""

    def __init__(self) -> None:
        super().__init__()
        self.root = mkdtemp()
        self.store = Store(self.root, create=True)
        self.table = self.store.create("e", {}, {"l.0": 2, "l.1": 1}, default_layer="l.0", versions={})
        self.model: dict[str, tuple[str, float]] = {}
        self.count = 0

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def entry(self, name: str) -> Entry:
        self.count += 1
        return Entry(name, f"/{self.count}", str(self.count))

    @rule(names=st.lists(NAMES, unique=True, min_size=1))
    def write(self, names: list[str]) -> None:
        entries = [self.entry(name) for name in names]
        values = np.array([float(e.content) for e in entries])
        self.table.write(entries, {"l.0": np.stack([values, -values], 1), "l.1": values[:, None] / 2})
        self.model |= {e.id: (e.path, float(e.content)) for e in entries}

    @precondition(lambda self: self.model)
    @rule(data=st.data(), remove=st.booleans())
    def copy(self, data: st.DataObject, remove: bool) -> None:
        to = data.draw(st.lists(NAMES, unique=True, min_size=1, max_size=4))
        sources = [data.draw(st.sampled_from(sorted(self.model))) for _ in to]
        pairs = [(source, self.entry(name)) for source, name in zip(sources, to, strict=True)]
        self.table.copy(pairs, remove_sources=remove)
        new = {entry.id: (entry.path, self.model[source][1]) for source, entry in pairs}
        kept = {k: v for k, v in self.model.items() if not (remove and k in sources)}
        self.model = {**kept, **new}

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(self.model)), unique=True, min_size=1))
        entries = [self.entry(name) for name in names]
        self.table.copy([(entry.id, entry) for entry in entries], remove_sources=False)
        self.model |= {e.id: (e.path, self.model[e.id][1]) for e in entries}

    @rule(names=st.lists(NAMES))
    def delete(self, names: list[str]) -> None:
        there = set(names) & set(self.model)
        assert self.table.delete(names) == len(there)
        for name in there:
            del self.model[name]

    @rule()
    def optimize(self) -> None:
        self.store.optimize()
        assert self.store.info()["tables"][0]["superseded"] == 0

    @rule()
    def reopen(self) -> None:
        self.store = Store(self.root)
        found = self.store.table("e", {}, ["l.1"])
        assert found is not None
        self.table = found

    @invariant()
    def equal(self) -> None:
        rows = self.table.entries()
        assert dict(zip(rows["id"].to_pylist(), rows["path"].to_pylist(), strict=True)) == {
            k: path for k, (path, _) in self.model.items()
        }
        for layer, values in {"l.0": [1.0, -1.0], "l.1": [0.5]}.items():
            found = self.table[layer]
            assert {name: row.tolist() for name, row in zip(found.ids, found.matrix, strict=True)} == {
                k: [v * value for v in values] for k, (_, value) in self.model.items()
            }


TestTableAgainstDict = TableAgainstDict.TestCase
TestTableAgainstDict.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture(scope="module")
def large() -> Iterator[EmbeddingTable]:
    root = Path(mkdtemp())
    table = Store(root, create=True).create("e", {}, {"wide": 768, "thin": 2}, default_layer="wide", versions={})
    rows = np.arange(20_000 * 768, dtype=np.float32).reshape(20_000, 768)
    for start in range(0, 20_000, 2_000):
        names = [f"folder/clip number {i}.mp4" for i in range(start, start + 2_000)]
        part = rows[start : start + 2_000]
        table.write(entries_named(names), {"wide": part, "thin": part[:, :2]})
    yield table
    shutil.rmtree(root)


def best(action, repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def test_one_layer_is_read_without_the_others(large: EmbeddingTable) -> None:
    embeddings = large["wide"]
    numbers = [int(name.split()[2].split(".")[0]) for name in embeddings.ids]
    assert np.array_equal(embeddings.matrix[:, 0], np.array(numbers, np.float32) * 768)
    wide, thin, entries = best(lambda: large["wide"]), best(lambda: large["thin"]), best(large.entries)
    assert thin < wide
    assert entries < 0.5
    # 61 MB; about 0.1 s on an idle machine, against reading all columns
    assert wide < 1.0


def test_commits_do_not_get_slower(store: Store) -> None:
    layers = {f"l.{i}": 50 for i in range(10)}
    table = store.create("e", {}, layers, default_layer="l.0", versions={})
    vectors = {layer: np.ones((8, 50), np.float32) for layer in layers}
    times = []
    for commit in range(120):
        entries = entries_named([f"{commit}-{i}" for i in range(8)])
        start = time.perf_counter()
        table.write(entries, vectors)
        times.append(time.perf_counter() - start)
    assert len(table) == 960
    assert np.median(times[-30:]) < 4 * np.median(times[:30]), (np.median(times[:30]), np.median(times[-30:]))
