"""LanceDB's own vector index over one layer of a table: for sets larger than memory."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64
from numpy import ndarray

from vidsim.errors import StoreError
from vidsim.store.door import Handle
from vidsim.store.log import ROW, Log, pc
from vidsim.store.schema import ENTRY

LEAST_ROWS = 256
"""LanceDB trains no index on fewer rows; they are compared one by one."""


class LayerSearch:
    """Search the vectors of a layer where they lie.

    Rows are known by their number, which names one writing of a stimulus: a stimulus that is written again has another.

    Parameters
    ----------
    log : Log
        The table.
    column : str
        The layer's column.
    width : int
        Dimensions.
    """

    def __init__(self, log: Log, column: str, width: int) -> None:
        self._log = log
        self._column = column
        self._width = width
        self._handle: Handle = None

    def tidy(self) -> None:
        """Remove superseded rows, which a search would find.

        Raises
        ------
        StoreError
            If the commit fails.
        """
        self._log.drop(())

    def entries(self) -> tuple[pa.Table, int]:
        """Read the entries with their rows' numbers, and the number of the commit.

        Returns
        -------
        tuple of pyarrow.Table and int
            Columns as `EmbeddingTable.entries` has them, and ``row``.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        handle = self._log.snapshot()
        return self._log.rows([*(f.name for f in ENTRY), ROW], handle).combine_chunks(), handle.version

    def index(self, lists: int, *, again: bool) -> None:
        """Make the index, or add to the one that is there what has been written since.

        Parameters
        ----------
        lists : int
            Lists of a new index.
        again : bool
            Train a new one even where there is one.

        Raises
        ------
        StoreError
            If it cannot be made.
        """
        if self._column[0].isdigit():
            raise StoreError(
                f"table {self._log.name!r} is of an older vidsim, whose columns LanceDB cannot index; choose another "
                "kind of index, or extract into another --root"
            )
        from datetime import timedelta

        from lancedb.index import IvfSq

        def commit() -> None:
            handle = self._log.snapshot()
            there = any(self._column in index.columns for index in handle.list_indices())
            if there and not again:
                handle.optimize(cleanup_older_than=timedelta(hours=1))
            elif handle.count_rows() >= LEAST_ROWS:
                handle.create_index(self._column, config=IvfSq(distance_type="cosine", num_partitions=lists))

        self._log.committed(commit)
        self._handle = None

    def parts(self) -> Iterator[tuple[Int64[ndarray, " n"], Float32[ndarray, "n d"]]]:
        """Go through the vectors, some at a time.

        Yields
        ------
        tuple of arrays of shape (n,) and (n, d)
            Numbers and vectors, superseded rows included.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        with self._log.told():
            for batch in self._latest().search().select([ROW, self._column]).to_batches():
                yield batch[ROW].to_numpy(), self._matrix(batch[self._column])

    def fetch(self, numbers: Sequence[int]) -> Float32[ndarray, "n d"]:
        """Read the vectors of some rows.

        Parameters
        ----------
        numbers : sequence of int
            The rows' numbers.

        Returns
        -------
        array of shape (n, d)
            In the order asked for; NaN for a row that has gone.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        from lancedb import col

        wanted = np.asarray(numbers, np.int64)
        made = np.full((len(wanted), self._width), np.nan, np.float32)
        with self._log.told():
            query = self._latest().search().where(col(ROW).isin(np.unique(wanted).tolist()))
            found = query.select([ROW, self._column]).to_arrow()
        place = pc.index_in(pa.array(wanted), found[ROW].combine_chunks()).to_numpy(zero_copy_only=False)
        there = ~np.isnan(place.astype(float))
        vectors = self._matrix(found[self._column].combine_chunks())
        made[there] = vectors[place[there].astype(np.int64)]
        return made

    def nearest(
        self, query: Float32[ndarray, " d"], k: int, *, lists: int, refine: int
    ) -> tuple[Float32[ndarray, " k"], Int64[ndarray, " k"]]:
        """Find the rows whose cosine similarity is largest.

        Parameters
        ----------
        query : array of shape (d,)
            Any direction.
        k : int
            How many, at least 1.
        lists : int
            Lists of the index to look into.
        refine : int
            Candidates by codes, for every result, that are compared by their whole vectors.

        Returns
        -------
        tuple of array of shape (k,)
            Similarities, largest first, and the rows' numbers; fewer where there are fewer.

        Raises
        ------
        StoreError
            If the table cannot be read.
        """
        with self._log.told():
            search: Any = self._latest().search(query, vector_column_name=self._column)
            search = search.distance_type("cosine").nprobes(lists).refine_factor(refine)
            found = search.limit(k).select([ROW, "_distance"]).to_arrow()
        return (1 - found["_distance"].to_numpy()).astype(np.float32), found[ROW].to_numpy()

    def _latest(self) -> Handle:
        if self._handle is None:
            self._handle = self._log.snapshot()
        return self._handle

    def _matrix(self, column: pa.Array) -> Float32[ndarray, "n d"]:
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self._width).astype(np.float32, copy=False)
