"""TensorBoard: how a training run goes, as event files that are watched in a browser; an optional extra."""

import os
import signal
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

CLOSING = 10.0
"""Seconds that a run which ends by an error, or an interrupt, waits for what it logged last to come to the disk."""


def check_tensorboard(folder: Path | None) -> None:
    """Refuse to log where it cannot be done, before anything is trained.

    Parameters
    ----------
    folder : Path or None
        Where runs will be logged; None for nowhere.

    Raises
    ------
    VidsimError
        If the package is missing, or the folder cannot be one.
    """
    if folder is None:
        return
    folder = expand(folder)
    if find_spec("tensorboard") is None:
        raise VidsimError("--tensorboard: the package is not installed: pip install 'vidsim[tensorboard]'")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = "cannot be written to" if there.is_dir() else "is a file"
        raise VidsimError(f"--tensorboard {os.fspath(folder)!r}: {os.fspath(there)!r} {why}; expected a folder")


class TensorBoard:
    """Log a run: losses and learning rate at each step; losses, validation scores and speed at each epoch.

    Steps count from 1 over all epochs. A run that goes on after it was cut off takes over at its step: what had been
    logged behind the last epoch that was kept is left out, and a run that starts over leaves out all of it.

    Parameters
    ----------
    folder : Path
        Where runs are logged, each in a folder named like its adapter.
    forwards : int
        Stimuli forwarded in an epoch.
    rate : callable
        Takes the number of a step, from 0 on, and the number of all; returns its learning rate.
    processes : int
        How many share the steps; this is the first.
    """

    def __init__(self, folder: Path, *, forwards: int, rate: Callable[[int, int], float], processes: int = 1) -> None:
        self._folder, self._forwards, self._rate, self._processes = folder, forwards, rate, processes
        self._writer: SummaryWriter | None = None
        self._epochs = self._steps = self._epoch = 0

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        if kind is None:
            with _undisturbed():
                self._writer.close()
            return
        closing = threading.Thread(target=self._give_up, daemon=True)
        closing.start()
        closing.join(CLOSING)

    def _give_up(self) -> None:
        """Close the log behind an error, which is the one to be told."""
        assert self._writer is not None
        with suppress(Exception):
            self._writer.close()

    def begin(self, name: str, seed: int, epochs: int, steps: int, done: int) -> None:
        """Open the log of a run.

        Parameters
        ----------
        name : str
            Name of the adapter.
        seed : int
            Seed of the run.
        epochs, steps : int
            Epochs in all, and steps in each.
        done : int
            Epochs that are done already.
        """
        from torch.utils.tensorboard.writer import SummaryWriter

        self._epochs, self._steps, self._epoch = epochs, steps, done
        with _undisturbed():
            self._writer = SummaryWriter(os.fspath(self._folder / name), purge_step=done * steps + 1)

    def step(self, number: int, losses: Mapping[str, float]) -> None:
        """Log a step.

        Parameters
        ----------
        number : int
            Step of this process within the epoch, from 0 on.
        losses : mapping of str to float
            Of the step.
        """
        assert self._writer is not None
        step = self._epoch * self._steps + number * self._processes
        with _undisturbed():
            for name, value in losses.items():
                self._writer.add_scalar(f"step/loss {name}", value, step + 1)
            self._writer.add_scalar("step/learning rate", self._rate(step, self._epochs * self._steps), step + 1)

    def epoch(self, row: Mapping[str, Any], best: int) -> None:
        """Log an epoch, and bring all to the disk.

        Parameters
        ----------
        row : mapping
            What was measured.
        best : int
            The best epoch so far.
        """
        assert self._writer is not None
        self._epoch = row["epoch"]
        told = {f"epoch/loss {name}": value for name, value in row["losses"].items()}
        told |= {
            f"validation/{name}": value
            for name, value in row.items()
            if name not in {"epoch", "losses", "seconds"} and value is not None
        }
        if row["seconds"]:
            told["epoch/stimuli per second"] = self._forwards / row["seconds"]
        with _undisturbed():
            for name, value in told.items():
                self._writer.add_scalar(name, value, self._epoch)
            self._writer.add_scalar("epoch/best", best, self._epoch)
            self._writer.flush()


@contextmanager
def _undisturbed() -> Generator[None]:
    """Let an interrupt wait: in the middle of TensorBoard's queue it would break locks and counts for good."""
    heed = signal.getsignal(signal.SIGINT)
    if not callable(heed) or threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, heed)
        if came:
            heed(*came[0])
