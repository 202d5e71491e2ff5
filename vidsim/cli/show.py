"""Text for people: escaped names, tables, JSON."""

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_BLANKS = re.compile(r"(?: |\x1b\[[\d;]*m)+$")
"""What ends a line of a table, styled or not: behind the terminal's edge it would be lines."""


def printable(name: str) -> str:
    """Escape control characters, so that a name stays on its line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def place(path: str) -> str:
    """Shorten a path that lies below the current folder."""
    try:
        return path.removeprefix(f"{Path.cwd().as_posix()}/")
    except FileNotFoundError:  # the current folder has been deleted
        return path


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = (), prose: Sequence[str] = ()
) -> None:
    """Print a table to stdout; one that is too wide for the terminal runs over its edge, so that nothing is lost.

    Parameters
    ----------
    headers : sequence of str
        Column names.
    rows : sequence of sequence of str
        Cells.
    right : sequence of str
        Columns of numbers, aligned right.
    prose : sequence of str
        Columns of words. Like those of numbers they wrap at spaces where the table fits so; names stay whole.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    lines = [[printable(cell) for cell in row] for row in (headers, *rows)]
    console = Console(file=sys.stdout, highlight=False)
    gaps = 3 * len(headers) - 1
    # a pipe has no width: do not wrap what another program reads
    room = shutil.get_terminal_size().columns - gaps if sys.stdout.isatty() else None
    widths = _widths(lines, [header in right or header in prose for header in headers], room)
    console.size = (sum(widths) + gaps, console.height)
    result = Table(box=SIMPLE_HEAD, pad_edge=False)
    for header, name, width in zip(headers, lines[0], widths, strict=True):
        result.add_column(Text(name), justify="right" if header in right else "left", width=width)
    for row in lines[1:]:
        result.add_row(*map(Text, row))
    with console.capture() as captured:  # its own writing ends the process where the reader of a pipe has gone
        console.print(result)
    say("\n".join(_BLANKS.sub(_closed, line) for line in captured.get().splitlines()))


def _closed(blanks: re.Match[str]) -> str:
    return "\x1b[0m" if "\x1b" in blanks[0] else ""


def _widths(lines: Sequence[Sequence[str]], wraps: Sequence[bool], room: int | None) -> list[int]:
    """Choose the widths of columns: narrowed to their longest word, the widest first, where all fit that way."""
    from rich.cells import cell_len

    columns = list(zip(*lines, strict=True))
    widths = [max(map(cell_len, column)) for column in columns]
    least = [
        max(cell_len(word) for cell in column for word in (cell.split() if wrap else [cell]) or [""])
        for column, wrap in zip(columns, wraps, strict=True)
    ]
    if room is None or sum(least) > room:
        return widths
    while sum(widths) > room:
        widest = max((k for k in range(len(widths)) if widths[k] > least[k]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def emit(value: Any) -> None:
    """Print one JSON value on one line."""
    say(json.dumps(value, ensure_ascii=False))


def say(line: str, *, err: bool = False) -> None:
    """Print a line at once, to stdout or to stderr, without the parser's help: importing that takes long."""
    stream = sys.stderr if err else sys.stdout
    stream.write(f"{line}\n")
    stream.flush()
