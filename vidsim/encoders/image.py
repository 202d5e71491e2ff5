"""Image encoders of the transformers library: every frame on its own, embeddings averaged over the clip."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from vidsim.encoders.frame_encoder import FrameEncoder


class ImageEncoder(FrameEncoder):
    """Encode clips with CLIP, SigLIP, DINO and their like (paper: seven frames, embeddings averaged)."""

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
