"""Text for people: escaped names, tables, JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def printable(name: str) -> str:
    """Escape control characters, so that a name stays on its line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def place(path: str) -> str:
    """Shorten a path that lies below the current folder."""
    try:
        return path.removeprefix(f"{Path.cwd().as_posix()}/")
    except FileNotFoundError:  # the current folder has been deleted
        return path


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a table to stdout.

    Parameters
    ----------
    headers : sequence of str
        Column names.
    rows : sequence of sequence of str
        Cells.
    right : sequence of str
        Columns of numbers, aligned right.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    result = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        result.add_column(header, justify="right" if header in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*(Text(printable(cell)) for cell in row))
    # a pipe has no width: do not fold what another program reads
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 400, highlight=False)
    with console.capture() as captured:  # its own writing ends the process where the reader of a pipe has gone
        console.print(result)
    sys.stdout.write(captured.get())
    sys.stdout.flush()


def emit(value: Any) -> None:
    """Print one JSON value on one line."""
    say(json.dumps(value, ensure_ascii=False))


def say(line: str, *, err: bool = False) -> None:
    """Print a line at once, to stdout or to stderr, without the parser's help: importing that takes long."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{line}\n")
    stream.flush()
