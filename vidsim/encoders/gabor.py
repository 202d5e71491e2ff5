"""Gabor: a bank of spatiotemporal Gabor filters that tile the frame (Adelson & Bergen 1985; Nishimoto et al. 2011).

The filters, their places and units are those of pymoten's ``MotionEnergyPyramid``. A spatial Gabor pair is one complex
image exp(i(ux + vy)) under an isotropic Gaussian, so it is an outer product of a column and a row: the responses of a
whole grid of filters are ``rows @ frame @ columns``, exact, with no filter ever laid out over the frame. The filter of
the opposite direction is the complex conjugate and reuses the response.

Two things differ from pymoten 0.1.3. It leaves out pixels where a filter is below 0.001; here they count. And a filter
is named here for the motion that drives it: what pymoten calls 0 degrees (right) answers to motion to the left,
since filters are turned round in time when they are convolved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from vidsim.errors import VidsimError


@dataclass(frozen=True)
class Gabor:
    """Describe one filter.

    Parameters
    ----------
    x, y : float
        Centre in frame heights, from the left and from the top.
    direction : float
        Direction of motion in degrees: 0 right, 90 up. A static filter has an orientation only, that of its waves.
    spatial : float
        Spatial frequency in cycles per frame height; 0 for a local blob.
    width : float
        Standard deviation of the spatial Gaussian in frame heights.
    temporal : float
        Temporal frequency in Hz; 0 for a static filter.
    duration : float
        Standard deviation of the temporal Gaussian in filter lengths.
    """

    x: float
    y: float
    direction: float
    spatial: float
    width: float
    temporal: float
    duration: float


class GaborBank:
    """Compute log motion energy of filters at several places, frequencies and directions (Nishimoto et al. 2011).

    Parameters
    ----------
    size : tuple of int
        Height and width of a frame in pixels.
    fps : float
        Frames per second.
    spatial : sequence of float
        Spatial frequencies in cycles per frame height; every one brings local blobs of its width.
    temporal : sequence of float
        Temporal frequencies in Hz.
    directions : sequence of float
        Directions of motion in degrees, below 360; the opposite of each below 180 is there too.
    spacing : float
        Distance between neighbouring filters, in standard deviations.
    device : str
        Where to compute.

    Attributes
    ----------
    filters : tuple of Gabor
        The filters, in the order of the energies.
    frames : int
        Length of a filter in frames: two thirds of a second.
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: float,
        *,
        spatial: Sequence[float | int] = (2, 4, 8, 16),
        temporal: Sequence[float | int] = (0, 2, 4),
        directions: Sequence[float | int] = (0, 45, 90, 135, 180, 225, 270, 315),
        spacing: float = 3.5,
        device: str = "cpu",
    ) -> None:
        spatial, temporal, directions = ([float(value) for value in given] for given in (spatial, temporal, directions))
        self.size = size
        self.frames = int(fps * 2 / 3)
        orientations = [d for d in directions if d < 180]
        if sorted(directions) != sorted([*orientations, *(d + 180 for d in orientations)]):
            raise VidsimError(f"expected directions in opposite pairs, got {', '.join(f'{d:g}' for d in directions)}")
        if not self.frames:
            raise VidsimError(f"expected at least 1.5 frames per second for motion energy, got {fps:g}")
        self._grids = [_Grid(size, f, orientations, spacing, device) for f in spatial]
        durations = {f: min(10 / f if f else math.inf, 0.3) for f in temporal}
        kernels = [_kernel(self.frames, fps, f, durations[f]) for f in temporal]
        # a kernel for each frequency and sense of motion; a static filter has no sense
        senses = [(f, opposite) for f in temporal for opposite in (False, True) if f or not opposite]
        pairs = [kernels[temporal.index(f)] for f, _ in senses]
        self._kernels = torch.stack(
            [k.conj() if opposite else k for k, (_, opposite) in zip(pairs, senses, strict=True)]
        )
        self._kernels = self._kernels.resolve_conj().to(device)
        # where each filter stands among the products of spatial responses and kernels
        self.filters, places = _ordered(self._grids, directions, temporal, durations, senses)
        self._places = torch.tensor(places, device=device)

    def log_energy(self, luminance: Float32[Tensor, "windows t h w"]) -> Float32[Tensor, "windows valid filters"]:
        """Return log(|response| + 1e-5) wherever a filter lies wholly inside its window.

        Parameters
        ----------
        luminance : tensor of shape (windows, t, h, w)
            Luminance L*, from 0 to 100, of runs of consecutive frames.

        Returns
        -------
        tensor of shape (windows, t - frames + 1, filters)
            Log energies; the response at the first is to frames 0 to ``frames - 1``.

        Raises
        ------
        VidsimError
            If frames have another size, or a window is shorter than the filters.
        """
        windows, t, *size = luminance.shape
        if tuple(size) != self.size or t < self.frames:
            raise VidsimError(
                f"expected windows of at least {self.frames} frames of {self.size[0]}x{self.size[1]} pixels, "
                f"got {t} frames of {size[0]}x{size[1]}"
            )
        frames = luminance.flatten(0, 1)
        spatial = torch.cat([grid.respond(frames).flatten(1) for grid in self._grids], dim=1)
        runs = spatial.unflatten(0, (windows, t)).unfold(1, self.frames, 1)
        energy = (runs @ self._kernels.T).abs()
        return (energy.flatten(2)[..., self._places] + 1e-5).log()


class _Grid:
    """The spatial filters of one frequency: blobs, then one Gabor pair for each orientation, on a grid of places."""

    def __init__(
        self, size: tuple[int, int], frequency: float, orientations: Sequence[float], spacing: float, device: str
    ) -> None:
        height, width = size
        self.frequency = frequency
        self.width = min(0.6 / frequency, 0.3)
        self.ys = _centres(1.0, spacing * self.width)
        self.xs = _centres(width / height, spacing * self.width)
        self.kinds = [None, *orientations]
        rows, columns = [], []
        for orientation in self.kinds:
            angle = math.radians(orientation or 0)
            cycles = 0.0 if orientation is None else frequency
            columns.append(_waves(width, width / height, self.xs, cycles * math.cos(angle), self.width))
            # image rows count downwards
            rows.append(_waves(height, 1.0, self.ys, -cycles * math.sin(angle), self.width))
        stacked = torch.cat(columns)
        # frames are real: the real and the imaginary part of the columns are two more sets of real columns
        self._columns = torch.cat([stacked.real, stacked.imag]).T.to(torch.float32).contiguous().to(device)
        self._rows = torch.stack(rows).to(torch.complex64).to(device)

    def respond(self, frames: Float32[Tensor, "n h w"]) -> Complex64[Tensor, "n kinds y x"]:
        """Return the responses of all filters to each frame: cosine phase + i sine phase."""
        real, imaginary = (frames @ self._columns).chunk(2, dim=-1)
        across = torch.complex(real.contiguous(), imaginary.contiguous())
        across = across.unflatten(-1, (len(self.kinds), len(self.xs)))
        return torch.einsum("kyh,nhkx->nkyx", self._rows, across)


def _centres(extent: float, step: float) -> list[float]:
    """Place filters symmetrically about the middle, as many as fit."""
    aside = max(math.floor((extent - step) / step / 2), 0)
    return [step * i + extent / 2 for i in range(-aside, aside + 1)]


def _waves(pixels: int, extent: float, centres: Sequence[float], cycles: float, width: float) -> Tensor:
    """Return one complex wave under a Gaussian for every centre, in double precision: (centres, pixels)."""
    at = torch.linspace(0, extent, pixels, dtype=torch.float64) - torch.tensor(centres, dtype=torch.float64)[:, None]
    return torch.polar(torch.exp(-(at**2) / (2 * width**2)), 2 * math.pi * cycles * at)


def _kernel(frames: int, fps: float, frequency: float, duration: float) -> Complex64[Tensor, " frames"]:
    """Return a temporal Gabor, latest frame first turned round: ready for a product with consecutive frames."""
    at = torch.arange(frames, dtype=torch.float64) / frames - 0.5
    kernel = torch.polar(torch.exp(-(at**2) / (2 * duration**2)), 2 * math.pi * frequency * frames / fps * at)
    return kernel.flip(0).to(torch.complex64)


def _ordered(
    grids: Sequence[_Grid],
    directions: Sequence[float],
    temporal: Sequence[float],
    durations: dict[float, float],
    senses: Sequence[tuple[float, bool]],
) -> tuple[tuple[Gabor, ...], list[int]]:
    """List the filters by frequency, direction and place, each with its place among spatial responses x kernels."""
    filters: list[Gabor] = []
    places: list[int] = []
    start = 0
    for grid in grids:
        across, down = range(len(grid.xs)), range(len(grid.ys))
        for direction, x, y, f in product(directions, across, down, temporal):
            kinds = [direction % 180] if f or direction < 180 else []
            for kind in [*kinds, None] if direction == 0 else kinds:
                response = start + (grid.kinds.index(kind) * len(down) + y) * len(across) + x
                places.append(response * len(senses) + senses.index((f, direction >= 180)))
                cycles = 0.0 if kind is None else grid.frequency
                filters.append(Gabor(grid.xs[x], grid.ys[y], direction, cycles, grid.width, f, durations[f]))
        start += len(grid.kinds) * len(down) * len(across)
    return tuple(filters), places
