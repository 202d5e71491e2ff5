"""Image encoders of the transformers library: every frame on its own, embeddings averaged over the clip."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from vidsim.encoders.activations import collect, pool
from vidsim.encoders.base import Reduce
from vidsim.encoders.frame_encoder import FrameEncoder
from vidsim.encoders.leaves import leaf_vectors


class ImageEncoder(FrameEncoder):
    """Encode clips with CLIP, SigLIP, DINO and their like (paper: seven frames, embeddings averaged)."""

    def encode(
        self, batch: UInt8[Tensor, "b t 3 h w"], layers: Sequence[str], reduce: Reduce
    ) -> dict[str, Float[ndarray, "b _"]]:
        """Run one forward pass over all frames; pool each frame, average over the clip, then reduce.

        Parameters
        ----------
        batch : tensor of shape (b, t, 3, size, size)
            Prepared frames of b clips.
        layers : sequence of str
            Layers of the card.
        reduce : Reduce
            Takes a layer's name and its pooled features.

        Returns
        -------
        dict of str to array of shape (b, dims)
            float32 embeddings.

        Raises
        ------
        VidsimError
            If the clips have another number of frames than the card says, or frames of another size.
        """
        self.check_frames(batch)
        return collect(
            self.model,
            layers,
            lambda: self.forward(self.preprocess.normalise(batch.to(self.device))),
            lambda layer, tokens: self.pooled(layer, tokens, len(batch)),
            reduce,
        )

    def forward(self, pixels: Float[Tensor, "*b 3 h w"]) -> Any:
        """Run the model on frames.

        Parameters
        ----------
        pixels : tensor of shape (frames, 3, size, size), or (clips, frames, 3, size, size)
            Normalised.

        Returns
        -------
        ModelOutput
            Of the upstream library, a row a frame.
        """
        return super().forward(pixels.flatten(0, -4))

    def pooled(self, layer: str, tokens: Float[Tensor, "rows ..."], clips: int) -> Float[Tensor, "clips features"]:
        """Turn a layer's output into one vector per clip, the mean over its frames.

        Parameters
        ----------
        layer : str
            Layer of the card, or any other module.
        tokens : tensor of shape (rows, ...)
            Its output.
        clips : int
            Clips of the batch.

        Returns
        -------
        tensor of shape (clips, features)
            Gradients are followed.
        """
        assert self.card.sampling is not None
        rule, frames = self.resolved.pooling, self.card.sampling.frames
        of_frames = (
            pool(tokens, rule, int(self.card.options.get("prefix_tokens", 0)))
            if layer in self.card.layers
            else leaf_vectors(self.model.get_submodule(layer), tokens, clips * frames, rule)
        )
        return of_frames.unflatten(0, (clips, frames)).mean(1)
