"""Search in the store, by LanceDB's own index: for sets larger than memory; vectors are streamed."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64
from numpy import ndarray

from vidsim.embeddings import unit_rows
from vidsim.errors import VidsimError
from vidsim.retrieval import construct, exact, manifest, pairs
from vidsim.retrieval.construct import Parts
from vidsim.retrieval.recall import AT, reach, samples
from vidsim.retrieval.tuning import climb_both
from vidsim.store import EmbeddingTable, Store
from vidsim.store.layer_search import LayerSearch

KIND = "lancedb"
ROWS_PER_LIST = 4096
"""Rows of a list of LanceDB's index, about."""

REFINE_MOST = 64
QUERIES = 100
"""Queries of each sample for recall: they are answered one by one, each in hundredths of a second."""

PAIRED_ROWS = 20_000
"""Rows whose pairs stand for all, beyond this number."""


class Stored:
    """Search a layer in the store.

    Parameters
    ----------
    open_layer : callable
        Opens the layer; called when it is first needed, since LanceDB takes a second to import.
    numbers : array of shape (n,)
        Number in the store of every row of the index. Rows that have been written or deleted since are not found.
    dims : int
        Width of the layer.
    parameters : mapping
        ``nlist``, ``nprobe``, ``refine``.
    """

    exact = False

    def __init__(
        self,
        open_layer: Callable[[], LayerSearch],
        numbers: Int64[ndarray, " n"],
        dims: int,
        parameters: Mapping[str, int],
    ) -> None:
        self._open = open_layer
        self._opened: LayerSearch | None = None
        self._numbers = numbers
        self._order = np.argsort(numbers)
        self._dims = dims
        self.parameters = dict(parameters)

    def __len__(self) -> int:
        return len(self._numbers)

    def rows(self, rows: Int64[ndarray, " n"]) -> Float32[ndarray, "n d"]:
        """Read some of the vectors.

        Parameters
        ----------
        rows : array of shape (n,)
            Rows of the index.

        Returns
        -------
        array of shape (n, d)
            Unit vectors.

        Raises
        ------
        VidsimError
            If one is no longer in the store.
        """
        found = self._layer().fetch(self._numbers[rows].tolist())
        if np.isnan(found).any():
            raise VidsimError(
                "a stimulus has left the store since the index was built; refresh it: vidsim index --refresh"
            )
        return unit_rows(found)

    def similarities(self, query: Float32[ndarray, " d"]) -> Float32[ndarray, " rows"]:
        """Compare a unit vector with every row, streaming them; NaN for rows that have left the store."""
        found = np.full(len(self), np.nan, np.float32)
        for rows, matrix in self.parts():
            found[rows] = matrix @ query
        return found

    def nearest(
        self, queries: Float32[ndarray, "q d"], k: int
    ) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
        """Find rows that are probably the most similar; -1 where the search has met fewer."""
        similarities = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1)
        for line, query in enumerate(queries):
            found, places = self._found(query, k)
            similarities[line, : len(found)], rows[line, : len(found)] = found, places
        return similarities, rows

    def _found(
        self, query: Float32[ndarray, " d"], k: int
    ) -> tuple[Float32[ndarray, " found"], Int64[ndarray, " found"]]:
        """Ask for more as long as too many of what is found was written after the index."""
        asked = max(k, AT + 1)  # with fewer, fewer would be refined than when recall was measured
        while True:
            found, numbers = self._layer().nearest(
                query, asked, lists=self.parameters["nprobe"], refine=self.parameters["refine"]
            )
            places = self._places(numbers)
            there = places >= 0
            if there.sum() >= k or len(numbers) < asked:
                return found[there][:k], places[there][:k]
            asked *= 4

    def parts(self) -> Iterator[tuple[Int64[ndarray, " n"], Float32[ndarray, "n d"]]]:
        """Go through the unit vectors, some at a time, with their rows; without those that the index has not."""
        for numbers, matrix in self._layer().parts():
            rows = self._places(numbers)
            there = rows >= 0
            yield rows[there], unit_rows(matrix[there])

    def tune(self, holds: Callable[[], bool]) -> bool:
        """Search ever more thoroughly until it suffices; from the present parameters upward."""
        return climb_both(self.parameters, REFINE_MOST, holds)

    def _layer(self) -> LayerSearch:
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    def _places(self, numbers: Int64[ndarray, " n"]) -> Int64[ndarray, " n"]:
        """Return the rows of numbers, -1 for those the index has not."""
        if not len(self):
            return np.full(len(numbers), -1)
        place = np.minimum(np.searchsorted(self._numbers, numbers, sorter=self._order), len(self) - 1)
        rows = self._order[place]
        return np.where(self._numbers[rows] == numbers, rows, -1)


def build(
    root: str,
    table: EmbeddingTable,
    layer: str,
    *,
    provenance: Mapping[str, object],
    min_recall: float,
    attributes: Callable[[pa.Table], pa.Table | None],
    again: bool,
    without: Collection[str] = (),
    seed: int = 0,
) -> Parts:
    """Make an index in the store, or add to the one that is there, and put what a search needs into the artefact root.

    Parameters
    ----------
    root : str
        Artefact root.
    table : EmbeddingTable
        A table of its store.
    layer : str
        Layer to index.
    provenance : mapping
        JSON-able facts, without the store's version.
    min_recall : float
        Least recall@10, 0 to 1.
    attributes : callable
        From entries to what is known of them, with a column ``id``; or to None.
    again : bool
        Train a new index even where there is one.
    without : collection of str
        Ids that are not to be found.
    seed : int
        Seed of the samples.

    Returns
    -------
    Parts
        The index.

    Raises
    ------
    VidsimError
        If there is nothing to index, a number is out of range, the recall is not reached, or files cannot be written.
        LanceDB's index then stays in the store, where nothing uses it.
    """  # noqa: DOC501 - refusal returns it
    construct.check_numbers(min_recall, seed)
    search = table.search(layer)
    search.tidy()
    lists = max(1, len(table) // ROWS_PER_LIST)
    search.index(lists, again=again)
    entries, version = search.entries()
    zero = [numbers[~matrix.any(axis=1)] for numbers, matrix in search.parts()]
    left_out = np.concatenate([*zero, np.empty(0, np.int64)])
    entries = entries.filter(pa.array(~np.isin(entries["row"].to_numpy(), left_out)))
    entries = entries.filter(pa.array([name not in without for name in entries["id"].to_pylist()], pa.bool_()))
    if not entries.num_rows:
        raise VidsimError(f"no embeddings of {table.encoder} {layer} to index, but {len(left_out)} that are zero")
    entries = entries.select([*construct.ENTRIES, "row"]).combine_chunks()
    vectors = Stored(
        lambda: search,
        entries["row"].to_numpy(),
        table.layers[layer],
        {"nlist": lists, "nprobe": min(4, lists), "refine": 1},
    )

    def exactly(queries: Float32[ndarray, "q d"], k: int) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
        return exact.nearest_among(vectors.parts(), queries, k)

    recall = reach(vectors, min_recall, *samples(len(vectors), vectors.rows, exactly, seed, QUERIES))
    if recall["recall"] < min_recall:
        raise construct.refusal(KIND, recall["recall"], min_recall)
    sample = np.random.default_rng(seed).permutation(len(vectors))[:PAIRED_ROWS]
    writers, known = construct.tables(entries, attributes(entries))
    facts = {
        "encoder": table.encoder,
        "layer": layer,
        "provenance": {**provenance, "version": version},
        "kind": KIND,
        "asked": KIND,
        "recall": recall,
        "min_recall": min_recall,
        "metric": "cosine",
        "rows": len(vectors),
        "dims": table.layers[layer],
        "left_out": len(left_out),
        "seed": seed,
        "parameters": vectors.parameters,
        "pairs": pairs.quantiles(vectors.rows(np.sort(sample)), seed),
    }
    return Parts(vectors, entries, manifest.publish(root, facts, writers), known)


def read(root: str, found: Mapping[str, Any], entries: pa.Table) -> Stored:
    """Open an index that `build` has made; the store is opened when it is first searched.

    Parameters
    ----------
    root : str
        Artefact root.
    found : mapping
        The index's manifest.
    entries : pyarrow.Table
        Its entries.

    Returns
    -------
    Stored
        What can be searched.
    """

    def open_layer() -> LayerSearch:
        name = found["provenance"]["table"]
        table = next((t for t in Store(root).tables(found["encoder"]) if t.name == name), None)
        if table is None:
            raise VidsimError(
                f"the index of {found['encoder']} {found['layer']} searches table {name!r}, which is no longer in "
                f"{root!r}; extract again: {manifest.command(found['encoder'])}"
            )
        return table.search(found["layer"])

    return Stored(open_layer, entries["row"].to_numpy(), found["dims"], found["parameters"])
