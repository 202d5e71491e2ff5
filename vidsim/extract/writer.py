"""The writer: commits embeddings and failures in the background, a batch at a time."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy import ndarray

from vidsim.errors import VidsimError
from vidsim.store import EmbeddingTable, Entry, Failure, Store
from vidsim.store.table import complaints

log = logging.getLogger(__name__)

COMMIT_ROWS = 64
COMMIT_SECONDS = (2.0, 20.0)
COMMIT_BYTES = 256 * 2**20
"""When to commit: many rows, but not so often that the store is left in splinters; or long since; or much in memory."""

DOUBTFUL = 8
"""Stimuli without a usable embedding, and none with one, after which weights or card are at fault and not the clips."""


class Writer:
    """Commit rows to one table while the next batch is computed.

    Rows arrive in memory, and one commit at a time runs in a thread of its own. Leaving the context commits what is
    left, also after an interrupt or an error.

    Parameters
    ----------
    store : Store
        The store, for its ledger.
    table : EmbeddingTable or None
        Table to write to; None where it is yet to be created.
    create : callable
        Makes the table from the dims of its layers.
    origin : str
        What computes the embeddings, for people.
    dtype : {"float32", "float16"}
        Precision in which they are stored.
    scope : str
        Ledger scope of embeddings that cannot be stored.
    known_failures : sequence of Failure
        Entries of the ledger that are struck out when their file, or its id, succeeds.
    """

    def __init__(
        self,
        store: Store,
        table: EmbeddingTable | None,
        create: Callable[[Mapping[str, int]], EmbeddingTable],
        *,
        origin: str,
        dtype: str,
        scope: str,
        known_failures: Sequence[Failure],
    ) -> None:
        self.table = table
        self.written = 0
        self.failed: list[Failure] = []
        self._store = store
        self._create = create
        self._origin, self._dtype, self._scope = origin, dtype, scope
        self._proven = table is not None and len(table) > 0
        self._doubtful: list[Failure] = []
        self._known_failures = known_failures
        self._entries: list[Entry] = []
        self._vectors: list[Mapping[str, ndarray]] = []
        self._failures: list[Failure] = []
        self._bytes = 0
        self._last = time.monotonic()
        self._thread = ThreadPoolExecutor(1, "commit")
        self._commit: Future[list[Failure]] | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._flush()
            self._wait()
            if kind is None and self._doubtful:
                raise self._at_fault()
        finally:
            self._thread.shutdown()

    def add(self, entries: Sequence[Entry], vectors: Mapping[str, ndarray]) -> None:
        """Take the embeddings of a batch.

        Parameters
        ----------
        entries : sequence of Entry
            One per row.
        vectors : mapping of str to array of shape (n, d)
            Embeddings by layer.
        """
        self._entries += entries
        self._vectors.append(vectors)
        self._bytes += sum(rows.nbytes for rows in vectors.values())
        self.written += len(entries)
        self._flush_if_due()

    def fail(self, failures: Sequence[Failure]) -> None:
        """Take files that could not be used."""
        self._failures += failures
        self.failed += failures
        self._flush_if_due()

    def _flush_if_due(self) -> None:
        rows = len(self._entries) + len(self._failures)
        since = time.monotonic() - self._last
        soonest, latest = COMMIT_SECONDS
        if (rows >= COMMIT_ROWS and since >= soonest) or since >= latest or self._bytes >= COMMIT_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._wait()
        if not self._entries and not self._failures:
            return
        self._commit = self._thread.submit(self._write, self._entries, self._vectors, self._failures)
        self._entries, self._vectors, self._failures, self._bytes = [], [], [], 0
        self._last = time.monotonic()

    def _wait(self) -> None:
        if self._commit is not None:
            commit, self._commit = self._commit, None
            refused = commit.result()
            self.failed += refused
            self.written -= len(refused)

    def _write(
        self, entries: Sequence[Entry], vectors: Sequence[Mapping[str, ndarray]], failures: Sequence[Failure]
    ) -> list[Failure]:
        refused: list[Failure] = []
        log.debug("commit of %d rows and %d failures", len(entries), len(failures))
        if entries:
            refused = self._write_rows(
                entries, {layer: np.concatenate([v[layer] for v in vectors]) for layer in vectors[0]}
            )
        if failures:
            self._store.failures.record(failures)
            if self.table is not None:
                self.table.delete([failure.id for failure in failures])  # what they held before is out of date
        broken = {failure.id for failure in refused}
        fine = {name for e in entries if e.id not in broken for name in (e.path, e.id) if name}
        mended = [failure for failure in self._known_failures if failure.path in fine or failure.id in fine]
        if mended:
            self._store.failures.forget(mended)
        refused = self._sure(refused, stored=len(broken) < len(entries))
        if refused:
            self._store.failures.record(refused)
        return refused

    def _sure(self, refused: Sequence[Failure], *, stored: bool) -> list[Failure]:
        """Return the failures that are the clips' own: those of an encoder that has embedded others."""
        self._proven = self._proven or stored
        doubtful = [*self._doubtful, *refused]
        self._doubtful = [] if self._proven else doubtful
        if len(self._doubtful) >= DOUBTFUL:
            raise self._at_fault()
        return doubtful if self._proven else []

    def _at_fault(self) -> VidsimError:
        doubtful, self._doubtful = self._doubtful, []
        return VidsimError(
            f"{self._origin}: {doubtful[0].reason}, and so it is with every stimulus tried ({len(doubtful)}); expected "
            "finite numbers: the weights are damaged, the card does not fit them, or --dtype or --compute is too narrow"
        )

    def _write_rows(self, entries: Sequence[Entry], vectors: Mapping[str, ndarray]) -> list[Failure]:
        """Write rows, and return as failures those whose vectors cannot be stored."""
        bad = complaints(entries, vectors, self._dtype)
        keep = [row for row, entry in enumerate(entries) if entry.id not in bad]
        if keep:
            if self.table is None:
                self.table = self._create({layer: rows.shape[1] for layer, rows in vectors.items()})
            kept = vectors if not bad else {layer: rows[keep] for layer, rows in vectors.items()}
            self.table.write([entries[row] for row in keep], kept)
        return [
            Failure(
                path=e.path or e.id,
                id=e.id,
                content=e.content,
                size=e.size,
                mtime_ns=e.mtime_ns,
                scope=self._scope,
                kind="invalid-embedding",
                reason=bad[e.id],
            )
            for e in entries
            if e.id in bad
        ]
