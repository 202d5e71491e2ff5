"""Progress of long computations on stderr, for a person who watches a terminal."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def counter(what: str) -> Generator[Callable[[int, int], None]]:
    """Show how much is done and the time left; silent where stderr is no terminal.

    Parameters
    ----------
    what : str
        Named beside the bar.

    Yields
    ------
    callable
        To be called with the number done and of all.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
