"""The writer: commits embeddings and failures in the background, a batch at a time."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy import ndarray

from vidsim.store import EmbeddingTable, Entry, Failure, InvalidVectors, Store

log = logging.getLogger(__name__)

COMMIT_ROWS = 64
COMMIT_SECONDS = (2.0, 20.0)
COMMIT_BYTES = 256 * 2**20
"""When to commit: many rows, but not so often that the store is left in splinters; or long since; or much in memory."""


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
    scope : str
        Ledger scope of embeddings that cannot be stored.
    known_failures : set of str
        Paths and ids that stand in the ledger; an entry is struck out when its file succeeds.
    """

    def __init__(
        self,
        store: Store,
        table: EmbeddingTable | None,
        create: Callable[[Mapping[str, int]], EmbeddingTable],
        *,
        scope: str,
        known_failures: set[str],
    ) -> None:
        self.table = table
        self.written = 0
        self.failed: list[Failure] = []
        self._store = store
        self._create = create
        self._scope = scope
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
        if failures or refused:
            self._store.failures.record([*failures, *refused])
        if failures and self.table is not None:
            self.table.delete([failure.id for failure in failures])  # what an unusable file held before is out of date
        broken = {failure.id for failure in refused}
        mended = {name for e in entries if e.id not in broken for name in (e.path, e.id)} & self._known_failures
        if mended:
            self._store.failures.forget(mended)
        return refused

    def _write_rows(self, entries: Sequence[Entry], vectors: Mapping[str, ndarray]) -> list[Failure]:
        """Write rows, and return as failures those whose vectors cannot be stored."""
        if self.table is None:
            self.table = self._create({layer: rows.shape[1] for layer, rows in vectors.items()})
        try:
            self.table.write(entries, vectors)
        except InvalidVectors as error:
            bad = set(error.ids)
            failures = [
                Failure(
                    path=e.path or e.id,
                    id=e.id,
                    content=e.content,
                    size=e.size,
                    mtime_ns=e.mtime_ns,
                    scope=self._scope,
                    kind="invalid-embedding",
                    reason=str(error),
                )
                for e in entries
                if e.id in bad
            ]
            keep = [row for row, entry in enumerate(entries) if entry.id not in bad]
            if keep:
                self.table.write([entries[row] for row in keep], {layer: rows[keep] for layer, rows in vectors.items()})
            return failures
        return []
