"""Image encoders of the transformers library: every frame on its own, embeddings averaged over the clip."""

from collections.abc import Sequence

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
        clips, frames = batch.shape[:2]
        rule, prefix = self.resolved.pooling, int(self.card.options.get("prefix_tokens", 0))

        def features(layer: str, tokens: Tensor) -> Tensor:
            of_frames = (
                pool(tokens, rule, prefix)
                if layer in self.card.layers
                else leaf_vectors(self.model.get_submodule(layer), tokens, clips * frames, rule)
            )
            return of_frames.unflatten(0, (clips, frames)).mean(1)

        return collect(
            self.model,
            layers,
            lambda: self.forward(self.preprocess.normalise(batch.flatten(0, 1).to(self.device))),
            features,
            reduce,
        )
