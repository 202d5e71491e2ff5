"""The stimuli of a design: so many, or those that a file names."""

from pathlib import Path
from typing import TYPE_CHECKING

from vidsim.data.design.pairs import require_size
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    import pyarrow as pa

TABLES = (".csv", ".tsv", ".parquet")


def ids_of(source: str) -> tuple[str, ...]:
    """Read the stimuli of a design.

    Parameters
    ----------
    source : str
        A whole number, for the ids ``"0"``, ``"1"`` and so on; a CSV, TSV or Parquet table with a column ``id``; or a
        text file with one id a line, in UTF-8. Spaces around an id and empty lines do not count.

    Returns
    -------
    tuple of str
        Distinct ids, in order.

    Raises
    ------
    VidsimError
        If it is neither a number nor a file that can be read, if an id is missing or stands twice, or if there are
        fewer than three.

    Examples
    --------
    >>> ids_of("3")
    ('0', '1', '2')
    """
    if source.isascii() and source.isdecimal():
        number = int(source.lstrip("0")[:18] or "0")
        require_size(number)
        return tuple(map(str, range(number)))
    shown = repr(source)
    try:
        path = expand(source)
        if path.is_dir():
            raise VidsimError(f"{shown} is a folder; expected a number of stimuli, or a file of their ids")
        if not path.exists():
            raise VidsimError(f"{shown} is no whole number, and no such file exists; expected 250, or a file of ids")
        table = path.suffix.lower() in TABLES
        names = _table(path, shown) if table else _lines(path, shown)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that go round
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise VidsimError(f"{shown}: cannot be read: {' '.join(reason.split())}") from error
    unit = "row" if table else "line"
    seen: dict[str, int] = {}
    for number, name in names:
        if not name:
            raise VidsimError(f"{shown} {unit} {number}: no id; every row needs one")
        if "\0" in name:
            raise VidsimError(f"{shown} {unit} {number}: a NUL character; expected text")
        if name in seen:
            raise VidsimError(
                f"{shown} {unit} {number}: id {name!r} stands in {unit} {seen[name]} already; expected every id once"
            )
        seen[name] = number
    if len(seen) < 3:
        raise VidsimError(f"{shown}: {len(seen)} ids; expected at least 3, one a line or one a row")
    return tuple(seen)


def _lines(path: Path, shown: str) -> list[tuple[int, str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise VidsimError(f"{shown}: not text in UTF-8 (byte {error.start}); expected one id a line") from None
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), start=1))
    return [(number, line) for number, line in lines if line]


def _table(path: Path, shown: str) -> list[tuple[int, str]]:
    import pyarrow as pa

    try:
        table = _read(path)
        names = table.column_names
        if names.count("id") != 1:
            problem = "column 'id' stands more than once" if "id" in names else "no column 'id'"
            listed = ", ".join(map(repr, names))
            raise VidsimError(
                f"{shown}: {problem}; the columns are {listed}: expected one column 'id', "
                "or a text file with one id a line"
            )
        column = table["id"]
        if pa.types.is_floating(column.type):
            raise VidsimError(f"{shown}: column 'id' holds fractions; expected names or whole numbers")
        values = column.cast(pa.string()).to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise VidsimError(f"{shown}: cannot be read as a table: {' '.join(str(error).split())}") from error
    return [(row, (value or "").strip()) for row, value in enumerate(values, start=1)]


def _read(path: Path) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import csv, parquet

    if path.suffix.lower() == ".parquet":
        return parquet.read_table(path)
    return csv.read_csv(
        path,
        parse_options=csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ","),
        convert_options=csv.ConvertOptions(column_types={"id": pa.string()}),  # ids such as 007 are names
    )
