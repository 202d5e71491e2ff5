"""Frame tower: clips embedded by their frames, with gradients."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vidsim.adapt.held import Held
from vidsim.adapt.network import Network, graphed
from vidsim.encoders.frame_encoder import FramedEncoder


class FrameTower:
    """Embed clips by their frames.

    Parameters
    ----------
    encoder : FramedEncoder
        The encoder.
    frames : callable
        Takes an id; returns its prepared frames, of shape (t, 3, h, w).
    layer : str
        Layer whose pooled output is trained.
    """

    def __init__(
        self,
        encoder: FramedEncoder,
        frames: Callable[[str], UInt8[Tensor, "t 3 h w"]],
        layer: str,
    ) -> None:
        self._encoder = encoder
        self._layer = layer
        self._frames = Held(frames, encoder.device)
        self._network = Network(encoder, layer)
        self._graphed: Callable[[Tensor], Tensor] | None = None
        self._clips = 0

    def __call__(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed clips.

        Parameters
        ----------
        ids : sequence of str
            Stimuli.
        rng : Generator, optional
            Nothing is drawn: clips are seen as they are where nothing is trained.

        Returns
        -------
        tensor of shape (n, d)
            Pooled by the card's rule.

        Raises
        ------
        VidsimError
            If the network cannot run as its checkpoint and its card have it.
        """
        pixels = self._pixels(ids)
        if self._graphed is None:
            with self._encoder.first_pass.told():
                return self._network(pixels)
        if len(ids) == self._clips and torch.is_grad_enabled() and self._encoder.model.training:
            return self._graphed(pixels)
        with torch.compiler.set_stance("force_eager"):  # steps of other sizes are few, and each size is compiled anew
            return self._network(pixels)

    def graph(self, ids: Sequence[str], precision: torch.dtype) -> None:
        """Run the passes of batches of as many clips as CUDA graphs from now on: see `graphed`.

        Each forward pass with gradients must be followed by its backward pass before the next one begins.

        Parameters
        ----------
        ids : sequence of str
            Stimuli of a batch.
        precision : dtype
            Of matrix products.

        Raises
        ------
        VidsimError
            If the network does what cannot be captured.
        """
        model = self._encoder.model
        training = model.training
        network = Network(self._encoder, self._layer).train()
        self._graphed, self._clips = graphed(network, self._pixels(ids), precision), len(ids)
        model.train(training)

    def _pixels(self, ids: Sequence[str]) -> Float[Tensor, "n t 3 h w"]:
        batch = torch.stack([self._frames(name) for name in ids])
        self._encoder.check_frames(batch)
        return self._encoder.preprocess.normalise(batch)
