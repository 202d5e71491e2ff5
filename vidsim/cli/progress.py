"""Progress on stderr: a bar where a person watches a terminal, else a line a minute."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from vidsim.cli.show import printable, say

if TYPE_CHECKING:
    from rich.progress import Progress


OFTEN = 60.0
"""Seconds after which a log hears of long work again."""


class Bar:
    """Show how many are done, the rate, failures so far and time left.

    Parameters
    ----------
    unit : str
        What is counted.
    """

    def __init__(self, unit: str = "clips") -> None:
        self._unit = unit
        self._bar: Progress | None = None
        self._what = ""
        self._total = 0
        self._start = self._told = 0.0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, total: int, what: str) -> None:
        """Start the bar, or the clock of a log.

        Parameters
        ----------
        total : int
            Stimuli to encode.
        what : str
            Name of the encoder.
        """
        self._what, self._total = what, total
        self._start = self._told = time.monotonic()
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
        """Move the bar, or tell a log that the work goes on.

        Parameters
        ----------
        encoded, failed : int
            Stimuli encoded and failed so far.
        """
        now = time.monotonic()
        if self._bar is None and now - self._told < OFTEN:
            return
        elapsed = now - self._start
        rate = f"{encoded / elapsed:,.1f} {self._unit}/s" if elapsed > 0 else ""
        failures = f"{failed} failed" if failed else ""
        done = encoded + failed
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=done, rate=rate, failures=f"[red]{failures}" if failures else ""
            )
            return
        self._told = now
        left = f"{span(elapsed / done * (self._total - done))} left" if done else ""
        told = ", ".join(part for part in (rate, failures, left) if part)
        say(f"{printable(self._what)}, {done:,}/{self._total:,}: {told}", err=True)


def span(seconds: float) -> str:
    """Write a time down for people: in seconds, minutes or hours.

    Parameters
    ----------
    seconds : float
        How long.

    Returns
    -------
    str
        In words.

    Examples
    --------
    >>> span(59.6), span(4000.0)
    ('1 min 00 s', '1 h 06 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
