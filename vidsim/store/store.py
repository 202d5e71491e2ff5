"""The store: every embedding table below one artefact root."""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from vidsim.embeddings import Embeddings
from vidsim.errors import NoStore, StoreError
from vidsim.store import ledger
from vidsim.store.door import (
    committed,
    connect,
    create_table,
    folder,
    is_remote,
    open_table,
    table_names,
    told,
)
from vidsim.store.ledger import FailureLedger
from vidsim.store.log import KEY, ROW, Log
from vidsim.store.missing import NotStored, nearest
from vidsim.store.named import NamedTables
from vidsim.store.schema import FORMAT, Header, build, canonical, metadata, now, read_metadata, safe, table_name
from vidsim.store.table import EmbeddingTable

MARKER = "_vidsim"
"""Table without rows that makes a folder a store, and says in which format."""

_SHORTEST = timedelta(milliseconds=1)  # LanceDB warns about 0, which its caller has asked for


class Store(Mapping[str, Mapping[str, Embeddings]]):
    """Hold embeddings by encoder and layer: ``store["x3d-m"]["blocks.4"]``.

    Any number of processes may read and write at once. Where an encoder has several tables (other checkpoint,
    sampling, projection), a layer is read from the most recently created one that has it; `table` picks one by
    identity.

    Parameters
    ----------
    root : str or path
        Artefact root: a local folder, or ``s3://bucket/prefix`` (also ``gs://``, ``az://``); tables live in
        ``<root>/store``.
    create : bool
        Make the store where there is none yet.

    Attributes
    ----------
    root : str
        Absolute path, or URI.
    failures : FailureLedger
        Files that could not be used.
    stimuli : NamedTables
        Captions, ratings and splits of named stimulus sets.
    judgments : NamedTables
        Odd-one-out judgments, as `Judgments.table` lays them out.
    rsms : NamedTables
        Similarity matrices of people, as `RSM.table` lays them out.

    Raises
    ------
    StoreError
        If there is no store, it cannot be reached, or a newer vidsim has made it.
    """

    def __init__(self, root: str | os.PathLike[str], *, create: bool = False) -> None:
        self.root = folder(root)
        if not is_remote(self.root):
            _check_folder(Path(self.root), create=create)
        self._connection = connect(self.root)
        marker = open_table(self._connection, self.root, MARKER)
        if marker is None:
            if not create:
                raise _no_store(self.root)
            schema = pa.schema([pa.field(KEY, pa.string())], metadata({"format": FORMAT, "created": now()}))
            marker = create_table(self._connection, self.root, MARKER, schema)
        self._facts = read_metadata(marker.schema, MARKER)
        self.failures = FailureLedger(self._ledger)
        self.stimuli = NamedTables(self._connection, self.root, "stimuli")
        self.judgments = NamedTables(self._connection, self.root, "judgments")
        self.rsms = NamedTables(self._connection, self.root, "rsms")

    def __repr__(self) -> str:
        return f"<Store {self.root!r}>"

    def __getitem__(self, encoder: str) -> Mapping[str, Embeddings]:
        tables = self.tables(encoder)
        if not tables:
            raise NotStored(f"no embeddings of {encoder!r} in {self.root!r}{nearest(encoder, self)}")
        return _Layers(tables)

    def __contains__(self, encoder: object) -> bool:
        return isinstance(encoder, str) and bool(self.tables(encoder))

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the encoders, sorted."""
        return iter(sorted({table.encoder for table in self.tables()}))

    def __len__(self) -> int:
        return len({table.encoder for table in self.tables()})

    def tables(self, encoder: str | None = None) -> list[EmbeddingTable]:
        """List embedding tables, the most recently created first.

        Parameters
        ----------
        encoder : str, optional
            Only those of this encoder.

        Returns
        -------
        list of EmbeddingTable
            Tables whose creation was cut off are left out.

        Raises
        ------
        StoreError
            If a table is unreadable, not vidsim's, or of a newer format.
        """
        tables = [self._table(name) for name in self._names(encoder)]
        found = [table for table in tables if table is not None and encoder in {None, table.encoder}]
        return sorted(found, key=lambda table: (table.created, table.name), reverse=True)

    def table(
        self, encoder: str, identity: Mapping[str, object], layers: Sequence[str] | None = None
    ) -> EmbeddingTable | None:
        """Find the table of an encoder and identity.

        Parameters
        ----------
        encoder : str
            Name of the encoder.
        identity : mapping
            Facts that determine the embeddings, as given to `create`.
        layers : sequence of str, optional
            Layers that it must have.

        Returns
        -------
        EmbeddingTable or None
            Among several, the one with exactly these layers, else the most recently created.

        Raises
        ------
        StoreError
            If a table of this encoder is unreadable.
        """
        wanted = canonical(identity)
        named = set(layers or ())
        found = [t for t in self.tables(encoder) if canonical(t.identity) == wanted and named <= set(t.layers)]
        exact = [table for table in found if set(table.layers) == named]
        return next(iter(exact or found), None)

    def create(
        self,
        encoder: str,
        identity: Mapping[str, object],
        layers: Mapping[str, int],
        *,
        default_layer: str,
        dtype: Literal["float16", "float32"] = "float32",
        versions: Mapping[str, str],
        provenance: Mapping[str, object] | None = None,
    ) -> EmbeddingTable:
        """Create a table, or open the one that is equal in encoder, identity, layers and precision.

        Parameters
        ----------
        encoder : str
            Name of the encoder.
        identity : mapping
            Facts that determine the embeddings; JSON-able.
        layers : mapping of str to int
            Width of every layer, in order of depth.
        default_layer : str
            One of the layers.
        dtype : {"float32", "float16"}
            Precision.
        versions : mapping of str to str
            Versions of the libraries, for provenance.
        provenance : mapping, optional
            Further facts about where the embeddings come from, which do not determine them; JSON-able.

        Returns
        -------
        EmbeddingTable
            Two processes that create the same table at once get the same one.

        Raises
        ------
        StoreError
            If the layers make no table, there is no such precision, or it cannot be created.
        """
        if default_layer not in layers:
            raise StoreError(f"default layer {default_layer!r} of {encoder!r} is none of its layers: {list(layers)}")
        if not all(map(_is_width, layers.values())):
            raise StoreError(f"layers of {encoder!r} must be whole numbers of at least 1 wide, got {dict(layers)}")
        if dtype not in {"float16", "float32"}:
            raise StoreError(f"no dtype {dtype!r}: expected 'float32' or 'float16'")
        header = Header(encoder, identity, layers, default_layer, dtype, versions, provenance or {}, now())
        name = table_name(encoder, identity, layers, dtype)
        handle = create_table(self._connection, self.root, name, build(header))
        return EmbeddingTable(Log(self._connection, self.root, name), handle.schema)

    def info(self) -> dict[str, Any]:
        """Describe the store.

        Returns
        -------
        dict
            JSON-able: ``root``, ``format``, ``created``, ``failures`` (how many), ``stimuli``, ``judgments`` and
            ``rsms`` (names), and ``tables``,
            a list of dicts with ``encoder``, ``table``, ``rows``, ``superseded`` (rows that wait for `optimize`),
            ``layers``, ``default_layer``, ``dtype``, ``bytes``, ``version``, ``fragments``, ``created``,
            ``versions`` (of the libraries), ``provenance`` and ``identity``.

        Raises
        ------
        StoreError
            If a table is unreadable.
        """
        return {
            "root": self.root,
            "format": self._facts["format"],
            "created": self._facts["created"],
            "tables": [self._describe(table) for table in self.tables()],
            "failures": len(self.failures),
            "stimuli": list(self.stimuli),
            "judgments": list(self.judgments),
            "rsms": list(self.rsms),
        }

    def optimize(self, *, keep: timedelta = timedelta(hours=1)) -> dict[str, dict[str, int]]:
        """Remove superseded rows, merge small fragments, and drop old versions, in every table.

        Others may read and write meanwhile, as long as none of their reads or commits takes longer than `keep`.

        Parameters
        ----------
        keep : timedelta
            Age up to which old versions stay on disk.

        Returns
        -------
        dict of str to dict
            Per table: fragments and bytes, before and after.

        Raises
        ------
        StoreError
            If a commit fails.
        """
        report: dict[str, dict[str, int]] = {}
        for name in self._all_names():
            handle = open_table(self._connection, self.root, name)
            if name == MARKER or handle is None:
                continue
            read_metadata(handle.schema, name)
            before = self._extent(name)
            if ROW in handle.schema.names:
                Log(self._connection, self.root, name).drop(())
            committed(self.root, partial(self._compact, name, keep))
            after = self._extent(name)
            report[name] = {
                "fragments_before": before[0],
                "fragments_after": after[0],
                "bytes_before": before[1],
                "bytes_after": after[1],
            }
        return report

    def check(self) -> list[str]:
        """Look for problems, reading the entries and the first vectors of every table.

        Returns
        -------
        list of str
            One line a problem, with its remedy; empty where all is well.
        """
        problems: list[str] = []
        for name in self._all_names():
            try:
                handle = open_table(self._connection, self.root, name)
                if handle is None:
                    problems.append(
                        f"table {name!r} in {self.root!r} is a leftover of a creation that was cut off; "
                        f"delete {self._place(name)!r} unless an extraction is starting right now"
                    )
                    continue
                read_metadata(handle.schema, name)
                if not name.startswith("_"):
                    EmbeddingTable(Log(self._connection, self.root, name), handle.schema).entries()
                    handle = handle.search().limit(1)
                with told(f"table {name!r} in {self.root!r}", quoted=True):
                    handle.to_arrow()
            except StoreError as error:
                problems.append(str(error))
        return problems

    def _describe(self, table: EmbeddingTable) -> dict[str, Any]:
        rows = len(table)
        version, stats = self._stats(table.name)
        return {
            "encoder": table.encoder,
            "table": table.name,
            "rows": rows,
            "superseded": max(0, stats["num_rows"] - rows),
            "layers": dict(table.layers),
            "default_layer": table.default_layer,
            "dtype": table.dtype,
            "bytes": self._bytes(table.name, stats),
            "version": version,
            "fragments": stats["fragment_stats"]["num_fragments"],
            "created": table.created,
            "versions": dict(table.versions),
            "provenance": dict(table.provenance),
            "identity": dict(table.identity),
        }

    def _compact(self, name: str, keep: timedelta) -> None:
        self._connection.open_table(name).optimize(cleanup_older_than=max(keep, _SHORTEST))

    def _extent(self, name: str) -> tuple[int, int]:
        _, stats = self._stats(name)
        return stats["fragment_stats"]["num_fragments"], self._bytes(name, stats)

    def _stats(self, name: str) -> tuple[int, dict[str, Any]]:
        with told(self.root):
            handle = self._connection.open_table(name)
            return handle.version, handle.stats()

    def _bytes(self, name: str, stats: dict[str, Any]) -> int:
        """Count a table's bytes: on a local disk those of old versions too, on an object store those of the latest."""
        if is_remote(self.root):
            return stats["total_bytes"]
        sizes: list[int] = []
        for path in Path(self._place(name)).rglob("*"):
            with suppress(FileNotFoundError):  # another process optimizes
                sizes.append(path.stat().st_size if path.is_file() else 0)
        return sum(sizes)

    def _place(self, name: str) -> str:
        return f"{self.root}/store/{name}.lance"

    def _table(self, name: str) -> EmbeddingTable | None:
        handle = open_table(self._connection, self.root, name)
        return None if handle is None else EmbeddingTable(Log(self._connection, self.root, name), handle.schema)

    def _all_names(self) -> list[str]:
        return table_names(self._connection, self.root)

    def _names(self, encoder: str | None) -> list[str]:
        names = [name for name in self._all_names() if not name.startswith("_")]
        return names if encoder is None else [name for name in names if name.rpartition(".")[0] == safe(encoder)]

    def _ledger(self, create: bool) -> Log | None:
        handle = open_table(self._connection, self.root, ledger.NAME)
        if handle is None:
            if not create:
                return None
            handle = create_table(self._connection, self.root, ledger.NAME, ledger.SCHEMA)
        read_metadata(handle.schema, ledger.NAME)
        return Log(self._connection, self.root, ledger.NAME)


class _Layers(Mapping[str, Embeddings]):
    """The layers of one encoder, over all its tables; nothing is read until a layer is asked for."""

    def __init__(self, tables: Sequence[EmbeddingTable]) -> None:
        self._tables = tables

    def __getitem__(self, layer: str) -> Embeddings:
        return next((table for table in self._tables if layer in table), self._tables[0])[layer]

    def __contains__(self, layer: object) -> bool:
        return any(layer in table for table in self._tables)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(layer for table in self._tables for layer in table.layers))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _is_width(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _check_folder(root: Path, *, create: bool) -> None:
    try:
        if create:
            (root / "store").mkdir(parents=True, exist_ok=True)
        if not (root / "store").is_dir():
            raise NotADirectoryError if root.exists() and not root.is_dir() else _no_store(str(root))
    except (FileExistsError, NotADirectoryError):
        raise StoreError(f"{str(root)!r} is a file, or lies in one; expected a folder for the store") from None
    except OSError as error:
        raise StoreError(
            f"the store in {str(root)!r} cannot be used: {error.strerror}; choose another --root"
        ) from error
    if not os.access(root / "store", os.R_OK | os.X_OK):
        raise StoreError(f"no permission to read the store in {str(root)!r}; check its owner and mode")


def _no_store(root: str) -> NoStore:
    return NoStore(f"there is no store in {root!r}; make one: vidsim index FOLDER --root {shlex.quote(root)}")
