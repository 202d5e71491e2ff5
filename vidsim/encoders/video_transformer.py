"""Video transformers of the transformers library: frames in, token maps of every block out."""

from collections.abc import Sequence

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from vidsim.encoders.activations import collect, pool
from vidsim.encoders.base import Reduce
from vidsim.encoders.frame_encoder import FrameEncoder
from vidsim.encoders.leaves import leaf_vectors


class VideoTransformer(FrameEncoder):
    """Encode clips with TimeSformer, VideoMAE, ViViT, V-JEPA 2 and their like."""

    def encode(
        self, batch: UInt8[Tensor, "b t 3 h w"], layers: Sequence[str], reduce: Reduce
    ) -> dict[str, Float[ndarray, "b _"]]:
        """Run one forward pass and reduce every wanted layer inside it.

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
            If the clips have another number of frames, or frames of another size, than the model was trained on.
        """
        self.check_frames(batch)
        return collect(
            self.model,
            layers,
            lambda: self.forward(self.preprocess.normalise(batch.to(self.device))),
            lambda layer, tokens: self.pooled(layer, tokens, len(batch)),
            reduce,
        )

    def pooled(self, layer: str, tokens: Float[Tensor, "rows ..."], clips: int) -> Float[Tensor, "clips features"]:
        """Turn a layer's output into one vector per clip.

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
        rule = self.resolved.pooling
        if layer not in self.card.layers:
            return leaf_vectors(self.model.get_submodule(layer), tokens, clips, rule)
        return pool(tokens, rule, int(self.card.options.get("prefix_tokens", 0)))
