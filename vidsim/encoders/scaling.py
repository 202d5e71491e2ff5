"""Scaling on a GPU: frames as Pillow scales them, to the bit, where the processors are busy decoding."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Int32, Int64, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.transfer import to_device

BITS = 22
"""Binary places of Pillow's weights, which are whole numbers for images of 8 bits."""

PIXELS = 2**22
"""Of the frames that are scaled at a time: 54 of 240 x 320. Each takes some 40 bytes meanwhile."""

ROWS, COLUMNS = 1, 2
"""Axes of frames."""

WINDOW = 16
"""Pixels a side of what tells which axis Pillow scales first."""


@dataclass(frozen=True, eq=False)
class Axis:
    """Scale one axis: each output is a weighted sum of inputs that follow each other.

    Parameters
    ----------
    begin, end : int
        Inputs that are used at all.
    inputs : tensor of shape (taps, out)
        Of each output, counted from ``begin``.
    weights : tensor of shape (taps, out)
        Of these inputs, times 2 to the power of `BITS`.
    """

    begin: int
    end: int
    inputs: Int64[Tensor, "taps out"]
    weights: Int32[Tensor, "taps out"]

    def on(self, device: str) -> "Axis":
        """Bring the weights to a device."""
        return Axis(self.begin, self.end, to_device(self.inputs, device), to_device(self.weights, device))

    def along(self, axis: int, frames: UInt8[Tensor, "n h w 3"]) -> UInt8[Tensor, "n h2 w2 3"]:
        """Scale, in whole numbers, and round."""
        shape = [1] * frames.ndim
        shape[axis] = -1
        total = torch.full((), 1 << (BITS - 1), dtype=torch.int32, device=frames.device)
        for inputs, weights in zip(self.inputs, self.weights, strict=True):
            total = torch.addcmul(total, frames.index_select(axis, inputs), weights.view(shape))
        return (total >> BITS).clamp_(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Scaling:
    """Scale frames of one size and leave out what is cropped.

    Parameters
    ----------
    rows, columns : Axis
        What scales height and width.
    rows_first : bool
        Whether the height comes first: values are rounded in between.
    """

    rows: Axis
    columns: Axis
    rows_first: bool

    def __call__(self, frames: UInt8[Tensor, "n h w 3"]) -> UInt8[Tensor, "n 3 h2 w2"]:
        """Scale frames that are where the weights are.

        Parameters
        ----------
        frames : tensor of shape (n, h, w, 3)
            RGB.

        Returns
        -------
        tensor of shape (n, 3, H, W)
            What `Preprocess.pixels` makes of each.
        """
        frames = frames[:, self.rows.begin : self.rows.end, self.columns.begin : self.columns.end]
        steps = [(self.rows, ROWS), (self.columns, COLUMNS)]
        for one, axis in steps if self.rows_first else steps[::-1]:
            frames = one.along(axis, frames)
        return frames.permute(0, 3, 1, 2)


def stack_prepared(items: Sequence[Tensor], preprocess: Preprocess, device: str) -> UInt8[Tensor, "b t 3 h w"]:
    """Bring clips to a device, and scale there those that have not been.

    Parameters
    ----------
    items : sequence of tensors of shape (t, 3, H, W) or (t, h, w, 3), uint8
        Prepared frames, or frames as decoded whose scaling `Preprocess.can_wait`.
    preprocess : Preprocess
        What frames go through.
    device : str
        Device as torch names it.

    Returns
    -------
    tensor of shape (b, t, 3, H, W)
        Prepared frames, in the order of the items.
    """
    prepared = (3, *preprocess.size)
    ready: dict[int, Tensor] = {}
    waiting: dict[tuple[int, ...], list[int]] = {}
    for place, item in enumerate(items):
        if tuple(item.shape[1:]) == prepared:
            ready[place] = to_device(item, device)
        else:
            waiting.setdefault(tuple(item.shape), []).append(place)
    for (_, height, width, _), places in waiting.items():
        scale = scaling(height, width, preprocess, device)
        if scale is None:
            scaled = [_by_pillow(items[place], preprocess, device) for place in places]
        else:
            clips = torch.stack([to_device(items[place], device) for place in places])
            parts = clips.flatten(0, 1).split(max(1, PIXELS // (height * width)))
            scaled = torch.cat([scale(part) for part in parts]).unflatten(0, clips.shape[:2])
        ready.update(zip(places, scaled, strict=True))
    return torch.stack([ready[place] for place in range(len(items))])


@lru_cache(maxsize=256)
def scaling(height: int, width: int, preprocess: Preprocess, device: str) -> Scaling | None:
    """Work out how Pillow scales frames of one size: its weights and its order are asked of itself.

    Parameters
    ----------
    height, width : int
        Of frames whose scaling `Preprocess.can_wait`.
    preprocess : Preprocess
        What they go through.
    device : str
        Where they will be.

    Returns
    -------
    Scaling or None
        None if this Pillow does something else.
    """
    target = preprocess.target(height, width)
    assert target is not None
    sides = zip((height, width), target, strict=True)
    (rows, columns), size = [_weights(*one, preprocess.resample) for one in sides], preprocess.size
    top, left = ((have - want) // 2 for have, want in zip(target, size, strict=True))

    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    there = preprocess.pixels(image)[:, :WINDOW, :WINDOW]
    down, across = _axis(rows, top, min(WINDOW, size[0])), _axis(columns, left, min(WINDOW, size[1]))
    for rows_first in (False, True):
        if np.array_equal(Scaling(down, across, rows_first)(torch.from_numpy(image)[None])[0], there):
            return Scaling(_axis(rows, top, size[0]).on(device), _axis(columns, left, size[1]).on(device), rows_first)
    return None


def _weights(inputs: int, outputs: int, resample: int) -> Int32[ndarray, "inputs outputs"]:
    """Return the weight of each input in each output: what a Pillow image of 32 bits shows of each input alone."""
    alone = np.eye(inputs, dtype=np.int32) << BITS
    return np.asarray(Image.fromarray(alone).resize((outputs, inputs), resample=Image.Resampling(resample)))


def _axis(weights: Int32[ndarray, "inputs outputs"], start: int, length: int) -> Axis:
    """Cut outputs out."""
    weights = weights[:, start : start + length]
    used = weights != 0
    first, last = used.argmax(0), len(used) - used[::-1].argmax(0)
    taps = int((last - first).max())
    first = np.minimum(first, len(used) - taps)
    begin, end = int(first.min()), int(first.max()) + taps
    inputs = first + np.arange(taps)[:, None]
    used = np.take_along_axis(weights, inputs, 0)
    return Axis(begin, end, torch.from_numpy(inputs - begin), torch.from_numpy(used))


def _by_pillow(clip: Tensor, preprocess: Preprocess, device: str) -> Tensor:
    return to_device(np.stack([preprocess.pixels(frame) for frame in clip.numpy()]), device)
