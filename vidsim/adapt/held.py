"""Held: prepared frames of clips on the device of their encoder, as far as there is room."""

from collections.abc import Callable

import torch
from jaxtyping import UInt8
from torch import Tensor

from vidsim.encoders.transfer import to_device

HELD = 0.1
"""Share of a GPU's free memory for frames: those of thousands of clips."""


class Held:
    """Give the frames of clips on a device, where as many stay as there is room for.

    Parameters
    ----------
    frames : callable
        Takes an id; returns its prepared frames, of shape (t, 3, h, w).
    device : str
        Device as torch names it.
    """

    def __init__(self, frames: Callable[[str], UInt8[Tensor, "t 3 h w"]], device: str) -> None:
        self._frames = frames
        self._device = device
        self._there: dict[str, Tensor] = {}
        self._room = _room(device)

    def __call__(self, name: str) -> UInt8[Tensor, "t 3 h w"]:
        """Return a clip's frames on the device.

        Parameters
        ----------
        name : str
            Id of a stimulus.

        Returns
        -------
        tensor of shape (t, 3, h, w)
            Prepared.
        """
        if name in self._there:
            return self._there[name]
        frames = to_device(self._frames(name), self._device)
        if frames.nbytes <= self._room:
            self._there[name], self._room = frames, self._room - frames.nbytes
        return frames


def _room(device: str) -> int:
    """Return how many bytes of frames a device can hold beside the training."""
    where = torch.device(device)
    return int(torch.cuda.mem_get_info(where)[0] * HELD) if where.type == "cuda" else 0
