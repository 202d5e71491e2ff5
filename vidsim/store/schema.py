"""What stands in a table's schema: columns, layer names, provenance, format version."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pyarrow as pa

from vidsim.errors import StoreError
from vidsim.store.log import BOOKKEEPING, KEY

FORMAT = 1
"""Version of the layout described here; raised when an older vidsim could no longer read what this one writes."""

PREFIX = b"vidsim:"

ENTRY = (
    pa.field(KEY, pa.string(), nullable=False),
    pa.field("path", pa.string(), nullable=False),
    pa.field("content", pa.string(), nullable=False),
    pa.field("size", pa.int64(), nullable=False),
    pa.field("mtime_ns", pa.int64(), nullable=False),
    pa.field("duration", pa.float64()),
)
"""Columns that describe a stimulus; the fields of `Entry`, in order."""


@dataclass(frozen=True)
class Header:
    """Hold what a table says about itself.

    Parameters
    ----------
    encoder : str
        Name of the encoder.
    identity : mapping
        Facts that determine the embeddings; JSON-able.
    layers : mapping of str to int
        Width of every layer.
    default_layer : str
        Layer that is indexed when none is named.
    dtype : str
        ``"float32"`` or ``"float16"``.
    versions : mapping of str to str
        Library versions at creation.
    provenance : mapping
        Further facts about where the embeddings come from, which do not determine them; JSON-able.
    created : str
        Moment of creation, ISO 8601, UTC.
    """

    encoder: str
    identity: Mapping[str, object]
    layers: Mapping[str, int]
    default_layer: str
    dtype: str
    versions: Mapping[str, str]
    provenance: Mapping[str, object]
    created: str


def now() -> str:
    """Return the present moment, ISO 8601, UTC, in microseconds: such texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def canonical(value: object) -> str:
    """Write JSON so that equal values give equal texts.

    Parameters
    ----------
    value : object
        JSON-able; tuples count as lists.

    Returns
    -------
    str
        Sorted keys, no spaces, ASCII.

    Raises
    ------
    StoreError
        If the value cannot be written as JSON.

    Examples
    --------
    >>> canonical({"b": (1, 2), "a": None})
    '{"a":null,"b":[1,2]}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"provenance must be plain JSON values, which {str(value)[:200]!r} is not: {error}") from error


def safe(name: str) -> str:
    """Keep the characters that a table name may have; others become ``-``.

    Parameters
    ----------
    name : str
        Any text.

    Returns
    -------
    str
        At most 64 characters of ``[A-Za-z0-9_.-]``, the first of them a letter or digit.

    Examples
    --------
    >>> safe("x3d-m"), safe("my adapter/ü"), safe("__")
    ('x3d-m', 'my-adapter--', 'unnamed')
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name).lstrip("._-")[:64] or "unnamed"


def digest(*parts: object) -> str:
    """Return 12 hex digits that stand for JSON-able values."""
    return sha256(canonical(parts).encode()).hexdigest()[:12]


def table_name(encoder: str, identity: Mapping[str, object], layers: Mapping[str, int], dtype: str) -> str:
    """Name the table of an encoder, a feature spec and a set of layers.

    Parameters
    ----------
    encoder : str
        Name of the encoder, any text.
    identity : mapping
        Facts that determine the embeddings; JSON-able.
    layers : mapping of str to int
        Width of every layer.
    dtype : str
        Precision.

    Returns
    -------
    str
        ``<encoder>.<12 hex digits>``.
    """
    return f"{safe(encoder)}.{digest(encoder, identity, layers, dtype)}"


def build(header: Header) -> pa.Schema:
    """Lay out the columns of an embedding table.

    Parameters
    ----------
    header : Header
        What the table is about.

    Returns
    -------
    pyarrow.Schema
        One column per layer, its name made of a number and of what a column may be called (no ``.``; no digit first, or
        LanceDB cannot index it); the layer's real name is in the column's metadata.
    """
    item = pa.float16() if header.dtype == "float16" else pa.float32()
    columns = [
        pa.field(
            f"layer_{number:03d}_" + re.sub(r"[^A-Za-z0-9]+", "_", layer)[:64],
            pa.list_(item, width),
            metadata={PREFIX + b"layer": layer.encode()},
        )
        for number, (layer, width) in enumerate(header.layers.items())
    ]
    facts = {
        "format": FORMAT,
        "encoder": header.encoder,
        "identity": header.identity,
        "default_layer": header.default_layer,
        "versions": header.versions,
        "provenance": header.provenance,
        "created": header.created,
    }
    return pa.schema([*ENTRY, *BOOKKEEPING, *columns], metadata(facts))


def layer_columns(schema: pa.Schema) -> dict[str, str]:
    """Map the layers of an embedding table to their columns."""
    key = PREFIX + b"layer"
    return {f.metadata[key].decode(): f.name for f in schema if f.metadata and key in f.metadata}


def parse(schema: pa.Schema, name: str) -> Header:
    """Read back what `build` has written.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of an embedding table.
    name : str
        Table name, for errors.

    Returns
    -------
    Header
        What the table is about.

    Raises
    ------
    StoreError
        If a newer vidsim, or something else, has made the table.
    """
    facts = read_metadata(schema, name)
    columns = layer_columns(schema)
    try:
        first = schema.field(next(iter(columns.values()))).type.value_type
        return Header(
            encoder=facts["encoder"],
            identity=facts["identity"],
            layers={layer: schema.field(column).type.list_size for layer, column in columns.items()},
            default_layer=facts["default_layer"],
            dtype="float16" if first == pa.float16() else "float32",
            versions=facts["versions"],
            provenance=facts["provenance"],
            created=facts["created"],
        )
    except (KeyError, StopIteration) as error:
        raise StoreError(f"table {name!r} is not an embedding table of vidsim; move it out of the store") from error


def metadata(facts: Mapping[str, object]) -> dict[bytes, bytes]:
    """Write facts as schema metadata."""
    return {PREFIX + key.encode(): canonical(value).encode() for key, value in facts.items()}


def read_metadata(schema: pa.Schema, name: str) -> dict[str, Any]:
    """Read facts from schema metadata, after checking the format version.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of any table of the store.
    name : str
        Table name, for errors.

    Returns
    -------
    dict
        Facts by name.

    Raises
    ------
    StoreError
        If the format is newer, or the metadata is not vidsim's.
    """
    raw: Mapping[bytes, bytes] = schema.metadata or {}
    try:
        facts = {key.removeprefix(PREFIX).decode(): json.loads(raw[key]) for key in raw if key.startswith(PREFIX)}
        version = int(facts["format"])
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"table {name!r} was not made by vidsim; move it out of the store") from error
    if version > FORMAT:
        raise StoreError(
            f"table {name!r} has store format {version}, this vidsim reads up to {FORMAT}; upgrade vidsim to use it"
        )
    return facts
