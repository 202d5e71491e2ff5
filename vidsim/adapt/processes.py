"""Processes: what several that train together must agree on; of one alone everything is its own."""

import os
from datetime import timedelta
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather_object
from torch import Tensor

from vidsim.adapt.precision import precision
from vidsim.adapt.sections import Run
from vidsim.errors import VidsimError

PATIENCE = timedelta(hours=6)
"""For how long processes wait for each other: one measures baselines or decodes clips while the others are ready."""


def join(run: Run, device: str) -> Accelerator:
    """Join the processes that accelerate's launcher or torchrun has started, if any.

    Parameters
    ----------
    run : Run
        With ``precision``.
    device : str
        As torch names it; of several processes with a GPU each keeps its own.

    Returns
    -------
    Accelerator
        Of this process.

    Raises
    ------
    VidsimError
        If the environment names processes that cannot be joined.
    ValueError
        Of accelerate, where no process was named.
    RuntimeError
        Likewise.
    """
    if device.startswith("cuda:") and "LOCAL_RANK" not in os.environ:
        torch.cuda.set_device(device)  # accelerate takes the current one
    try:
        return Accelerator(
            mixed_precision=precision(run, device),
            cpu=device == "cpu",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
    except (ValueError, RuntimeError) as error:
        if "LOCAL_RANK" not in os.environ:
            raise
        raise VidsimError(
            f"LOCAL_RANK names one of several processes, which cannot be joined: {' '.join(str(error).split())}; start "
            "them with accelerate launch or torchrun, or unset LOCAL_RANK to train in one"
        ) from error


def device_of(accelerator: Accelerator) -> str:
    """Name the device of a process as its encoder does: accelerate says ``cuda`` of the current GPU, and ``cpu:0``.

    Parameters
    ----------
    accelerator : Accelerator
        Of `join`.

    Returns
    -------
    str
        As torch names it.
    """
    device = accelerator.device
    if device.type == "cuda":
        return f"cuda:{torch.cuda.current_device() if device.index is None else device.index}"
    return device.type


class Processes:
    """Exchange a little between processes.

    Parameters
    ----------
    accelerator : Accelerator
        Of this process.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._several = accelerator.num_processes > 1

    def gather(self, own: list[Any]) -> list[Any]:
        """Join the lists of all processes.

        Parameters
        ----------
        own : list
            Of this one.

        Returns
        -------
        list
            Of the first process, then of the others.
        """
        return gather_object(own) if self._several else own

    def mean(self, loss: Tensor) -> Tensor:
        """Average a loss: what is no number in one process stops all, and none waits for it.

        Parameters
        ----------
        loss : tensor of shape ()
            Of this process.

        Returns
        -------
        tensor of shape ()
            On the same device.
        """
        return cast("Tensor", self._accelerator.reduce(loss, "mean")) if self._several else loss

    def of_first(self, row: dict[str, Any]) -> dict[str, Any]:
        """Take the first process's figures: machines differ in the last digits, and all must stop behind one epoch.

        Parameters
        ----------
        row : dict
            What was measured after an epoch.

        Returns
        -------
        dict
            What the first process has measured.
        """
        return broadcast_object_list([row])[0] if self._several else row

    def refuse_other_states(self, epoch: int) -> None:
        """Refuse to go on where processes have read different states: they would wait for each other.

        Parameters
        ----------
        epoch : int
            Epochs that are done by the state that was read; 0 where there is none.

        Raises
        ------
        VidsimError
            If they differ.
        """
        if len({*self.gather([epoch])}) > 1:
            raise VidsimError(
                "processes have found different states of this run; put the artefact root on a disk that all share"
            )
