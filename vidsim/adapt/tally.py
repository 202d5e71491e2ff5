"""Tally: the losses of an epoch's steps, read a step late, and their means over processes."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from vidsim.adapt.batches import Step
from vidsim.encoders.transfer import Fetched
from vidsim.errors import VidsimError

OF_TRIALS = frozenset({"soft", "triplet"})
"""Losses that a step without trials does not have."""


class NotFinite(VidsimError):
    """Report a loss or a weight that is no number.

    Parameters
    ----------
    what : str
        What was found and where, in a few words.
    more : str
        More of it, and what to do.
    """

    def __init__(self, what: str, more: str) -> None:
        super().__init__(what + more)
        self.what = what


class Tally:
    """Take losses off the device a step late, so that a GPU goes on meanwhile.

    Parameters
    ----------
    ids : sequence of str
        Names of the stimuli, for errors.
    epoch : int
        From 0 on.
    told : callable
        Told each step's number and losses.
    gather : callable
        Joins the lists of all processes.
    """

    def __init__(
        self,
        ids: Sequence[str],
        epoch: int,
        told: Callable[[int, Mapping[str, float]], None],
        gather: Callable[[list[Any]], list[Any]],
    ) -> None:
        self._ids, self._epoch, self._told, self._gather = ids, epoch, told, gather
        self._last: tuple[int, Step, tuple[str, ...], Fetched] | None = None
        self._seen: dict[str, list[float]] = {}

    def add(self, number: int, step: Step, loss: Tensor, shared: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Note a step, and settle the one before.

        Parameters
        ----------
        number : int
            Of the step, from 0 on.
        step : Step
            The step.
        loss : tensor of shape ()
            The whole.
        shared : tensor of shape ()
            Its mean over processes: all of them stop where it is no number in one.
        parts : mapping of str to tensor of shape ()
            Each loss by itself. Those over trials do not count where the step has none.

        Raises
        ------
        NotFinite
            If the loss of the step before is no number: the step and its stimuli.
        """
        self.settle()
        if not len(step.trials):
            parts = {name: value for name, value in parts.items() if name not in OF_TRIALS}
        self._last = number, step, tuple(parts), Fetched(torch.stack([loss, shared, *parts.values()]))

    def settle(self) -> None:
        """Read the losses of the last step.

        Raises
        ------
        NotFinite
            If its loss is no number: the step and its stimuli.
        """
        if self._last is None:
            return
        number, step, names, losses = self._last
        self._last = None
        value, shared, *parts = losses.wait().tolist()
        if not math.isfinite(shared):
            met = self._gather([] if math.isfinite(value) else [step.stimuli.tolist()])
            clips = ", ".join(repr(self._ids[i]) for i in dict.fromkeys(i for stimuli in met for i in stimuli))
            raise NotFinite(
                f"the loss is {shared} in step {number + 1} of epoch {self._epoch + 1}",
                f", with stimuli {clips}; look at these, or lower optimiser.learning_rate",
            )
        told = dict(zip(names, parts, strict=True))
        for name, part in told.items():
            self._seen.setdefault(name, []).append(part)
        self._told(number, told)

    def means(self) -> dict[str, float]:
        """Average each loss over the steps that have it; some processes may have none with an RSA loss.

        Returns
        -------
        dict of str to float
            By name.
        """
        sums = self._gather([(name, math.fsum(values), len(values)) for name, values in self._seen.items()])
        found: dict[str, float] = {}
        for name in dict.fromkeys(name for name, _, _ in sums):
            own = [(total, count) for one, total, count in sums if one == name]
            found[name] = math.fsum(total for total, _ in own) / sum(count for _, count in own)
        return found
