"""Progress on stderr, for a person who watches a terminal."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Show how many are done, the rate, time left and failures so far; silent where stderr is no terminal.

    Parameters
    ----------
    unit : str
        What is counted.
    """

    def __init__(self, unit: str = "clips") -> None:
        self._unit = unit
        self._bar: Progress | None = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, total: int, what: str) -> None:
        """Start the bar.

        Parameters
        ----------
        total : int
            Stimuli to encode.
        what : str
            Name of the encoder.
        """
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failures]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.add_task(what, total=total, rate="", failures="")
        self._bar.start()

    def advance(self, encoded: int, failed: int) -> None:
        """Move the bar.

        Parameters
        ----------
        encoded, failed : int
            Stimuli encoded and failed so far.
        """
        if self._bar is None:
            return
        task = self._bar.tasks[0]
        elapsed = task.elapsed or 0.0
        self._bar.update(
            task.id,
            completed=encoded + failed,
            rate=f"{encoded / elapsed:,.1f} {self._unit}/s" if elapsed > 0 else "",
            failures=f"[red]{failed} failed" if failed else "",
        )
