"""Image encoders of the transformers library: every frame on its own, embeddings averaged over the clip."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from vidsim.encoders.activations import collect, find_modules, pool
from vidsim.encoders.base import EncoderCard, Reduce
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.video_transformer import check_frames
from vidsim.encoders.weights import check_fit, load_strictly, safe_folder


class ImageEncoder:
    """Encode clips with CLIP's vision tower, DINO and their like (paper: seven frames, embeddings averaged).

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If the checkpoint does not fit the card.
    """

    def __init__(self, resolved: Resolved, device: str) -> None:
        card = resolved.card
        assert card.architecture is not None
        self.card: EncoderCard = card
        self.resolved = resolved
        self.device = device
        self.preprocess = Preprocess.from_config(resolved.preprocess, card.architecture)
        options = card.options
        model = load_strictly(
            card.architecture, safe_folder(resolved), heads=options.get("heads", ()), **options.get("init", {})
        )
        config = model.config
        check_fit(
            model,
            resolved,
            image_size=(card.size, config.image_size),
            frames_prepared_at=((card.size, card.size), self.preprocess.size),
            blocks=(len([name for name in card.layers if name[-1].isdigit()]), config.num_hidden_layers),
        )
        find_modules(model, card.layers)
        self.model = model.to(device)

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the embeddings, and where the weights came from."""
        return self.resolved.provenance

    def prepare(self, stimulus: UInt8[ndarray, "h w 3"]) -> UInt8[Tensor, "3 size size"]:
        """Resize and crop one decoded frame.

        Parameters
        ----------
        stimulus : array of shape (h, w, 3)
            RGB frame.

        Returns
        -------
        tensor of shape (3, size, size)
            What a batch is stacked from.
        """
        return self.preprocess.frame(stimulus)

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
        check_frames(self.card, batch)
        clips, frames = batch.shape[:2]
        prefix = int(self.card.options.get("prefix_tokens", 0))

        def features(tokens: Tensor) -> Tensor:
            return pool(tokens, self.resolved.pooling, prefix).unflatten(0, (clips, frames)).mean(1)

        return collect(
            self.model,
            layers,
            lambda: self.model(pixel_values=self.preprocess.normalise(batch.flatten(0, 1).to(self.device))),
            features,
            reduce,
        )
