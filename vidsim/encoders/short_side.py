"""Short side: frames scaled and cropped as the PyTorchVideo model zoo does it.

The zoo scales without antialiasing, so that fine texture of large frames stays in as noise; its models were trained on
that. Values are rounded to whole numbers here, at most half of 1/255 away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.processor_values import read_colours, read_crop, read_size
from vidsim.errors import VidsimError

PROCESSOR = "ShortSideScale"
"""What a card's configuration names itself, where other checkpoints name their processor."""


@dataclass(frozen=True, kw_only=True)
class ShortSide(Preprocess):
    """Scale the shorter side bilinearly without antialiasing, crop the middle and normalise."""

    @classmethod
    def from_card(cls, config: Mapping[str, Any]) -> "ShortSide":
        """Read what a card says.

        Parameters
        ----------
        config : mapping
            ``size.shortest_edge`` and ``crop_size`` in pixels, ``image_mean`` and ``image_std`` for all colours.

        Returns
        -------
        ShortSide
            The steps.

        Raises
        ------
        VidsimError
            If one of them is not that.
        """
        # any checkpoint's file may name itself like this
        side, _ = read_size(config.get("size"), False, "size")
        if side is None:
            raise VidsimError(f"preprocessor config has size {config['size']!r}; expected {{'shortest_edge': n}}")
        return cls(
            shortest_edge=side,
            crop=read_crop(config.get("crop_size")),
            mean=read_colours(config.get("image_mean"), "image_mean"),
            std=read_colours(config.get("image_std"), "image_std", above=0.0),
        )

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the pixels, ready for JSON."""
        return {**super().provenance, "resizer": "torch, without antialiasing"}

    def pixels(self, image: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "3 H W"]:
        """Scale and crop one frame; meant for decoding threads.

        Parameters
        ----------
        image : array of shape (h, w, 3)
            RGB, of any size.

        Returns
        -------
        array of shape (3, H, W)
            The frame at ``size``.
        """
        import torch
        from torch.nn.functional import interpolate

        target = self.target(image.shape[0], image.shape[1])
        # a rotated frame has negative strides, which torch does not take
        pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None].float()
        pixels = interpolate(pixels, size=target, mode="bilinear", align_corners=False)[0]
        rows, columns = self.size
        # Python's round, to even, as in the zoo's centre crop
        top, left = round((target[0] - rows) / 2), round((target[1] - columns) / 2)
        return pixels[:, top : top + rows, left : left + columns].round().to(torch.uint8).contiguous().numpy()

    def can_wait(self, height: int, width: int) -> bool:
        """Return False: torch's own scaling has other last digits on a GPU."""
        return False

    def target(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of a frame after scaling, as its parent does, never None."""
        edge = self.shortest_edge
        assert edge is not None
        # divided before it is multiplied, as in the zoo: the other order differs by a pixel for some sizes
        if width < height:
            return floor(height / width * edge), edge
        return edge, floor(width / height * edge)
