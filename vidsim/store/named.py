"""Named Arrow tables: captions, ratings and splits of a stimulus set, judgments."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import pyarrow as pa

from vidsim.errors import StoreError
from vidsim.store.door import Connection, Handle, committed, open_table, table_names, told
from vidsim.store.missing import NotStored, nearest
from vidsim.store.schema import FORMAT, PREFIX, digest, metadata, read_metadata, safe


class NamedTables(Mapping[str, pa.Table]):
    """Keep Arrow tables of one kind by name, each replaced whole.

    Parameters
    ----------
    connection : lancedb.db.DBConnection
        An open connection.
    root : str
        Named in errors.
    kind : str
        What the tables are, such as ``"stimuli"``; letters only.
    """

    def __init__(self, connection: Connection, root: str, kind: str) -> None:
        self._connection = connection
        self._root = root
        self._kind = kind
        self._prefix = f"_{kind}."

    def __iter__(self) -> Iterator[str]:
        """Go through the names, sorted."""
        found: list[str] = []
        for name in table_names(self._connection, self._root):
            handle = open_table(self._connection, self._root, name) if name.startswith(self._prefix) else None
            if handle is not None:
                found.append(read_metadata(handle.schema, name)["name"])
        return iter(sorted(found))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._open(name) is not None

    def __getitem__(self, name: str) -> pa.Table:
        handle = self._open(name)
        if handle is None:
            raise NotStored(f"no {self._kind} {name!r} in {self._root!r}{nearest(name, self)}")
        with told(f"{self._kind} {name!r} in {self._root!r}", quoted=True):
            table: pa.Table = handle.search().to_arrow()
        kept = {k: v for k, v in (table.schema.metadata or {}).items() if not k.startswith(PREFIX)}
        return table.rename_columns([unquote(c) for c in table.column_names]).replace_schema_metadata(kept or None)

    def put(self, name: str, table: pa.Table) -> None:
        """Store a table, in place of an earlier one of that name; readers see the old one or the new one.

        Parameters
        ----------
        name : str
            Any text.
        table : pyarrow.Table
            At least one column; column names are distinct and not empty.

        Raises
        ------
        StoreError
            If the table cannot be stored.
        """
        columns = table.column_names
        if not columns or not all(columns) or len(set(columns)) < len(columns):
            raise StoreError(f"{self._kind} {name!r} must have columns with distinct names, got {columns}")
        facts = metadata({"format": FORMAT, "kind": self._kind, "name": name})
        data = table.rename_columns([_escaped(column) for column in columns])
        data = data.replace_schema_metadata({**(table.schema.metadata or {}), **facts})

        def commit() -> None:
            # overwriting what is not there makes Lance print a warning
            mode = "create" if self._open(name) is None else "overwrite"
            self._connection.create_table(self._table(name), data, mode=mode)

        committed(self._root, commit)

    def _table(self, name: str) -> str:
        return f"{self._prefix}{safe(name)}.{digest(name)}"

    def _open(self, name: str) -> Handle | None:
        handle = open_table(self._connection, self._root, self._table(name))
        if handle is not None:
            read_metadata(handle.schema, handle.name)
        return handle


def _escaped(column: str) -> str:
    """Percent-encode what Lance takes for syntax (a dot, quotes) or for a column of its own (``_rowid``)."""
    return re.sub(r"^_|[^\w -]", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), column)
