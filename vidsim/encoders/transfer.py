"""Transfers between the CPU and a device that do not make the CPU wait: it queues work while a GPU computes."""

from typing import Any

import torch
from torch import Tensor, nn


def to_device(values: Any, device: torch.device | str) -> Tensor:
    """Copy values to a device.

    Parameters
    ----------
    values : array, tensor or sequence of float
        On the CPU.
    device : device or str
        Where to.

    Returns
    -------
    Tensor
        The values there; on a GPU the copy is queued behind what it has to do.
    """
    # other devices than CUDA's give no warrant that a copy is done before it is read
    return torch.as_tensor(values).to(device, non_blocking=torch.device(device).type == "cuda")


def move_constants(model: nn.Module, device: str) -> None:
    """Move what modules keep beside weights and buffers, which PyTorch leaves where it is.

    VideoMAE's places are such a tensor: it would be copied to a GPU in every forward pass, which waits for it.

    Parameters
    ----------
    model : Module
        A model on the device.
    device : str
        Device as torch names it.
    """
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor):
                setattr(module, name, value.to(device))


class Fetched:
    """A tensor on its way to the CPU.

    Parameters
    ----------
    tensor : Tensor
        On any device.
    """

    def __init__(self, tensor: Tensor) -> None:
        # copied: a view would keep all of its storage alive
        self._copy = tensor.to("cpu", copy=True, memory_format=torch.contiguous_format, non_blocking=tensor.is_cuda)
        self._done = torch.cuda.Event() if tensor.is_cuda else None
        if self._done is not None:
            self._done.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> Tensor:
        """Return it, once it is there."""
        if self._done is not None:
            self._done.synchronize()
        return self._copy
