"""Delimited text, read strictly: every line ends up in a row or in a count."""

import csv
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Int
from numpy import ndarray

from vidsim.errors import VidsimError

pc: Any = pyarrow.compute
"""Arrow's functions; typed as Any because they are made at run time."""

LINE_LIMIT = 1 << 24
"""Characters of the longest line that is read; what is longer is no table."""

SEPARATORS = (",", ";", "\t", "|")

_CHUNK = 1 << 16


@dataclass(frozen=True, eq=False)
class Delimited:
    """Hold a delimited text file.

    Parameters
    ----------
    path : Path
        The file.
    table : pyarrow.Table
        One column of text per column of the file, spaces around cells taken off.
    lines : array of shape (t,)
        Line of the file at which each row begins, from 1.
    ragged : tuple of (int, int)
        Rows whose number of cells is not the header's, or whose quotes are broken: their first line, and how many lines
        they take.
    separator : str
        What parts the cells.
    unnamed : bool
        Whether the first column has no name, as a column of row names often has none.
    """

    path: Path
    table: pa.Table
    lines: Int[ndarray, " t"]
    ragged: tuple[tuple[int, int], ...]
    separator: str
    unnamed: bool = False

    @property
    def header(self) -> list[str]:
        """Return the names of the columns."""
        return self.table.column_names


def show(path: Path) -> str:
    """Quote a path for an error message."""
    return repr(path.as_posix())


def read_delimited(path: Path, *, header: bool = True, single: bool = False) -> Delimited:
    """Read a CSV file, whatever its separator (comma, semicolon, tab or bar) and byte-order mark.

    Parameters
    ----------
    path : Path
        The file, in UTF-8 or, with a byte-order mark, UTF-16.
    header : bool
        Whether the first line names the columns; else they are called ``"0"``, ``"1"``, ...
    single : bool
        Whether a file of one column will do.

    Returns
    -------
    Delimited
        The cells as text.

    Raises
    ------
    VidsimError
        If the file is missing, empty, binary, has a line beyond `LINE_LIMIT`, a column twice, or a quote that never
        closes; the message names file and line.
    """
    with _opened(path) as file:
        lines = _Lines(path, file)
        first = next(lines, "")
        if not first.strip():
            raise VidsimError(f"{show(path)} is empty; expected a table with a header line")
        said = re.fullmatch(r'"?sep=(.)"?', first.strip("\r\n"))  # how Excel notes the separator
        first = next(lines, "") if said else first
        separator = said[1] if said else max(SEPARATORS, key=first.count)
        if not first.count(separator) and not single:
            raise VidsimError(
                f"{show(path)} line 1 has a single column, {first.strip()[:40]!r}; "
                "expected columns separated by commas, semicolons, tabs or bars"
            )
        names = [cell.strip() for cell in _first_row(path, first, lines, separator)]
        if not header:
            lines.push(first)
            names = [str(number) for number in range(len(names))]
        twice = next((name for name in names if name and names.count(name) > 1), None)
        if twice is not None:
            raise VidsimError(f"{show(path)} line 1: column {twice!r} stands more than once; rename one of them")
        columns, starts, ragged = _columns(path, lines, separator, len(names))
    if not starts and not ragged:
        raise VidsimError(f"{show(path)} has a header but no rows")
    table = pa.table(columns, names=[name or f"unnamed {i + 1}" for i, name in enumerate(names)])
    return Delimited(path, table, np.array(starts, np.int64), tuple(ragged), separator, unnamed=not names[0])


def read_whole(path: Path, *, single: bool = False) -> Delimited:
    """Read a CSV file as `read_delimited` does, and refuse one with rows that are not like its header.

    Parameters
    ----------
    path : Path
        The file.
    single : bool
        Whether a file of one column will do.

    Returns
    -------
    Delimited
        The cells as text, none of them ragged.

    Raises
    ------
    VidsimError
        If the file cannot be read, or a row has another number of cells or broken quotes; the message names its line.
    """
    source = read_delimited(path, single=single)
    if source.ragged:
        raise VidsimError(
            f"{show(path)} line {source.ragged[0][0]} has not the {len(source.header)} cells of the header, or broken "
            "quotes; mend it"
        )
    return source


def _columns(
    path: Path, lines: "_Lines", separator: str, width: int
) -> tuple[list[pa.ChunkedArray], list[int], list[tuple[int, int]]]:
    """Gather rows into columns, chunk by chunk; with the lines at which they start, and the rows of another width."""
    chunks: list[list[pa.Array]] = []
    starts: list[int] = []
    ragged: list[tuple[int, int]] = []
    rows: list[list[str]] = []

    def flush() -> None:
        if rows:
            chunks.append([pa.array([c.strip() for c in column], pa.string()) for column in zip(*rows, strict=True)])
            rows.clear()

    for start, taken, row in _rows(path, lines, separator):
        if row is None or len(row) != width:
            ragged.append((start, taken))
            continue
        rows.append(row)
        starts.append(start)
        if len(rows) == _CHUNK:
            flush()
    flush()
    return [pa.chunked_array([chunk[i] for chunk in chunks], pa.string()) for i in range(width)], starts, ragged


class _Lines:
    """Lines of bounded length, counted; one can be pushed back."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._pushed: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def push(self, line: str) -> None:
        self._pushed.append(line)
        self.number -= 1

    def __next__(self) -> str:
        if self._pushed:
            self.number += 1
            return self._pushed.pop()
        try:
            line = self._file.readline(LINE_LIMIT + 1)
        except UnicodeDecodeError as error:
            raise VidsimError(
                f"{show(self._path)} line {self.number + 1} or a later one is not text in UTF-8 ({error.reason}); "
                "expected a CSV table; save it as UTF-8"
            ) from None
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > LINE_LIMIT:
            raise VidsimError(
                f"{show(self._path)} line {self.number} is longer than {LINE_LIMIT:,} characters; "
                "expected a table with a line per row"
            )
        if "\0" in line:
            raise VidsimError(
                f"{show(self._path)} line {self.number} holds a NUL byte; expected text, not a binary file"
            )
        return line


def _opened(path: Path) -> TextIO:
    try:
        if not stat.S_ISDIR(path.stat().st_mode) and not stat.S_ISREG(path.stat().st_mode):
            raise VidsimError(f"{show(path)} is a pipe or a device; expected a file")
        with path.open("rb") as file:
            mark = file.read(4)
        encoding = "utf-16" if mark[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
        return path.open(encoding=encoding, newline="")
    except FileNotFoundError:
        raise VidsimError(f"no file {show(path)}") from None
    except IsADirectoryError:
        raise VidsimError(f"{show(path)} is a folder; expected a file") from None
    except OSError as error:
        raise VidsimError(f"{show(path)} cannot be read: {error.strerror}") from None


def _first_row(path: Path, first: str, rest: _Lines, separator: str) -> list[str]:
    def both() -> Iterator[str]:
        yield first
        yield from rest

    try:
        return next(csv.reader(both(), delimiter=separator, strict=True))
    except csv.Error as error:
        raise VidsimError(f"{show(path)} line 1 cannot be read as a header: {error}") from None


def _rows(path: Path, lines: _Lines, separator: str) -> Iterator[tuple[int, int, list[str] | None]]:
    """Go through the rows: first line, number of lines, cells; None for cells where the quotes are broken."""
    csv.field_size_limit(LINE_LIMIT)
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        start = lines.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise VidsimError(
                    f"{show(path)}: a quote that opens in line {start} never closes, which swallows "
                    f"{lines.number - start + 1} lines; close it or take it out"
                ) from None
            row = None
        if row is not None and not any(cell.strip() for cell in row):
            continue  # a blank line
        yield start, lines.number - start + 1, row
