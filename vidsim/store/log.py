"""Append-only tables: every write is one append, and the latest row of a key is the one that counts.

Appends never conflict with each other, so that any number of processes write at once without a lock, on a local disk
and on an object store alike. (Lance's ``merge_insert`` is no alternative: two of them that insert the same new key at
the same time both succeed, and the key stands twice.) Superseded rows stay on disk until ``drop``.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Bool, Int64
from numpy import ndarray

from vidsim.errors import StoreError
from vidsim.store.door import Answer, Connection, Handle, committed, open_table, told

pc: Any = pyarrow.compute  # makes its functions at import, where type checkers do not see them

KEY, WRITTEN, ROW, REPLACES = "id", "written", "row", "replaces"

PLACE = "_rowid"
"""Lance's own number of a row: quick to find, but good for one version of the table only."""

BOOKKEEPING = (
    pa.field(WRITTEN, pa.int64(), nullable=False),  # nanoseconds since 1970, later than any earlier row of the key
    pa.field(ROW, pa.int64(), nullable=False),  # random, unique: names this very row
    pa.field(REPLACES, pa.string()),  # key whose earlier rows this one supersedes as well: a renamed stimulus
)
"""Columns that every log carries beside its own."""


class Log:
    """Read and append one table whose rows have a key.

    Parameters
    ----------
    connection : lancedb.db.DBConnection
        An open connection.
    root : str
        Named in errors.
    name : str
        Table name; the table exists and has the columns ``id`` and `BOOKKEEPING`.
    """

    def __init__(self, connection: Connection, root: str, name: str) -> None:
        self._connection = connection
        self._root = root
        self.name = name
        self._writer: Handle = None
        self._stamp = 0

    def snapshot(self) -> Handle:
        """Open the latest version; what is read through the handle belongs together, whatever is committed meanwhile.

        Returns
        -------
        lancedb.table.Table
            A handle that stays at its version.

        Raises
        ------
        StoreError
            If the table is gone or unreadable.
        """
        handle = open_table(self._connection, self._root, self.name)
        if handle is None:
            raise StoreError(f"table {self.name!r} is no longer in {self._root!r}; was it deleted? run again")
        return handle

    def told(self) -> AbstractContextManager[None]:
        """Turn what goes wrong while the table is read into one line, as `door.told` does."""
        return told(f"table {self.name!r} in {self._root!r}", quoted=True)

    def committed(self, commit: Callable[[], Answer]) -> Answer:
        """Run a commit of its caller's, as `door.committed` does."""
        return committed(self._root, commit)

    def rows(self, columns: Sequence[str], handle: Handle | None = None) -> pa.Table:
        """Read the living rows.

        Parameters
        ----------
        columns : sequence of str
            Columns to read, `PLACE` among them or not; vectors that are not named are not touched.
        handle : lancedb.table.Table, optional
            Snapshot to read; the latest by default.

        Returns
        -------
        pyarrow.Table
            One row per key.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        table = self._scan(handle or self.snapshot(), columns)
        alive = living(table)
        table = table if alive.all() else table.filter(pa.array(alive))
        return table.select(list(columns))

    def stream(self, column: str, width: int, dtype: str, handle: Handle | None = None) -> tuple[list[str], ndarray]:
        """Read the living rows of one vector column.

        Parameters
        ----------
        column : str
            Column of fixed-size lists.
        width : int
            Length of the lists.
        dtype : str
            Precision of the column.
        handle : lancedb.table.Table, optional
            Snapshot to read; the latest by default.

        Returns
        -------
        tuple of list of str and array of shape (n, width)
            Keys and vectors, row by row.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        source: Handle = handle or self.snapshot()
        with self.told():
            # filled batch by batch, so that the vectors are in memory once
            matrix = np.empty((source.count_rows(), width), dtype)
            keys: list[pa.RecordBatch] = []
            filled = 0
            query = source.search().select([KEY, WRITTEN, ROW, REPLACES, column])
            for batch in query.to_batches():
                matrix[filled : filled + len(batch)] = batch[column].flatten().to_numpy().reshape(-1, width)
                filled += len(batch)
                keys.append(batch.drop_columns([column]))
        if not keys:
            return [], matrix
        table = pa.Table.from_batches(keys)
        alive = living(table)
        if alive.all():
            return table[KEY].to_pylist(), matrix
        return table[KEY].filter(pa.array(alive)).to_pylist(), matrix[alive]

    def fetch(self, places: Sequence[int], columns: Sequence[str], handle: Handle) -> pa.Table:
        """Read whole rows by their place on disk.

        Parameters
        ----------
        places : sequence of int
            Values of the column ``_rowid``, read through the same handle; may repeat.
        columns : sequence of str
            Columns to read.
        handle : lancedb.table.Table
            Snapshot to read.

        Returns
        -------
        pyarrow.Table
            One row per place, in the order of the places.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        with self.told():
            found = handle.take_row_ids(list(set(places))).select([*columns, PLACE]).to_arrow()
        # they come in the order of the disk
        order = pc.index_in(pa.array(places, pa.uint64()), found[PLACE].combine_chunks())
        return found.select(list(columns)).take(order)

    def stamp(self) -> int:
        """Return a time in ns that is later than that of every row seen so far, even where clocks disagree."""
        if not self._stamp:
            with self.told():
                seen = self.snapshot().search().select([WRITTEN]).to_arrow()
            self._stamp = pc.max(seen[WRITTEN]).as_py() or 0
        self._stamp = max(time.time_ns(), self._stamp + 1)
        return self._stamp

    def append(self, table: pa.Table, stamp: int, replaces: Sequence[str | None] | None = None) -> None:
        """Write rows in one commit: all of them or none.

        Parameters
        ----------
        table : pyarrow.Table
            Columns of the table but the bookkeeping; keys are unique.
        stamp : int
            From `stamp`.
        replaces : sequence of (str or None), optional
            Per row, a key that dies with this commit.

        Raises
        ------
        StoreError
            If the rows cannot be committed.
        """
        n = len(table)
        if not n:
            return
        numbers = np.random.default_rng().integers(np.iinfo(np.int64).max, size=n)
        values = (np.full(n, stamp), numbers, replaces or [None] * n)
        for field, column in zip(BOOKKEEPING, values, strict=True):
            table = table.append_column(field, pa.array(column, field.type))

        def commit() -> None:
            if self._writer is None:
                self._writer = self.snapshot()
            else:
                self._writer.checkout_latest()
            self._writer.add(table.select(self._writer.schema.names))

        committed(self._root, commit)

    def drop(self, keys: Collection[str]) -> int:
        """Remove keys, and every superseded row, in one commit.

        Parameters
        ----------
        keys : collection of str
            Keys to remove; those that are not there are passed over.

        Returns
        -------
        int
            How many keys were removed.

        Raises
        ------
        StoreError
            If the commit fails.
        """
        from lancedb import col

        def commit() -> int:
            handle = self.snapshot()
            table = self._scan(handle, ())
            alive = living(table)
            wanted = pc.is_in(table[KEY], pa.array(list(keys), pa.string())).to_numpy(zero_copy_only=False)
            # a superseded row goes together with, or before, the row that supersedes it: it must not come back to life
            doomed = pa.array(~alive | wanted)
            if pc.any(doomed).as_py():
                ids = pc.unique(table[KEY].filter(doomed)).to_pylist()
                # rows are named one by one: what another process has written since is not meant
                handle.delete(col(ROW).isin(table[ROW].filter(doomed).to_pylist()) & col(KEY).isin(ids))
            return int((alive & wanted).sum())

        return committed(self._root, commit)

    def _scan(self, handle: Handle, columns: Sequence[str]) -> pa.Table:
        names = dict.fromkeys((KEY, WRITTEN, ROW, REPLACES, *columns))
        with self.told():
            query = handle.search().select([name for name in names if name != PLACE])
            return query.with_row_id(PLACE in names).to_arrow()


def living(table: pa.Table) -> Bool[ndarray, " n"]:
    """Mark the row that counts of every key.

    A row is superseded by a later row of its key, and by a later row that replaces its key.

    Parameters
    ----------
    table : pyarrow.Table
        Columns ``id``, ``written``, ``row``, ``replaces``.

    Returns
    -------
    array of shape (n,)
        True for rows that count, at most one per key.
    """
    n = len(table)
    replaces = table[REPLACES].combine_chunks()
    if replaces.null_count == n and pc.count_distinct(table[KEY]).as_py() == n:
        return np.ones(n, bool)
    written = table[WRITTEN].to_numpy()
    names = pa.chunked_array([*table[KEY].chunks, replaces]).combine_chunks().dictionary_encode()
    codes = pc.fill_null(pc.cast(names.indices, pa.int64()), -1).to_numpy(zero_copy_only=False)
    of_key, replaced = codes[:n], codes[n:]
    later = np.lexsort((table[ROW].to_numpy(), written))
    alive = np.zeros(n, bool)
    alive[_last(of_key, later)] = True
    ended = np.full(codes.max() + 1, np.iinfo(np.int64).min)
    there = replaced >= 0
    np.maximum.at(ended, replaced[there], written[there])
    return alive & (written >= ended[of_key])


def _last(codes: Int64[ndarray, " n"], order: Int64[ndarray, " n"]) -> Int64[ndarray, " k"]:
    """Return, for every code, its row that comes last in the order."""
    last = np.full(codes.max() + 1, -1)
    last[codes[order]] = order
    return last[last >= 0]
