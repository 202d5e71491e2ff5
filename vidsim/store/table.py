"""One table: an encoder with one feature spec; row = stimulus, column = layer."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Shaped
from numpy import ndarray

from vidsim.embeddings import Embeddings
from vidsim.errors import StoreError
from vidsim.store.layer_search import LayerSearch
from vidsim.store.log import KEY, PLACE, Log, pc
from vidsim.store.missing import NotStored, nearest
from vidsim.store.schema import ENTRY, Header, layer_columns, parse

COPY_BYTES = 1 << 26
"""Vectors are copied in commits of about this size, so that memory stays bounded."""


@dataclass(frozen=True)
class Entry:
    """Describe a stimulus whose embeddings are stored.

    Parameters
    ----------
    id : str
        Name of the stimulus, the key of its row.
    path : str
        Absolute POSIX path of its file; empty where there is none.
    content : str
        Hex hash of the file's bytes, or of the captions.
    size : int
        Bytes.
    mtime_ns : int
        Modification time of the file, in ns since 1970.
    duration : float, optional
        Length of the clip in seconds.
    """

    id: str
    path: str
    content: str
    size: int = 0
    mtime_ns: int = 0
    duration: float | None = None


class InvalidVectors(StoreError):
    """Report vectors that cannot be stored as they are; nothing of their batch was written.

    Parameters
    ----------
    ids : sequence of str
        The stimuli concerned.
    reason : str
        One line for a person.
    """

    def __init__(self, ids: Sequence[str], reason: str) -> None:
        super().__init__(reason)
        self.ids = tuple(ids)
        self.reason = reason


class EmbeddingTable:
    """Read and write the embeddings of one encoder under one feature spec.

    ``table[layer]`` reads that layer, and nothing of the others. Every read sees all that is committed at that moment,
    and never half of a commit; ``len(table)`` counts the stimuli.

    Parameters
    ----------
    log : Log
        The table on disk.
    schema : pyarrow.Schema
        Its schema, as `schema.build` makes it.

    Attributes
    ----------
    name : str
        Table name.
    encoder : str
        Name of the encoder.
    identity : mapping
        Facts that determine the embeddings.
    layers : mapping of str to int
        Width of every layer, in order of depth.
    default_layer : str
        Layer that is indexed when none is named.
    dtype : str
        ``"float32"`` or ``"float16"``.
    versions : mapping of str to str
        Library versions at creation.
    provenance : mapping
        Further facts about where the embeddings come from: revision, source of the weights.
    created : str
        Moment of creation, ISO 8601, UTC.
    """

    def __init__(self, log: Log, schema: pa.Schema) -> None:
        header: Header = parse(schema, log.name)
        self._log = log
        self._schema = schema
        self._columns = layer_columns(schema)
        self.name = log.name
        self.encoder = header.encoder
        self.identity = header.identity
        self.layers = header.layers
        self.default_layer = header.default_layer
        self.dtype = header.dtype
        self.versions = header.versions
        self.provenance = header.provenance
        self.created = header.created

    def __repr__(self) -> str:
        return f"<EmbeddingTable {self.name!r}: {len(self.layers)} layers, {self.dtype}>"

    @property
    def version(self) -> int:
        """Return the number of the latest commit; it grows with every write."""
        return self._log.snapshot().version

    def __len__(self) -> int:
        return len(self._log.rows([KEY]))

    def __contains__(self, layer: object) -> bool:
        return layer in self.layers

    def __getitem__(self, layer: str) -> Embeddings:
        if layer not in self.layers:
            raise NotStored(
                f"no layer {layer!r} of {self.encoder!r} is stored in {self.name!r}{nearest(layer, self.layers)}"
            )
        ids, matrix = self._log.stream(self._columns[layer], self.layers[layer], self.dtype)
        return Embeddings(ids, matrix)

    def entries(self) -> pa.Table:
        """Read the entries, without vectors.

        Returns
        -------
        pyarrow.Table
            Columns ``id``, ``path``, ``content``, ``size``, ``mtime_ns``, ``duration``; every id once.
        """
        return self._log.rows([f.name for f in ENTRY]).combine_chunks()

    def snapshot(self, layer: str) -> tuple[Embeddings, pa.Table, int]:
        """Read one layer and the entries of the same moment, whatever is committed meanwhile.

        Parameters
        ----------
        layer : str
            A layer of the table.

        Returns
        -------
        tuple of Embeddings, pyarrow.Table and int
            The layer, the entries as `entries` gives them, and the number of the commit.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        handle = self._log.snapshot()
        ids, matrix = self._log.stream(self._columns[layer], self.layers[layer], self.dtype, handle)
        entries = self._log.rows([f.name for f in ENTRY], handle).combine_chunks()
        return Embeddings(ids, matrix), entries, handle.version

    def search(self, layer: str) -> LayerSearch:
        """Search a layer where it lies, with LanceDB's own index.

        Parameters
        ----------
        layer : str
            A layer of the table.

        Returns
        -------
        LayerSearch
            Its vectors.

        Raises
        ------
        NotStored
            If there is no such layer.
        """
        if layer not in self.layers:
            raise NotStored(
                f"no layer {layer!r} of {self.encoder!r} is stored in {self.name!r}{nearest(layer, self.layers)}"
            )
        return LayerSearch(self._log, self._columns[layer], self.layers[layer])

    def write(self, entries: Sequence[Entry], vectors: Mapping[str, Shaped[ndarray, "n _"]]) -> None:
        """Write rows in one commit: all of them or, if anything is wrong, none.

        A row takes the place of an earlier row of the same id.

        Parameters
        ----------
        entries : sequence of Entry
            One per row; every id once.
        vectors : mapping of str to array of shape (n, d)
            Embeddings by layer: all layers of the table, at their widths.

        Raises
        ------
        StoreError
            If layers, lengths or widths are not the table's, ids repeat, or the commit fails.
        InvalidVectors
            If a vector holds NaN, infinity, or a value beyond the table's precision; names all ids concerned.
        """
        rows = _entry_columns(entries)
        columns = [_vector_column(values, self.dtype) for values in self._checked(entries, vectors)]
        fields = [*ENTRY, *(self._schema.field(column) for column in self._columns.values())]
        self._log.append(pa.Table.from_arrays([*rows, *columns], schema=pa.schema(fields)), self._log.stamp())

    def copy(self, pairs: Sequence[tuple[str, Entry]], *, remove_sources: bool) -> None:
        """Write the vectors of stored stimuli again under new entries, without encoding anything.

        Done in commits of bounded size, all of which read the table as it was at the beginning (so that ids may change
        places). In each of them new rows arrive and their sources go together.

        Parameters
        ----------
        pairs : sequence of (str, Entry)
            Stored id, and the entry to write its vectors under; every new id once.
        remove_sources : bool
            Whether the stored ids go (a moved file), unless they are among the new ones.

        Raises
        ------
        StoreError
            If a source is not stored, a new id stands twice, or a commit fails.
        """
        handle = self._log.snapshot()
        keys = self._log.rows([KEY, PLACE], handle)
        position = pc.index_in(pa.array([source for source, _ in pairs], pa.string()), keys[KEY].combine_chunks())
        if position.null_count:
            source = next(s for (s, _), found in zip(pairs, position, strict=True) if not found.is_valid)
            raise StoreError(f"{source!r} has no embeddings in table {self.name!r} that could be copied")
        places = keys[PLACE].take(position).to_pylist()
        _entry_columns([entry for _, entry in pairs])  # before anything is written
        stamp = self._log.stamp()
        for part in self._parts(len(pairs)):
            table = pa.Table.from_arrays(_entry_columns([entry for _, entry in pairs[part]]), schema=pa.schema(ENTRY))
            vectors = self._log.fetch(places[part], list(self._columns.values()), handle)
            for column in vectors.column_names:
                table = table.append_column(self._schema.field(column), vectors[column])
            self._log.append(table, stamp, [source for source, _ in pairs[part]] if remove_sources else None)

    def delete(self, ids: Collection[str]) -> int:
        """Remove stimuli in one commit.

        Parameters
        ----------
        ids : collection of str
            Ids; those that are not stored are passed over.

        Returns
        -------
        int
            How many were removed.

        Raises
        ------
        StoreError
            If the commit fails.
        """
        return self._log.drop(ids)

    def _parts(self, total: int) -> list[slice]:
        row_bytes = sum(self.layers.values()) * np.dtype(self.dtype).itemsize
        size = max(1, COPY_BYTES // row_bytes)
        return [slice(start, start + size) for start in range(0, total, size)]

    def _checked(
        self, entries: Sequence[Entry], vectors: Mapping[str, Shaped[ndarray, "n _"]]
    ) -> list[Shaped[ndarray, "n d"]]:
        """Return the vectors in the order of the columns, in the table's precision."""
        if set(vectors) != set(self.layers):
            missing = [layer for layer in self.layers if layer not in vectors]
            extra = [layer for layer in vectors if layer not in self.layers]
            raise StoreError(
                f"table {self.name!r} takes vectors of all its layers and no others; "
                f"missing: {missing or 'none'}, unknown: {extra or 'none'}"
            )
        for layer, width in self.layers.items():
            given = vectors[layer]
            if given.shape != (len(entries), width):
                of = f", the first of {entries[0].id!r}" if entries else ""
                raise StoreError(
                    f"layer {layer!r} of table {self.name!r}: expected {len(entries)} vectors of width {width}{of}, "
                    f"got an array of shape {given.shape}"
                )
        if invalid := complaints(entries, {layer: vectors[layer] for layer in self.layers}, self.dtype):
            reason = next(iter(invalid.values()))
            others = f" (and {len(invalid) - 1} more ids)" if len(invalid) > 1 else ""
            raise InvalidVectors(list(invalid), reason + others)
        return [np.ascontiguousarray(vectors[layer], self.dtype) for layer in self.layers]


def complaints(entries: Sequence[Entry], vectors: Mapping[str, Shaped[ndarray, "n _"]], dtype: str) -> dict[str, str]:
    """Say of which stimuli a vector cannot be stored.

    Parameters
    ----------
    entries : sequence of Entry
        One per row.
    vectors : mapping of str to array of shape (n, d)
        Embeddings by layer.
    dtype : {"float32", "float16"}
        Precision in which they would be stored.

    Returns
    -------
    dict of str to str
        By id: the first layer, in the order given, with NaN, infinity, or a value beyond the precision.
    """
    found: dict[str, str] = {}
    for layer, rows in vectors.items():
        for row in np.flatnonzero(~_storable(rows, dtype)).tolist():
            found.setdefault(entries[row].id, _complaint(entries[row].id, layer, rows[row], dtype))
    return found


def _storable(rows: Shaped[ndarray, "n d"], dtype: str) -> Bool[ndarray, " n"]:
    """Mark the rows all of whose values are finite and within the precision's range."""
    return np.all(np.abs(rows) <= np.finfo(dtype).max, axis=1)  # NaN compares as false


def _complaint(name: str, layer: str, vector: Shaped[ndarray, " d"], dtype: str) -> str:
    start = f"the embedding of {name!r} at layer {layer!r} cannot be stored"
    if not np.isfinite(vector).all():
        return f"{start}: it holds NaN or infinity"
    return f"{start}: a value of {np.abs(vector).max():g} is beyond {dtype} (at most {np.finfo(dtype).max:g})"


def _vector_column(values: Shaped[ndarray, "n d"], dtype: str) -> pa.FixedSizeListArray:
    item = pa.float16() if dtype == "float16" else pa.float32()
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), item), values.shape[1])


def _entry_columns(entries: Sequence[Entry]) -> list[pa.Array]:
    if len({entry.id for entry in entries}) < len(entries):
        twice = next(name for name, count in Counter(entry.id for entry in entries).items() if count > 1)
        raise StoreError(f"id {twice!r} stands more than once among the rows to write; expected every id once")
    try:
        return [pa.array([getattr(entry, f.name) for entry in entries], f.type) for f in ENTRY]
    except UnicodeEncodeError as error:
        raise StoreError(f"the name {error.object!r} is not valid Unicode; rename the file") from error
