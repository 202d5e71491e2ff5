"""Appearance: what a clip's frames look like one by one, without regard to motion.

Every statistic is continuous in the pixels and finite for any clip, a black or constant one included. All are in
units in which natural clips give values of order 0.1 to 1, so that none drowns the others in a correlation.
"""

import math

import torch
from jaxtyping import Float32
from torch import Tensor

GRID = (6, 8)
"""Rows and columns of cells."""


def appearance(frames: Float32[Tensor, "t 3 h w"]) -> Float32[Tensor, " d"]:
    """Return appearance statistics of a clip: mean and standard deviation over frames of those of each frame.

    Parameters
    ----------
    frames : tensor of shape (t, 3, h, w)
        L*a*b*; height and width are multiples of the grid.

    Returns
    -------
    tensor of shape (784,)
        Means, then standard deviations over frames, of ``frame_statistics``.
    """
    statistics = frame_statistics(frames / 100)
    return torch.cat([statistics.mean(0), statistics.std(0, correction=0)])


def frame_statistics(frames: Float32[Tensor, "t 3 h w"]) -> Float32[Tensor, "t d"]:
    """Describe each frame on its own.

    In each cell of the grid: mean luminance, red-green and yellow-blue, contrast (standard deviation of luminance),
    and edge energy (mean absolute derivative of luminance) in 4 directions: 0, 45, 90 and 135 degrees. For the whole
    frame: mean and standard deviation of the three colour axes, asymmetry of luminance (cube root of the third central
    moment, in units of luminance), and the slope of the amplitude spectrum (-1 to -1.6 in natural scenes; Field 1987).

    Parameters
    ----------
    frames : tensor of shape (t, 3, h, w)
        L*a*b*, divided by 100.

    Returns
    -------
    tensor of shape (t, 392)
        48 cells by 8 statistics, then 8 of the whole frame.
    """
    luminance = frames[:, 0]
    cells = _cells(frames)
    local = [cells.mean(-1), cells[:, :1].std(-1, correction=0), _cells(_edges(luminance)).mean(-1)]
    pixels = frames.flatten(2)
    third = (pixels[:, 0] - pixels[:, 0].mean(-1, keepdim=True)).pow(3).mean(-1, keepdim=True)
    whole = [
        pixels.mean(-1),
        pixels.std(-1, correction=0),
        third.sign() * third.abs() ** (1 / 3),
        spectral_slope(luminance)[:, None],
    ]
    return torch.cat([torch.cat(local, dim=1).flatten(1), *whole], dim=1)


def spectral_slope(luminance: Float32[Tensor, "t h w"]) -> Float32[Tensor, " t"]:
    """Fit the slope of log amplitude over log spatial frequency (Field 1987).

    Parameters
    ----------
    luminance : tensor of shape (t, h, w)
        From 0 to 1.

    Returns
    -------
    tensor of shape (t,)
        From -1 to -1.6 for natural scenes, 0 for white noise and for a frame without contrast.
    """
    height, width = luminance.shape[1:]
    device = luminance.device
    taper = torch.outer(*(torch.hann_window(n, periodic=False, device=device) for n in (height, width)))
    level = (luminance * taper).sum((1, 2), keepdim=True) / taper.sum()
    power = torch.fft.rfft2((luminance - level) * taper, norm="ortho").abs() ** 2
    # rings of half an octave from 2 cycles a frame height to Nyquist: equal steps in log frequency, many waves in each
    down = torch.fft.fftfreq(height, d=1 / height, device=device)[:, None]
    along = torch.fft.rfftfreq(width, d=1 / height, device=device)
    rings = torch.log2((down**2 + along**2) / 4).floor()
    steps = torch.arange(int(2 * math.log2(height / 4)), device=device)
    members = (rings.flatten() == steps[:, None]).to(power.dtype)
    mean_power = power.flatten(1) @ (members / members.sum(1, keepdim=True)).T
    # a contrast of a thousandth and less counts as none
    log_amplitude = 0.5 * torch.log2(mean_power + 1e-6)
    position = (steps - steps.to(power.dtype).mean()) / 2
    return (log_amplitude - log_amplitude.mean(1, keepdim=True)) @ position / position.square().sum()


def _cells(maps: Float32[Tensor, "t c h w"]) -> Float32[Tensor, "t c cells pixels"]:
    rows, columns = GRID
    cut = maps.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
    return cut.transpose(3, 4).flatten(4).flatten(2, 3)


def _edges(luminance: Float32[Tensor, "t h w"]) -> Float32[Tensor, "t 4 h w"]:
    """Return absolute derivatives to the right, up right, up and up left, per width of a cell."""
    right, down = (torch.gradient(luminance, dim=dim)[0] for dim in (2, 1))
    derivatives = [right, (right - down) / 2**0.5, -down, (-right - down) / 2**0.5]
    return torch.stack(derivatives, dim=1).abs() * (luminance.shape[-1] / GRID[1])
