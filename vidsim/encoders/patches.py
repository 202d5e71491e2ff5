"""Patches: frames for models that take any size, resized to whole patches and cut up as their own processor does.

Reading a configuration imports no torch: the steps are part of an encoder's identity.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vidsim.encoders.base import Modality
from vidsim.encoders.preprocess import CLIP_MEAN, CLIP_STD, HARMLESS, Preprocess
from vidsim.encoders.processor_values import (
    LARGEST_SIDE,
    read_colours,
    read_factor,
    read_filter,
    refuse_half_truths,
    refuse_other_keys,
)
from vidsim.encoders.short_side import PROCESSOR, ShortSide
from vidsim.errors import UnusableFile, VidsimError

if TYPE_CHECKING:
    import torch

CLASSES = frozenset({"Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil"})
"""Processors that are followed; all do the same."""

DEFAULTS: Mapping[str, object] = {
    "do_resize": True,
    "size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "min_pixels": None,
    "max_pixels": None,
}
"""Keys that are followed, and what the processors assume where a file is silent (transformers 5.23)."""

LONGEST = 200
"""Largest ratio of a frame's sides."""


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Resize frames to whole patches, normalise them and cut them up.

    Parameters
    ----------
    patch : int
        Height and width of a patch in pixels.
    merge : int
        Patches along each side that the model merges into one token.
    temporal : int
        Frames that a patch spans; a still is repeated.
    least, most : int
        Pixels of a frame after resizing; in between, its sides are only rounded to whole tokens.
    resample : int
        Pillow's filter.
    factor : float
        Multiplies the 0..255 values.
    mean, std : (float, float, float)
        Subtracted from and divided into the rescaled red, green and blue.
    """

    patch: int
    merge: int
    temporal: int
    least: int
    most: int
    resample: int
    factor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "Patches":
        """Read a checkpoint's ``preprocessor_config.json``.

        Parameters
        ----------
        config : mapping
            The parsed file, of a Qwen2-VL image processor (Qwen3-VL has the same, with other numbers).

        Returns
        -------
        Patches
            The same steps.

        Raises
        ------
        VidsimError
            If it names another class, or asks for a step that is not done here.
        """
        refuse_half_truths(config)
        name = config.get("image_processor_type")
        if not isinstance(name, str) or name not in CLASSES:
            raise VidsimError(f"preprocessor class {name!r} is not known; expected Qwen2VLImageProcessor")
        refuse_other_keys(config, DEFAULTS, HARMLESS)
        known: dict[str, Any] = {**DEFAULTS, **{key: value for key, value in config.items() if value is not None}}
        off = [step for step in ("do_resize", "do_rescale", "do_normalize") if not known[step]]
        if off:
            raise VidsimError(f"preprocessor config has {off[0]} false; expected frames to be resized and normalised")
        least, most = _limits(known)
        return cls(
            patch=known["patch_size"],
            merge=known["merge_size"],
            temporal=known["temporal_patch_size"],
            least=least,
            most=most,
            resample=read_filter(known["resample"]),
            factor=read_factor(known["rescale_factor"]),
            mean=read_colours(known["image_mean"], "image_mean"),
            std=read_colours(known["image_std"], "image_std", above=0.0),
        )

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the pixels, ready for JSON."""
        facts = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"resizer": "pillow", **facts}

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Choose the size of a frame: whole tokens, about its shape, within the limits of pixels.

        Parameters
        ----------
        height, width : int
            Of the frame, in pixels.

        Returns
        -------
        (int, int)
            Height and width in pixels, multiples of ``patch * merge``.

        Raises
        ------
        UnusableFile
            If one side is over 200 times the other.

        Examples
        --------
        >>> steps = Patches.from_config({"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 16})
        >>> steps.target(240, 320), steps.target(2160, 3840)
        ((256, 320), (736, 1312))
        """
        if max(height, width) > LONGEST * min(height, width):
            raise UnusableFile(
                "too-long", f"its frames have {height}x{width} pixels; expected a side of at most 200 times the other"
            )
        cell = self.patch * self.merge
        # Python's round, to even, as in the processor
        rows, columns = round(height / cell), round(width / cell)
        if rows * columns * cell**2 > self.most:
            shrink = math.sqrt(height * width / self.most)
            rows = max(1, math.floor(height / shrink / cell))
            columns = max(1, math.floor(width / shrink / cell))
        elif rows * columns * cell**2 < self.least:
            grow = math.sqrt(self.least / (height * width))
            rows, columns = math.ceil(height * grow / cell), math.ceil(width * grow / cell)
        return rows * cell, columns * cell

    def frame(self, image: UInt8[ndarray, "h w 3"]) -> "torch.Tensor":
        """Resize one frame; meant for decoding threads: Pillow lets others run and starts no threads.

        Parameters
        ----------
        image : array of shape (h, w, 3)
            RGB, of any size.

        Returns
        -------
        tensor of shape (3, H, W)
            Whole tokens, still 0..255 in uint8.
        """
        import torch
        from PIL import Image

        height, width = self.target(image.shape[0], image.shape[1])
        if (height, width) != image.shape[:2]:
            picture = Image.fromarray(np.ascontiguousarray(image))
            image = np.asarray(picture.resize((width, height), resample=Image.Resampling(self.resample)))
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

    def cut(self, frames: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Normalise prepared frames and cut them into patches, on the device they are on.

        Parameters
        ----------
        frames : tensor of shape (t, 3, H, W), uint8
            What ``frame`` returned, stacked.

        Returns
        -------
        pixels : tensor of shape (patches, 3 * temporal * patch * patch), float32
            Those of a frame side by side, the ``merge * merge`` patches of a token after each other.
        grid : tensor of shape (t, 3)
            Of each frame: 1, and its rows and columns of patches.
        """
        import torch

        mean, std = (torch.tensor(v, device=frames.device).view(3, 1, 1) for v in (self.mean, self.std))
        values = frames.float().mul_(self.factor).sub_(mean).div_(std)
        rows, columns = (side // self.patch for side in frames.shape[2:])
        cells = values.unflatten(3, (columns // self.merge, self.merge, self.patch))
        cells = cells.unflatten(2, (rows // self.merge, self.merge, self.patch))
        # t c, rows of tokens, rows in a token, down, columns of tokens, columns in a token, across
        cells = cells.permute(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None]
        cells = cells.expand(-1, -1, -1, -1, -1, -1, self.temporal, -1, -1)
        grid = torch.tensor([[1, rows, columns]] * len(frames), device=frames.device)
        return cells.flatten(5).flatten(0, 4), grid

    def tokens(self, height: int, width: int) -> int:
        """Count the tokens that a prepared frame becomes.

        Parameters
        ----------
        height, width : int
            Of the prepared frame, in pixels.

        Returns
        -------
        int
            Tokens.
        """
        return height * width // (self.patch * self.merge) ** 2


def _limits(known: Mapping[str, Any]) -> tuple[int, int]:
    """Return the fewest and the most pixels of a frame; refuse what is no whole number, here and of the patches."""
    if not isinstance(known["size"], Mapping):
        raise VidsimError(
            f"preprocessor config has size {known['size']!r}; expected {{'shortest_edge': n, 'longest_edge': n}}, the "
            "fewest and the most pixels of a frame"
        )
    # older files of this class say min_pixels and max_pixels
    least: Any = known["min_pixels"] or known["size"].get("shortest_edge")
    most: Any = known["max_pixels"] or known["size"].get("longest_edge")
    numbers = {key: known[key] for key in ("patch_size", "merge_size", "temporal_patch_size")}
    wrong = [
        f"{key} {value!r}"
        for key, value in (*numbers.items(), ("fewest pixels", least), ("most pixels", most))
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= LARGEST_SIDE**2
    ]
    if wrong:
        raise VidsimError(
            f"preprocessor config has {', '.join(wrong)}; expected whole numbers above 0 and up to {LARGEST_SIDE**2:,}"
        )
    return least, most


def read_steps(config: Mapping[str, object], architecture: str | None, modality: Modality) -> Preprocess | Patches:
    """Read a checkpoint's ``preprocessor_config.json`` as its model wants it read.

    Parameters
    ----------
    config : mapping
        The parsed file.
    architecture : str, optional
        The model's class.
    modality : {"video", "image", "text", "video+text"}
        What the model takes in: one that reads beside the frames takes patches of them.

    Returns
    -------
    Preprocess or Patches
        The steps.
    """
    if modality == "video+text":
        return Patches.from_config(config)
    if config.get("video_processor_type") == PROCESSOR:
        return ShortSide.from_card(config)
    return Preprocess.from_config(config, architecture)
