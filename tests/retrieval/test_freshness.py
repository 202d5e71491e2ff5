import json
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest

from vidsim.retrieval import freshness
from vidsim.store import Entry, Store


@pytest.fixture
def table(tmp_path):
    return Store(tmp_path, create=True).create("enc", {}, {"a.b": 3}, default_layer="a.b", versions={})


def write(table, name):
    table.write([Entry(name, "", "")], {"a.b": np.ones((1, 3), np.float32)})


def manifest(table, **more):
    return {"encoder": "enc", "layer": "a.b", "provenance": {"table": table.name, "version": table.version, **more}}


def test_the_version_from_file_names_is_lancedbs(tmp_path, table):
    """Lance's naming of files is its own affair: this test breaks when it changes."""
    for name in "abc":
        write(table, name)
        assert freshness.table_version(str(tmp_path), table.name) == table.version
    table.delete(["a"])
    Store(tmp_path).optimize(keep=timedelta())
    assert freshness.table_version(str(tmp_path), table.name) == table.version


def test_a_write_makes_an_index_stale(tmp_path, table):
    write(table, "a")
    made = manifest(table)
    assert freshness.stale(str(tmp_path), made) is None
    write(table, "b")
    told = freshness.stale(str(tmp_path), made)
    assert told is not None
    assert "\n" not in told
    assert f"at {table.version}; refresh it: vidsim index --refresh --root" in told


def test_where_nothing_can_be_told_nothing_is_said(tmp_path, table):
    made = manifest(table)
    assert freshness.stale(str(tmp_path / "elsewhere"), made) is None
    assert freshness.stale(str(tmp_path), {**made, "provenance": {}}) is None


def test_an_adapter_with_other_weights_is_told(tmp_path, table):
    made = manifest(table, adapter={"adapter_model.safetensors": "aa"})
    folder = tmp_path / "adapters" / "enc"
    folder.mkdir(parents=True)
    for digest, stale in (("aa", False), ("bb", True)):
        (folder / "vidsim.json").write_text(json.dumps({"files": {"adapter_model.safetensors": digest}}))
        told = freshness.stale(str(tmp_path), made)
        assert (told is not None) == stale
    assert told is not None
    assert "vidsim index FOLDER --encoder enc" in told


def test_an_object_store_tells_its_version_too(bucket):
    root = f"{bucket}/fresh"
    table = Store(root, create=True).create("enc", {}, {"a.b": 3}, default_layer="a.b", versions={})
    write(table, "a")
    made = manifest(table)
    assert freshness.table_version(root, table.name) == table.version
    write(table, "b")
    assert freshness.stale(root, made) is not None


def test_it_imports_no_lancedb(tmp_path, table):
    code = f"""
import sys
from vidsim.retrieval.freshness import stale
stale({str(tmp_path)!r}, {manifest(table)!r})
print([m for m in ("torch", "lancedb") if m in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
