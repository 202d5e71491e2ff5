"""Motion energy: a control model without weights, for what can be had from filters alone.

A clip is described by the log energy of 1,840 spatiotemporal Gabor filters (Adelson & Bergen 1985; Nishimoto et al.
2011; the filters and units of pymoten) and by 784 appearance statistics. Layers, all averaged over the clip:

- ``energy.sf0`` to ``energy.sf16``: filters of one spatial frequency, in cycles per frame height (0: local blobs);
- ``energy.tf0`` to ``energy.tf4``: filters of one temporal frequency, in Hz (0: static, so form without motion);
- ``energy``: all filters;
- ``appearance``: colour, contrast, edges and spectrum of single frames (see `vidsim.encoders.appearance`);
- ``combined``: energy and appearance, each centred over its features and scaled to unit length. The cosine between
  two clips is then the mean of two Pearson correlations.

A block without any contrast between its features (the energies of a black clip) has no correlation with anything, and
a vector of zeros has no cosine. ``appearance`` and both halves of ``combined`` therefore have one more coordinate, a
constant that counts for as much as a standard deviation of 0.001 over the block's features: nothing for real clips, but
flat blocks are equal to each other (1) and unlike all others (0).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import interpolate

from vidsim.encoders.appearance import appearance
from vidsim.encoders.base import EncoderCard, Reduce
from vidsim.encoders.colour import lab, luminance
from vidsim.encoders.gabor import GaborBank
from vidsim.errors import VidsimError

HEIGHT, WIDTH = 96, 128
SPATIAL = (2, 4, 8, 16)
TEMPORAL = (0, 2, 4)
DIRECTIONS = (0, 45, 90, 135, 180, 225, 270, 315)
FRAMES_PER_LOOK = 4
"""Appearance changes slowly: every fourth frame is looked at."""
FLAT = 1e-3


class MotionEnergy:
    """Encode clips by motion energy and appearance.

    Parameters
    ----------
    card : EncoderCard
        Layers, and a sampling with a frame rate whose windows are not shorter than the filters (2/3 s).
    device : str
        Where to compute.

    Raises
    ------
    VidsimError
        If the card's sampling or layers do not fit.
    """

    def __init__(self, card: EncoderCard, device: str = "cpu") -> None:
        self.card: EncoderCard = card
        self.device = device
        sampling = card.sampling
        if sampling is None or sampling.fps is None or sampling.frames % sampling.windows:
            raise VidsimError(f"{card.name} needs windows of equally many frames at a frame rate, got {sampling}")
        self.windows, self.frames = sampling.windows, sampling.frames
        self.bank = GaborBank(
            (HEIGHT, WIDTH),
            sampling.fps,
            spatial=SPATIAL,
            temporal=TEMPORAL,
            directions=DIRECTIONS,
            device=device,
        )
        if self.frames // self.windows < self.bank.frames:
            raise VidsimError(
                f"{card.name} needs windows of at least {self.bank.frames} frames at {sampling.fps:g} frames per "
                f"second, got {self.frames // self.windows}"
            )
        filters = self.bank.filters
        self._members = {
            **{f"energy.sf{f}": _where([g.spatial == f for g in filters], device) for f in (0, *SPATIAL)},
            **{f"energy.tf{f}": _where([g.temporal == f for g in filters], device) for f in TEMPORAL},
        }
        known = (*self._members, "energy", "appearance", "combined")
        unknown = [layer for layer in card.layers if layer not in known]
        if unknown:
            raise VidsimError(f"{card.name} has no layer {unknown[0]!r}; expected some of {', '.join(known)}")

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the embeddings."""
        sampling = self.card.sampling
        assert sampling is not None
        return {
            "encoder": self.card.name,
            "family": self.card.family,
            "sampling": {"frames": sampling.frames, "fps": sampling.fps, "windows": sampling.windows},
            "size": [HEIGHT, WIDTH],
            "resize": "antialiased bilinear, aspect ratio not kept",
            "spatial_frequencies": list(SPATIAL),
            "temporal_frequencies": list(TEMPORAL),
            "directions": list(DIRECTIONS),
            "filters": len(self.bank.filters),
            "filter_frames": self.bank.frames,
            "frames_per_look": FRAMES_PER_LOOK,
            "published": self.card.source,
        }

    def prepare(self, stimulus: UInt8[ndarray, "h w 3"]) -> UInt8[Tensor, "3 96 128"]:
        """Shrink one decoded frame to 96 x 128 pixels; the aspect ratio is not kept, so nothing is cut off or added.

        Parameters
        ----------
        stimulus : array of shape (h, w, 3)
            RGB frame.

        Returns
        -------
        tensor of shape (3, 96, 128)
            What a batch is stacked from.
        """
        # a rotated frame has negative strides, which torch does not take
        frame = torch.from_numpy(np.require(stimulus, requirements=["C", "W"])).permute(2, 0, 1)[None]
        return interpolate(frame, size=(HEIGHT, WIDTH), mode="bilinear", antialias=True)[0].contiguous()

    def encode(
        self, batch: UInt8[Tensor, "b t 3 h w"], layers: Sequence[str], reduce: Reduce
    ) -> dict[str, Float[ndarray, "b _"]]:
        """Encode every clip on its own, so that its numbers do not depend on the batch.

        Parameters
        ----------
        batch : tensor of shape (b, t, 3, 96, 128)
            Prepared frames.
        layers : sequence of str
            Layers wanted.
        reduce : callable
            Applied to each layer of the batch.

        Returns
        -------
        dict
            One array of shape (b, dims) a layer.

        Raises
        ------
        VidsimError
            If clips have another number of frames than the card says.
        """
        if batch.shape[1] != self.frames:
            raise VidsimError(f"{self.card.name} takes {self.frames} frames a clip, got {batch.shape[1]}")
        with torch.inference_mode():
            clips = [self._describe(clip, layers) for clip in batch]
            return {
                layer: reduce(layer, torch.stack([clip[layer] for clip in clips])).float().cpu().numpy()
                for layer in layers
            }

    def _describe(self, clip: UInt8[Tensor, "t 3 h w"], layers: Sequence[str]) -> dict[str, Float32[Tensor, " d"]]:
        looks = lab(clip[FRAMES_PER_LOOK // 2 :: FRAMES_PER_LOOK]).to(self.device)
        frames = luminance(clip).to(self.device).unflatten(0, (self.windows, -1))
        energy = self.bank.log_energy(frames).mean((0, 1))
        look = appearance(looks)
        of = {name: energy[members] for name, members in self._members.items() if name in layers}
        combined = torch.cat([_unit(_with_constant(part - part.mean())) for part in (energy, look)])
        return of | {"energy": energy, "appearance": _with_constant(look), "combined": combined}


def _where(members: Sequence[bool], device: str) -> Tensor:
    return torch.tensor(members, device=device).nonzero()[:, 0]


def _with_constant(block: Float32[Tensor, " d"]) -> Float32[Tensor, " d1"]:
    return torch.cat([block, block.new_tensor([FLAT * len(block) ** 0.5])])


def _unit(vector: Float32[Tensor, " d"]) -> Float32[Tensor, " d"]:
    return vector / torch.linalg.vector_norm(vector)
