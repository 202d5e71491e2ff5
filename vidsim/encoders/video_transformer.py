"""Video transformers of the transformers library: frames in, token maps of every block out."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from vidsim.encoders.activations import collect, find_modules, pool
from vidsim.encoders.base import EncoderCard, Reduce
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.weights import check_fit, load_strictly, safe_folder
from vidsim.errors import VidsimError


class VideoTransformer:
    """Encode clips with TimeSformer, VideoMAE and their like.

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
        assert card.sampling is not None
        assert card.architecture is not None
        self.card: EncoderCard = card
        self.resolved = resolved
        self.device = device
        self.preprocess = Preprocess.from_config(resolved.preprocess, card.architecture)
        model = load_strictly(card.architecture, safe_folder(resolved), heads=card.options.get("heads", ()))
        config = model.config
        size = (card.size, card.size)
        check_fit(
            model,
            resolved,
            frames=(card.sampling.frames, config.num_frames),
            image_size=(card.size, config.image_size),
            frames_prepared_at=(size, self.preprocess.size),
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
        check_frames(self.card, batch)
        prefix = int(self.card.options.get("prefix_tokens", 0))
        return collect(
            self.model,
            layers,
            lambda: self.model(pixel_values=self.preprocess.normalise(batch.to(self.device))),
            lambda tokens: pool(tokens, self.resolved.pooling, prefix),
            reduce,
        )


def check_frames(card: EncoderCard, batch: UInt8[Tensor, "b t 3 h w"]) -> None:
    """Refuse a batch that the model was not trained for.

    Parameters
    ----------
    card : EncoderCard
        The model's card.
    batch : tensor of shape (b, t, 3, h, w)
        Prepared frames.

    Raises
    ------
    VidsimError
        If the number or the size of frames differs; both values are told.
    """
    assert card.sampling is not None
    if batch.shape[1] != card.sampling.frames:
        raise VidsimError(f"{card.name} takes {card.sampling.frames} frames a clip, {batch.shape[1]} came")
    if tuple(batch.shape[-2:]) != (card.size, card.size):
        came = "x".join(map(str, batch.shape[-2:]))
        raise VidsimError(f"{card.name} takes frames of {card.size}x{card.size} pixels, {came} came")
