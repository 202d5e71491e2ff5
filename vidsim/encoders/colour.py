"""Colour: from sRGB pixels to CIE 1976 L*a*b*, whose axes are luminance, red against green, and yellow against blue."""

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])

_level = np.arange(256) / 255
LINEAR = np.where(_level <= 0.04045, _level / 12.92, ((_level + 0.055) / 1.055) ** 2.4)
"""Light of each 8-bit level (IEC 61966-2-1)."""


def luminance(frames: UInt8[Tensor, "t 3 h w"]) -> Float32[Tensor, "t h w"]:
    """Return the lightness L* of every pixel (CIE 15:2004, Eq. 8.3).

    Parameters
    ----------
    frames : tensor of shape (t, 3, h, w)
        sRGB.

    Returns
    -------
    tensor of shape (t, h, w)
        From 0 (black, exactly) to 100 (white).
    """
    return _lightness(_light(frames, RGB_TO_XYZ[1]))


def lab(frames: UInt8[Tensor, "t 3 h w"]) -> Float32[Tensor, "t 3 h w"]:
    """Return L*, a* (red against green) and b* (yellow against blue) of every pixel (CIE 15:2004, Eqs. 8.3-8.5).

    Parameters
    ----------
    frames : tensor of shape (t, 3, h, w)
        sRGB.

    Returns
    -------
    tensor of shape (t, 3, h, w)
        L* from 0 to 100; a* and b* within about 110, 0 for grey.
    """
    # all three in units of L*, of which f(X) - f(Y) is 1/116
    x, y, z = (_lightness(_light(frames, RGB_TO_XYZ[i] / RGB_TO_XYZ[i].sum())) for i in range(3))
    return torch.stack([y, (x - y) * (500 / 116), (y - z) * (200 / 116)], dim=1)


def _light(frames: UInt8[Tensor, "t 3 h w"], weights: np.ndarray) -> Float32[Tensor, "t h w"]:
    """Weigh the light of the three channels; a look-up costs a fifth of torch's power function."""
    channels = frames.cpu().numpy()
    table = (LINEAR[:, None] * weights).astype(np.float32)
    red, green, blue = (np.take(table[:, i], channels[:, i]) for i in range(3))
    red += green
    red += blue
    return torch.from_numpy(red).to(frames.device)


def _lightness(light: Float32[Tensor, "t h w"]) -> Float32[Tensor, "t h w"]:
    return torch.where(light > (6 / 29) ** 3, 116 * light ** (1 / 3) - 16, (29 / 3) ** 3 * light)
