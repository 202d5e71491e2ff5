import json
import os
import re
import resource
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from vidsim.errors import StoreError
from vidsim.store import EmbeddingTable, Entry, Failure, NotStored, Store, schema

from store.worker import environment

ONE = {"l": 1}


def make(store: Store, encoder: str = "e", seed: int = 0, layers: dict[str, int] | None = None) -> EmbeddingTable:
    layers = layers or ONE
    return store.create(encoder, {"seed": seed}, layers, default_layer=next(iter(layers)), versions={})


def fill(table: EmbeddingTable, value: float, names: str = "ab") -> None:
    vectors = {layer: np.full((len(names), width), value) for layer, width in table.layers.items()}
    table.write([Entry(name, f"/{name}", "c") for name in names], vectors)


def test_a_store_is_a_mapping_of_encoders_to_layers(store: Store) -> None:
    fill(make(store, "x3d-m", 0, {"blocks.4": 2, "head": 1}), 1)
    fill(make(store, "x3d-m", 1, {"blocks.4": 2}), 2)
    fill(make(store, "adapters/mine: ü", 0), 3)
    assert list(store) == ["adapters/mine: ü", "x3d-m"]
    assert len(store) == 2
    assert store["x3d-m"]["blocks.4"].matrix.tolist() == [[2, 2], [2, 2]]  # the table made last
    assert store["x3d-m"]["head"].matrix.tolist() == [[1], [1]]
    assert list(store["x3d-m"]) == ["blocks.4", "head"]
    assert len(store["x3d-m"]) == 2
    assert "head" in store["x3d-m"]
    assert store["adapters/mine: ü"]["l"].ids == ["a", "b"]
    assert "x3d" not in store
    assert store.get("x3d") is None
    with pytest.raises(NotStored, match=r"^no embeddings of 'x3d' in .*did you mean 'x3d-m'\?$"):
        store["x3d"]
    with pytest.raises(NotStored, match=r"no layer 'bloks.4'.*did you mean 'blocks.4'"):
        store["x3d-m"]["bloks.4"]


def test_names_that_look_alike_do_not_meet(store: Store) -> None:
    for number, encoder in enumerate(["a/b", "a-b", "a.b", "A-b"]):
        fill(make(store, encoder), number)
    assert [store[encoder]["l"].matrix[0, 0] for encoder in ["a/b", "a-b", "a.b", "A-b"]] == [0, 1, 2, 3]


def test_equal_tables_are_one(store: Store) -> None:
    first = store.create("e", {"a": 1, "b": (2,)}, {"l": 1}, default_layer="l", versions={"torch": "1"})
    second = store.create("e", {"b": [2], "a": 1}, {"l": 1}, default_layer="l", versions={"torch": "2"})
    assert first.name == second.name
    assert second.versions == {"torch": "1"}
    assert second.created == first.created
    assert len(store.tables()) == 1


def test_a_table_is_found_by_identity_and_layers(store: Store) -> None:
    both = make(store, layers={"l.0": 1, "l.1": 1})
    one = make(store, layers={"l.1": 1})
    other = make(store, seed=1, layers={"l.0": 1})
    make(store, "other")
    assert [t.name for t in store.tables("e")] == [other.name, one.name, both.name]

    def found(seed: int, layers: list[str] | None) -> str | None:
        table = store.table("e", {"seed": seed}, layers)
        return None if table is None else table.name

    assert found(0, ["l.0"]) == both.name
    assert found(0, ["l.1"]) == one.name
    assert found(0, ["l.1", "l.0"]) == both.name
    assert found(0, None) == one.name
    assert found(1, ["l.0"]) == other.name
    assert found(1, ["l.1"]) is None
    assert found(2, None) is None


def test_tables_that_make_no_sense_are_refused(store: Store, unhooked: None) -> None:
    with pytest.raises(StoreError, match="default layer 'x' of 'e' is none of its layers"):
        store.create("e", {}, {"l": 1}, default_layer="x", versions={})
    with pytest.raises(StoreError, match="at least 1 wide"):
        store.create("e", {}, {"l": 0}, default_layer="l", versions={})
    with pytest.raises(StoreError, match=r"whole numbers of at least 1 wide, got {'l': 3.5}"):
        store.create("e", {}, {"l": 3.5}, default_layer="l", versions={})
    with pytest.raises(StoreError, match="no dtype 'float64': expected 'float32' or 'float16'"):
        store.create("e", {}, {"l": 3}, default_layer="l", dtype="float64", versions={})
    assert store.tables() == []


def test_there_must_be_a_store(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none yet"):
        with pytest.raises(StoreError, match=r"there is no store in .*; make one: vidsim index FOLDER --root "):
            Store(place)
    (tmp_path / "store").mkdir()
    with pytest.raises(StoreError, match="there is no store"):
        Store(tmp_path)
    assert list((tmp_path / "store").iterdir()) == []
    Store(tmp_path, create=True)
    Store(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        for create in (True, False):
            with pytest.raises(StoreError, match=r"is a file, or lies in one|there is no store"):
                Store(place, create=create)
    (tmp_path / "store").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path, create=True)


def test_permissions_are_told(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(StoreError, match="no permission to read the store"):
        Store(store.root)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match="cannot be used: Permission denied; choose another --root"):
        Store(tmp_path / "elsewhere", create=True)


def test_roots_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("with space", "-dash", "ünïcode", "quo'te\"", "100%", "a#b?c"):
        store = Store(name, create=True)
        fill(make(store), 1)
        assert Store(tmp_path / name)["e"]["l"].ids == ["a", "b"]
    assert {p.name for p in tmp_path.iterdir()} >= {"with space", "100%", "a#b?c"}
    with pytest.raises(StoreError, match=r"new.{1,2}nline' has a control character"):
        Store("new\nline", create=True)


def test_a_newer_store_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vidsim.store.store.FORMAT", 2)
        patch.setattr(schema, "FORMAT", 2)
        Store(tmp_path / "new", create=True)
    with pytest.raises(StoreError, match="store format 2, this vidsim reads up to 1; upgrade vidsim"):
        Store(tmp_path / "new")


def test_a_newer_table_is_refused_and_the_others_of_other_encoders_work(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make(store, "old"), 1)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "FORMAT", 2)
        name = make(store, "new").name
    with pytest.raises(StoreError, match=f"table '{re.escape(name)}' has store format 2.*upgrade vidsim"):
        store.tables()
    assert store["old"]["l"].ids == ["a", "b"]
    assert [p for p in store.check() if "upgrade vidsim" in p]


def test_info_is_json_and_counts(store: Store) -> None:
    table = make(store, "x3d-m", layers={"a.b": 3, "c": 2})
    fill(table, 1)
    fill(table, 2, "bc")
    store.failures.record([Failure(path="/x", scope="pyav")])
    info = json.loads(json.dumps(store.info()))
    assert info["root"] == store.root
    assert info["format"] == 1
    assert info["failures"] == 1
    (facts,) = info["tables"]
    assert facts["rows"] == 3
    assert facts["superseded"] == 1
    assert facts["fragments"] == 2
    assert facts["layers"] == {"a.b": 3, "c": 2}
    assert (facts["encoder"], facts["table"], facts["identity"]) == ("x3d-m", table.name, {"seed": 0})
    assert facts["version"] == table.version
    on_disk = sum(p.stat().st_size for p in Path(store.root, "store", f"{table.name}.lance").rglob("*") if p.is_file())
    assert facts["bytes"] == on_disk


def test_optimize_saves_space_and_changes_nothing_that_is_read(store: Store) -> None:
    table = make(store, layers={"l": 200})
    for value in range(20):
        fill(table, value, "abcd")
    before = (
        table.entries().sort_by("id"),
        {k: v.tolist() for k, v in zip(table["l"].ids, table["l"].matrix, strict=True)},
    )
    time.sleep(0.01)
    report = store.optimize(keep=timedelta(0))[table.name]
    assert report["fragments_after"] == 1 < report["fragments_before"]
    assert report["bytes_after"] < report["bytes_before"] / 2
    assert table.entries().sort_by("id") == before[0]
    assert {k: v.tolist() for k, v in zip(table["l"].ids, table["l"].matrix, strict=True)} == before[1]
    fill(table, 5, "a")  # a handle from before the old versions went
    assert table["l"].take(["a"]).matrix[0, 0] == 5
    assert store.check() == []


def test_check_finds_what_is_broken(store: Store) -> None:
    fill(make(store, "fine"), 1)
    assert store.check() == []
    damaged = make(store, "damaged")
    fill(damaged, 1)
    places = Path(store.root, "store")
    (data,) = places.joinpath(f"{damaged.name}.lance", "data").iterdir()
    data.write_bytes(data.read_bytes()[:100])
    (places / "cut-off.0123456789ab.lance" / "_versions").mkdir(parents=True)
    import lancedb
    import pyarrow as pa

    lancedb.connect(places).create_table("foreign", pa.table({"x": [1]}))
    problems = store.check()
    assert len(problems) == 3
    assert [p for p in problems if "'cut-off.0123456789ab'" in p and "leftover" in p]
    assert [p for p in problems if "'foreign' was not made by vidsim" in p]
    assert [p for p in problems if f"'{damaged.name}'" in p and "cannot be used" in p]
    assert not [p for p in problems if "\n" in p]
    with pytest.raises(StoreError, match="cannot be used"):
        damaged["l"]
    assert store["fine"]["l"].ids == ["a", "b"]


def test_a_creation_that_was_cut_off_is_made_good(store: Store) -> None:
    name = schema.table_name("e", {"seed": 0}, ONE, "float32")
    place = Path(store.root, "store", f"{name}.lance")
    (place / "_transactions").mkdir(parents=True)
    (place / "data").mkdir()
    assert store.tables() == []
    assert store.table("e", {"seed": 0}) is None
    fill(make(store), 1)
    assert store["e"]["l"].ids == ["a", "b"]
    assert store.check() == []


DISK_FULL = """
import resource, sys
import numpy as np
from vidsim.errors import StoreError
from vidsim.store import Entry, Store
table = Store(sys.argv[1], create=True).create("e", {}, {"l": 100}, default_layer="l", versions={})
rows = lambda k: [Entry(f"{k}-{i}", "", "") for i in range(64)]
table.write(rows(0), {"l": np.ones((64, 100))})
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    table.write(rows(1), {"l": np.ones((64, 100))})
except StoreError as error:
    print(error, end="")
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs limits of file size")
def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(tmp_path)], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout == (
        f"no space left for the store in {str(tmp_path)!r}; what was committed is safe: free some space and run again"
    )
    table = Store(tmp_path)["e"]
    assert sorted(table["l"].ids) == sorted(f"0-{i}" for i in range(64))
    assert np.array_equal(table["l"].matrix, np.ones((64, 100)))


def test_importing_the_store_does_not_import_lancedb() -> None:
    code = "import sys, vidsim.store; print('lancedb' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == "False False\n"
