"""Video CNNs of the PyTorchVideo model zoo: frames in, feature maps of every block out."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from vidsim.encoders.activations import collect, find_modules, pool_maps
from vidsim.encoders.base import EncoderCard, Reduce
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.frame_encoder import FramedEncoder
from vidsim.encoders.leaves import leaf_vectors
from vidsim.encoders.resnet3d import resnet3d
from vidsim.encoders.short_side import ShortSide
from vidsim.encoders.slowfast import slowfast
from vidsim.encoders.weights import check_fit, fill_strictly
from vidsim.encoders.x3d import x3d
from vidsim.errors import VidsimError

BUILDERS: Mapping[str, Callable[..., nn.Module]] = {
    "X3D": x3d,
    "C2D": partial(resnet3d, stem=1, times=((1,), (1,), (1,), (1,)), halved=True),
    "I3D": partial(resnet3d, stem=5, times=((3,), (3, 1), (3, 1), (1, 3)), halved=True),
    "Slow": partial(resnet3d, stem=1, times=((1,), (1,), (3,), (3,))),
    "SlowFast": slowfast,
}
"""By architecture: what takes the frames and the size a network was trained on, and builds it."""


class VideoCNN(FramedEncoder):
    """Encode clips with X3D, C2D, I3D, Slow and SlowFast.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose file has been found.
    device : str
        Device as torch names it.

    Raises
    ------
    VidsimError
        If the checkpoint does not fit the card.
    """

    def __init__(self, resolved: Resolved, device: str) -> None:
        card = resolved.card
        super().__init__(resolved, device, ShortSide.from_card(resolved.preprocess))
        with torch.device("meta"):
            model = build(card)
        find_modules(model, card.layers)
        fill_strictly(model, resolved)
        check_fit(model, resolved)
        self.model = model.to(device)

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

        def features(layer: str, maps: Tensor | list[Tensor]) -> Tensor:
            if layer not in self.card.layers and isinstance(maps, Tensor):
                return leaf_vectors(self.model.get_submodule(layer), maps, len(batch), self.resolved.pooling)
            return pool_maps(maps, self.resolved.pooling)

        return collect(
            self.model,
            layers,
            lambda: self.model(self.preprocess.normalise(batch.to(self.device)).transpose(1, 2)),
            features,
            reduce,
        )


def build(card: EncoderCard) -> nn.Module:
    """Build a card's network, on torch's default device, with weights that mean nothing yet.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog, of this family.

    Returns
    -------
    Module
        The network.

    Raises
    ------
    VidsimError
        If its architecture is not known.
    """
    builder = BUILDERS.get(card.architecture or "")
    if builder is None:
        raise VidsimError(f"no architecture {card.architecture!r} for {card.name}; expected {', '.join(BUILDERS)}")
    assert card.sampling is not None
    # the size of the training crops; on the larger test crops the head slides, as in the published evaluation
    size = card.options.get("trained_size", card.size)
    return builder(card.sampling.frames, size, **card.options.get("init", {}))
