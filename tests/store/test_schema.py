import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.errors import StoreError
from vidsim.store.schema import Header, build, canonical, layer_columns, parse, read_metadata, safe, table_name

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(
    TEXT,
    st.dictionaries(st.text(), JSON, max_size=3),
    st.dictionaries(TEXT, st.integers(1, 5), min_size=1, max_size=6),
    st.sampled_from(["float16", "float32"]),
)
def test_header_survives_the_schema_whatever_the_names(encoder, identity, layers, dtype) -> None:
    header = Header(
        encoder, identity, layers, next(iter(layers)), dtype, {"torch": "2.13"}, {"revision": "a"}, "2026-01-01"
    )
    schema = build(header)
    restored = parse(pa.ipc.read_schema(schema.serialize()), "t")
    assert restored == header
    assert list(restored.layers) == list(layers)
    columns = list(layer_columns(schema).values())
    assert len(set(schema.names)) == len(schema.names)
    assert not any("." in column for column in columns)


@settings(deadline=None)
@given(TEXT)
def test_table_names_hold_safe_characters_only(encoder: str) -> None:
    name = table_name(encoder, {}, {"l": 1}, "float32")
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")
    assert name[0] not in "._-"
    assert name.rpartition(".")[0] == safe(encoder)
    assert len(name.rpartition(".")[2]) == 12


def test_table_names_differ_where_anything_differs() -> None:
    variants = [
        ("a/b", {"seed": 0}, {"l": 1}, "float32"),
        ("a-b", {"seed": 0}, {"l": 1}, "float32"),
        ("a/b", {"seed": 1}, {"l": 1}, "float32"),
        ("a/b", {"seed": 0}, {"l": 2}, "float32"),
        ("a/b", {"seed": 0}, {"m": 1}, "float32"),
        ("a/b", {"seed": 0}, {"l": 1}, "float16"),
    ]
    assert len({table_name(*variant) for variant in variants}) == len(variants)
    assert table_name("a", {"x": 1, "y": (2,)}, {"l": 1}, "float32") == table_name(
        "a", {"y": [2], "x": 1}, {"l": 1}, "float32"
    )


@pytest.mark.parametrize("value", [{"a": object()}, {"a": float("nan")}, {"a": {1, 2}}])
def test_provenance_that_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(StoreError, match="plain JSON"):
        canonical(value)


@pytest.mark.parametrize("metadata", [None, {b"vidsim:format": b"x"}, {b"vidsim:format": b"null"}, {b"pandas": b"{}"}])
def test_foreign_tables_are_refused(metadata: dict[bytes, bytes] | None) -> None:
    with pytest.raises(StoreError, match="'foreign' was not made by vidsim"):
        read_metadata(pa.schema([pa.field("id", pa.string())], metadata), "foreign")


def test_a_newer_format_is_refused_with_both_versions() -> None:
    with pytest.raises(StoreError, match="format 7, this vidsim reads up to 1; upgrade vidsim"):
        read_metadata(pa.schema([], {b"vidsim:format": b"7"}), "t")


def test_a_table_without_layers_is_no_embedding_table() -> None:
    with pytest.raises(StoreError, match="not an embedding table"):
        parse(pa.schema([], {b"vidsim:format": b"1"}), "t")
