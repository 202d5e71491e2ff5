"""Cells of a table of stimuli, from text or Parquet: where each row stands, and which columns hold numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vidsim.errors import VidsimError

COLUMNS = ("id", "path", "caption", "split")
"""Columns of a stimulus table that have a meaning of their own; other columns of numbers are ratings, of texts tags."""

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet"})

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "-nan", "null", "none"})
"""Cells that hold no number and no text, in lower case."""


@dataclass(frozen=True, eq=False)
class Cells:
    """Hold the cells of a table.

    Parameters
    ----------
    columns : mapping of str to sequence
        Cells by column: text, or what Parquet has.
    lines : sequence of int, optional
        Line at which each row begins, from 1; None for Parquet, which has no lines.
    """

    columns: Mapping[str, Sequence[object]]
    lines: Sequence[int] | None = None

    def place(self, row: int) -> str:
        """Say where a row stands, such as ``line 7``."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    @cached_property
    def numbers(self) -> dict[str, list[float | None]]:
        """Return the columns without a meaning of their own as `number` reads them."""
        return {name: [number(cell) for cell in column] for name, column in self.columns.items() if name not in COLUMNS}

    def rated(self) -> tuple[dict[str, list[float]], dict[str, int | None]]:
        """Tell columns of ratings from others.

        Returns
        -------
        tuple of dict of str to list of float, and dict of str to int or None
            Ratings, NaN where a cell is missing; and of each other column without a meaning of its own the first row
            whose cell is no number, None where all cells are missing.
        """
        ratings: dict[str, list[float]] = {}
        others: dict[str, int | None] = {}
        for name, numbers in self.numbers.items():
            if None in numbers:
                others[name] = numbers.index(None)
            elif all(value is None or math.isnan(value) for value in numbers):
                others[name] = None
            else:
                ratings[name] = [value for value in numbers if value is not None]
        return ratings, others

    def doubts(self) -> list[str]:
        """Name the columns that few cells keep from being ratings.

        Returns
        -------
        list of str
            One line for each column of which at least half of what is not missing is numbers.
        """
        lines: list[str] = []
        for name, row in self.rated()[1].items():
            numbers = self.numbers[name]
            known = sum(value is not None and not math.isnan(value) for value in numbers)
            if row is not None and known >= numbers.count(None):
                cell = str(self.columns[name][row])[:40]
                lines.append(f"column {name!r} is kept as text: {cell!r} in {self.place(row)} is no number")
        return lines


def number(cell: object) -> float | None:
    """Read a cell as a number, with a decimal point or comma: NaN where it is missing, None where it is no number.

    Parameters
    ----------
    cell : object
        Text, or what Parquet has.

    Returns
    -------
    float or None
        Finite or NaN.

    Examples
    --------
    >>> number("2,5"), number("n/a"), number("inf")
    (2.5, nan, None)
    """
    if cell is None:
        return math.nan
    if isinstance(cell, int | float):
        return float(cell) if math.isfinite(cell) else math.nan
    text = str(cell).strip()
    if text.lower() in MISSING:
        return math.nan
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_cells(path: Path, renamed: Mapping[str, str] | None = None) -> Cells:
    """Read a table.

    Parameters
    ----------
    path : Path
        CSV or TSV with a header, or Parquet.
    renamed : mapping of str to str, optional
        What the table calls columns that are to have other names: ``{"id": "video_name"}``.

    Returns
    -------
    Cells
        All of them.

    Raises
    ------
    VidsimError
        If the table cannot be read, a row has not the cells of the header, or a column is missing or stands twice.
    """
    from vidsim.data.judgments.text import read_whole, show

    if path.suffix.lower() == ".parquet":
        (names, columns), lines = _parquet(path), None
    else:
        source = read_whole(path)
        names, columns = source.header, [column.to_pylist() for column in source.table.columns]
        lines = source.lines.tolist()
    standard = {theirs: ours for ours, theirs in (renamed or {}).items()}
    absent = next((theirs for theirs in standard if theirs not in names), None)
    if absent is not None:
        raise VidsimError(f"{show(path)}: no column {absent!r}; the columns are {', '.join(map(repr, names))}")
    names = [standard.get(name, name) for name in names]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise VidsimError(f"{show(path)}: column {twice!r} stands more than once")
    return Cells(dict(zip(names, columns, strict=True)), lines)


def _parquet(path: Path) -> tuple[list[str], list[list[object]]]:
    import pyarrow as pa
    from pyarrow import parquet

    from vidsim.data.judgments.text import show

    try:
        table = parquet.read_table(path)
        return table.column_names, [column.to_pylist() for column in table.columns]
    except FileNotFoundError:
        raise VidsimError(f"no table {show(path)}") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise VidsimError(f"{show(path)}: cannot be read as a table: {' '.join(str(error).split())}") from error
