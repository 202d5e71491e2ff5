"""How a training run goes, on stderr: a line an epoch; within it a bar where a person watches, else a line a minute."""

import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from vidsim.cli.progress import OFTEN, span
from vidsim.paths import expand

if TYPE_CHECKING:
    from rich.progress import Progress

    from vidsim.adapt.batches import Counts
    from vidsim.adapt.trainer import Trainer
    from vidsim.adapt.watcher import Watcher


SCORES = ("rho", "two_way", "three_way")
"""Validation scores that are told."""

LOSSES = {"soft": ("soft",), "triplet": ("triplet",), "rsa": ("rsa",), "hybrid": ("triplet", "rsa")}
"""Parts of each kind of loss, told also where an epoch or a step has none."""


class Lines:
    """Tell losses, validation scores, speed and the time that is left.

    Parameters
    ----------
    counts : Counts
        What an epoch holds.
    ceiling : float
        Rho that a perfect model would have, told beside rho; NaN where it is not known.
    losses : sequence of str
        Losses to tell even where nothing was compared.
    patience : int
        Epochs without a better score after which the run ends; 0 for never.
    processes : int
        Processes that share an epoch's steps.
    quiet : bool
        Tell nothing, as all processes but the first do.
    """

    def __init__(
        self,
        *,
        counts: "Counts",
        ceiling: float = float("nan"),
        losses: Sequence[str] = (),
        patience: int = 0,
        processes: int = 1,
        quiet: bool = False,
    ) -> None:
        self._counts, self._ceiling, self._processes, self._quiet = counts, ceiling, processes, quiet
        self._losses, self._patience = losses, patience
        self._bar: Progress | None = None
        self._epochs = self._steps = self._done = 0
        self._start = self._told = 0.0
        self._began = 0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, name: str, seed: int, epochs: int, steps: int, done: int) -> None:
        """Say what begins.

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
        self._epochs, self._steps, self._done, self._began = epochs, steps, done, done
        self._start = self._told = time.monotonic()
        if self._quiet:
            return
        if not epochs:
            typer.echo(f"{name}: seed {seed}, a fitted transform, without training", err=True)
            return
        from vidsim.report.text import counted

        if done >= epochs:
            typer.echo(f"{name}: seed {seed}, {counted(done, 'epoch')} done before", err=True)
            return
        again = f", from epoch {done + 1} on" if done else ""
        one = self._counts
        holds = f"{counted(one.trials, 'trial')} and {counted(one.pairs, 'judged pair')}"
        of = f"{counted(epochs, 'epoch')} of {counted(steps, 'step')}, {counted(one.forwards, 'forward pass')}"
        what = f"{of} each (the first: {holds})" if epochs > 1 else f"{of}, {holds}"
        typer.echo(f"{name}: seed {seed}, {what}{again}", err=True)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[losses]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.add_task("", total=steps, epoch=done + 1, losses="")
            self._bar.start()

    def step(self, number: int, losses: Mapping[str, float]) -> None:
        """Move the bar, or tell a log that the run goes on.

        Parameters
        ----------
        number : int
            Step of this process within the epoch, from 0 on.
        losses : mapping of str to float
            Of the step.
        """
        now = time.monotonic()
        if self._quiet or (self._bar is None and now - self._told < OFTEN):
            return
        told = ", ".join(self._told_losses(losses, 3))
        step = min((number + 1) * self._processes, self._steps)
        made = (self._done - self._began) * self._steps + step
        left = span((now - self._start) / made * ((self._epochs - self._began) * self._steps - made))
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, losses=f"{told}, {left} left")
            return
        self._told = now
        where = f"epoch {self._done + 1}/{self._epochs}, step {step:,}/{self._steps:,}"
        typer.echo(f"{where}: {told}, {left} left", err=True)

    def epoch(self, row: Mapping[str, Any], best: int) -> None:
        """Tell an epoch.

        Parameters
        ----------
        row : mapping
            What was measured.
        best : int
            The best epoch so far.
        """
        self._done += 1
        if self._quiet:
            return
        self._told = time.monotonic()
        spent = self._told - self._start
        left = spent / (self._done - self._began) * (self._epochs - self._done)
        told = self._told_losses(row["losses"], 4)
        for name in (name for name in SCORES if row.get(name) is not None):
            perfect = f" (perfect: {self._ceiling:.3f})" if name == "rho" and self._ceiling == self._ceiling else ""
            told.append(f"validation {name} {row[name]:.3f}{perfect}")
        if row["seconds"]:
            told.append(f"{self._counts.forwards / row['seconds']:,.0f} stimuli/s")
        over = 0 < self._patience <= row["epoch"] - best and left > 0
        told += [f"{row['seconds']:.1f} s", f"{span(left)} left" if left and not over else "done"]
        mark = " (best)" if best == row["epoch"] and row.get("rho") is not None else ""
        typer.echo(f"epoch {row['epoch']}/{self._epochs}: {', '.join(told)}{mark}", err=True)
        if over:
            typer.echo(f"epoch {best} stays the best: optimiser.patience = {self._patience} ends the run", err=True)
        if self._bar is not None:
            self._bar.reset(self._bar.task_ids[0], epoch=row["epoch"] + 1, losses="")

    def _told_losses(self, losses: Mapping[str, float], digits: int) -> list[str]:
        """Write losses down, with a dash where there was nothing to compare."""
        from vidsim.report.text import number

        return [f"{name} {number(losses.get(name), digits)}" for name in dict.fromkeys((*self._losses, *losses))]


class Watchers:
    """Tell several watchers of a run.

    Parameters
    ----------
    watchers : sequence of Watcher
        Told one after the other.
    """

    def __init__(self, watchers: "Sequence[Watcher]") -> None:
        self._watchers = watchers

    def begin(self, name: str, seed: int, epochs: int, steps: int, done: int) -> None:
        """Say what begins, and how many epochs are done already."""
        for one in self._watchers:
            one.begin(name, seed, epochs, steps, done)

    def step(self, number: int, losses: Mapping[str, float]) -> None:
        """Say that a step was made, and its losses."""
        for one in self._watchers:
            one.step(number, losses)

    def epoch(self, row: Mapping[str, Any], best: int) -> None:
        """Say what was measured after an epoch, and which was the best so far."""
        for one in self._watchers:
            one.epoch(row, best)


@contextmanager
def watch(trainer: "Trainer", *, ceiling: float, tensorboard: Path | None) -> "Generator[Watcher]":
    """Watch a run: on stderr, and in TensorBoard's files where these are wanted.

    Parameters
    ----------
    trainer : Trainer
        About to run. Processes but the first are not watched.
    ceiling : float
        Rho that a perfect model would have; NaN where it is not known.
    tensorboard : Path, optional
        Where runs are logged.

    Yields
    ------
    Watcher
        For the run.
    """
    counts, first = trainer.counts(), trainer.accelerator.is_main_process
    recipe, processes = trainer.recipe, trainer.accelerator.num_processes
    with ExitStack() as stack:
        watchers: list[Watcher] = [
            stack.enter_context(
                Lines(
                    counts=counts,
                    ceiling=ceiling,
                    losses=LOSSES[recipe.loss.kind],
                    patience=recipe.optimiser.patience,
                    processes=processes,
                    quiet=not first,
                )
            ),
        ]
        if tensorboard is not None and first:
            from vidsim.adapt.schedule import learning_rate
            from vidsim.cli.tensorboard import TensorBoard

            log = TensorBoard(
                expand(tensorboard),
                forwards=counts.forwards,
                rate=partial(learning_rate, recipe.optimiser),
                processes=processes,
            )
            watchers.append(stack.enter_context(log))
        yield Watchers(watchers)
