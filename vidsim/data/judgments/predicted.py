"""Labels that a model has predicted (`vidsim label`): their schema, and how they are read as judgments of no person."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int
from numpy import ndarray
from pyarrow import parquet

from vidsim.data.judgments.judgments import DETAILS, Judgments
from vidsim.data.judgments.text import pc, show
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand
from vidsim.rsm import RSM

FORMAT = 1
KEY = "predicted"
"""Key of the file's metadata under which its provenance stands."""

STIMULUS = pa.dictionary(pa.int32(), pa.string())
TRIPLETS = pa.schema(
    [
        pa.field("a", STIMULUS, nullable=False),
        pa.field("b", STIMULUS, nullable=False),
        pa.field("odd", STIMULUS, nullable=False),
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("entropy", pa.float32(), nullable=False),
    ]
)
"""A row a triplet: ids of the two that stay together and of the predicted odd one, the probability that it is the odd
one, and the entropy of the choice in nats, 0 to ln 3."""


def similarity_schema(n: int) -> pa.Schema:
    """Return the schema of predicted similarities: a row a stimulus, its similarity to each of the n in file order."""
    values = pa.list_(pa.field("element", pa.float32(), nullable=False), n)
    return pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("similarity", values, nullable=False)])


def metadata(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return what the metadata of a file of predictions says."""
    return {KEY: json.dumps({"format": FORMAT, **provenance})}


def read_predicted(path: Place) -> Judgments | RSM:
    """Read what `vidsim label` has written.

    Parameters
    ----------
    path : str or path
        A ``.parquet`` file of triplets or of similarities. A part that another program has written, without the
        metadata, is known by its columns; it is then not known which model made it.

    Returns
    -------
    Judgments or RSM
        Judgments have ``predicted`` set, and no participants.

    Raises
    ------
    VidsimError
        If the file is missing, damaged, or holds something else.
    """
    path = expand(path)
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            schema = file.schema_arrow
            facts = _facts(schema, path)
            if set(TRIPLETS.names[:4]) <= set(schema.names):
                names = [name for name in TRIPLETS.names if name in schema.names]
                return _judgments(file.read(names), facts or {"encoder": None, "layer": None}, path)
            if facts is not None and schema.names == ["id", "similarity"]:
                return _rsm(file.read(), path)
    except FileNotFoundError:
        raise VidsimError(f"no file {show(path)}") from None
    except (pa.ArrowException, OSError) as error:
        raise VidsimError(f"{show(path)} cannot be read: {' '.join(str(error).split())[:200]}") from error
    listed = ", ".join(map(repr, schema.names[:12]))
    raise VidsimError(
        f"{show(path)} holds no labels of `vidsim label`, whose columns are {', '.join(TRIPLETS.names)}; it has "
        f"{listed or 'none'}: write other judgments as .csv"
    )


def note(facts: Mapping[str, Any]) -> str:
    """Say in one line whose predictions they are.

    Parameters
    ----------
    facts : mapping
        Provenance, of which ``encoder`` and ``layer`` are told.

    Returns
    -------
    str
        A sentence without a full stop.
    """
    whose = f"{facts['encoder']}:{facts['layer']}" if facts.get("encoder") else "a model that the file does not name"
    return f"predicted by {whose}: no person judged these, so they tell nothing about people's reliability or agreement"


def _facts(schema: pa.Schema, path: Path) -> dict[str, Any] | None:
    text = (schema.metadata or {}).get(KEY.encode())
    if text is None:
        return None
    try:
        facts = json.loads(text)
        newer = facts["format"] > FORMAT
    except (ValueError, KeyError, TypeError):
        raise VidsimError(f"the metadata of {show(path)} is damaged; make it again: vidsim label") from None
    if newer:
        raise VidsimError(f"{show(path)} was written by a newer vidsim; upgrade vidsim to read it")
    return {name: value for name, value in facts.items() if name != "format"}


def _judgments(table: pa.Table, facts: Mapping[str, Any], path: Path) -> Judgments:
    if not table.num_rows:
        raise VidsimError(f"{show(path)} holds no triplets")
    ids, rows = _numbers(table, path)
    a, b, odd = rows.T
    wrong = np.flatnonzero((a == b) | (a == odd) | (b == odd))
    if len(wrong):
        raise VidsimError(f"{show(path)} row {wrong[0] + 1} shows {ids[int(odd[wrong[0]])]!r} more than once")
    columns = {field.name: pa.nulls(len(rows), field.type) for field in DETAILS}
    columns["line"] = pa.array(np.arange(1, len(rows) + 1))
    return Judgments(
        ids,
        rows,
        pa.table(columns, schema=DETAILS),
        source_rows=len(rows),
        source=path.as_posix(),
        order="odd-last",
        notes=(note(facts),),
        predicted=facts,
    )


def _numbers(table: pa.Table, path: Path) -> tuple[tuple[str, ...], Int[ndarray, "t 3"]]:
    """Number the stimuli that occur, in the order in which the file lists them."""
    columns: list[pa.DictionaryArray] = []
    for name in ("a", "b", "odd"):
        column = table[name]
        if column.null_count:
            row = pc.index(column.is_null(), pa.scalar(True)).as_py()
            raise VidsimError(f"{show(path)} row {row + 1}: no id in column {name!r}")
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        # row groups may bring dictionaries of their own
        columns.append(column.cast(STIMULUS).unify_dictionaries().combine_chunks())  # pyright: ignore[reportArgumentType]
    labels = list(dict.fromkeys(label for column in columns for label in column.dictionary.to_pylist()))
    known = pa.array(labels, pa.string())
    rows = np.empty((table.num_rows, 3), np.int32)
    for at, column in enumerate(columns):
        number = pc.index_in(column.dictionary, value_set=known).to_numpy()
        rows[:, at] = number[column.indices.to_numpy()]
    used = np.zeros(len(labels), bool)
    used[rows] = True
    compact = np.cumsum(used, dtype=np.int32) - 1
    return tuple(label for label, here in zip(labels, used.tolist(), strict=True) if here), compact[rows]


def _rsm(table: pa.Table, path: Path) -> RSM:
    n = table.num_rows
    values = table["similarity"].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    if len(values) != n * n:
        raise VidsimError(f"{show(path)} has {n:,} rows and {len(values):,} similarities; expected a square matrix")
    matrix = values.reshape(n, n)
    # block by block, (i, j) and (j, i) may have been summed in another order
    return RSM(tuple(table["id"].to_pylist()), (matrix + matrix.T) / 2)
