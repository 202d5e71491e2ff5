"""The failure ledger: every file that could not be used, and why."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import pyarrow as pa

from vidsim import __version__
from vidsim.store.log import BOOKKEEPING, KEY, Log
from vidsim.store.schema import FORMAT, canonical, metadata, now

NAME = "_failures"
"""Table name."""


@dataclass(frozen=True)
class Failure:
    """Describe a file that could not be used.

    Parameters
    ----------
    path : str
        Absolute POSIX path; together with `scope` the key of the ledger.
    id : str
        Id of the stimulus.
    content : str
        Hex hash of the file's bytes; empty where they could not be read.
    size : int
        Bytes.
    mtime_ns : int
        Modification time in ns since 1970.
    scope : str
        What could not use it: the name of a decoder, or an encoder with its feature spec.
    kind : str
        Short machine-readable reason, such as ``"truncated"``.
    reason : str
        One line for a person.
    when : str
        Moment of the failure, ISO 8601, UTC; filled in by the ledger.
    vidsim : str
        Version of vidsim that failed; filled in by the ledger.
    """

    path: str
    id: str = ""
    content: str = ""
    size: int = 0
    mtime_ns: int = 0
    scope: str = ""
    kind: str = ""
    reason: str = ""
    when: str = ""
    vidsim: str = ""


_COLUMNS = {  # the key of the table is made of path and scope, so the stimulus has another column
    f.name: "stimulus" if f.name == KEY else f.name for f in fields(Failure)
}
_INTEGERS = ("size", "mtime_ns")

SCHEMA = pa.schema(
    [
        pa.field(KEY, pa.string(), nullable=False),
        *(pa.field(c, pa.int64() if c in _INTEGERS else pa.string(), nullable=False) for c in _COLUMNS.values()),
        *BOOKKEEPING,
    ],
    metadata({"format": FORMAT}),
)
"""Columns of the ledger."""


class FailureLedger:
    """Keep at most one failure per path and scope; iterate to read them.

    Parameters
    ----------
    open_log : callable
        Opens the table: called with True it creates it, with False it returns None where there is none yet.
    """

    def __init__(self, open_log: Callable[[bool], Log | None]) -> None:
        self._open = open_log

    def entries(self) -> list[Failure]:
        """Read all failures, by path and scope.

        Returns
        -------
        list of Failure
            Sorted.

        Raises
        ------
        StoreError
            If the ledger cannot be read.
        """
        log = self._open(False)
        if log is None:
            return []
        rows = log.rows(list(_COLUMNS.values())).rename_columns(list(_COLUMNS)).to_pylist()
        return sorted((Failure(**row) for row in rows), key=lambda failure: (failure.path, failure.scope))

    def __iter__(self) -> Iterator[Failure]:
        return iter(self.entries())

    def __len__(self) -> int:
        log = self._open(False)
        return 0 if log is None else len(log.rows([KEY]))

    def record(self, failures: Sequence[Failure]) -> None:
        """Write failures in one commit; each takes the place of an earlier one of its path and scope.

        Parameters
        ----------
        failures : sequence of Failure
            May repeat a key; the last counts.

        Raises
        ------
        StoreError
            If the commit fails.
        """
        log = self._open(True)
        if log is None or not failures:
            return
        moment = now()
        by_key = {
            _key(f): replace(f, when=f.when or moment, vidsim=f.vidsim or __version__)
            for f in (_printable(f) for f in failures)
        }
        columns = [list(by_key)] + [[getattr(f, name) for f in by_key.values()] for name in _COLUMNS]
        schema = pa.schema([SCHEMA.field(KEY), *(SCHEMA.field(c) for c in _COLUMNS.values())])
        log.append(pa.Table.from_pydict(dict(zip(schema.names, columns, strict=True)), schema), log.stamp())

    def forget(self, failures: Collection[Failure]) -> int:
        """Strike out failures, because their files work now.

        Parameters
        ----------
        failures : collection of Failure
            Path and scope name each; those that are not in the ledger are passed over.

        Returns
        -------
        int
            How many entries were struck out.

        Raises
        ------
        StoreError
            If the commit fails.
        """
        log = self._open(False)
        if log is None or not failures:
            return 0
        return log.drop([_key(_printable(failure)) for failure in failures])


def _key(failure: Failure) -> str:
    return canonical([failure.path, failure.scope])


def _printable(failure: Failure) -> Failure:
    texts = {name: _text(getattr(failure, name)) for name in _COLUMNS if name not in _INTEGERS}
    return replace(failure, **texts)


def _text(value: str) -> str:
    """Escape what is not valid Unicode: a broken name must not keep its failure out of the ledger."""
    return value.encode("utf-8", "backslashreplace").decode()
