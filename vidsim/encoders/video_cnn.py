"""Video CNNs of the PyTorchVideo model zoo: frames in, feature maps of every block out."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidsim.encoders.activations import capture, pool_maps
from vidsim.encoders.base import EncoderCard
from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.frame_encoder import FramedEncoder, check_width
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
        check_width(card, widths(model, card))
        fill_strictly(model, resolved)
        check_fit(model, resolved)
        self.model = model.to(device)

    def forward(self, pixels: Float[Tensor, "b t 3 h w"]) -> Any:
        """Run the network.

        Parameters
        ----------
        pixels : tensor of shape (b, t, 3, size, size)
            Normalised clips.

        Returns
        -------
        tensor
            Of the network's head.
        """
        return self.model(pixels.transpose(1, 2))

    def pooled(self, layer: str, output: Any, clips: int) -> Float[Tensor, "clips features"]:
        """Turn a layer's output into one vector per clip.

        Parameters
        ----------
        layer : str
            Layer of the card, or any other module.
        output : tensor, or list of them
            Its feature maps; of a network with several pathways, those of all.
        clips : int
            Clips of the batch.

        Returns
        -------
        tensor of shape (clips, features)
            Pooled.
        """
        if layer not in self.card.layers and isinstance(output, Tensor):
            return leaf_vectors(self.model.get_submodule(layer), output, clips, self.resolved.pooling)
        return pool_maps(output, self.resolved.pooling)


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


def widths(model: nn.Module, card: EncoderCard) -> dict[str, int]:
    """Run a card's network on nothing, to see whether its frames come through, and how wide its layers are.

    Parameters
    ----------
    model : Module
        The network, on the meta device.
    card : EncoderCard
        Its card.

    Returns
    -------
    dict of str to int
        Features of every layer.

    Raises
    ------
    VidsimError
        If it has no such layer, or frames of the card's number and size do not fit it.
    """
    assert card.sampling is not None
    assert card.size is not None
    found: dict[str, int] = {}

    def sink(layer: str, output: Any) -> None:
        found[layer] = sum(maps.shape[1] for maps in (output if isinstance(output, list) else [output]))

    clip = torch.empty(1, 3, card.sampling.frames, card.size, card.size, device="meta")
    try:
        with torch.no_grad(), capture(model.eval(), card.layers, sink):
            model(clip)
    except RuntimeError as error:
        frames, trained = card.sampling.frames, card.options.get("trained_size", card.size)
        raise VidsimError(
            f"{card.name} cannot take {frames} frames of {card.size}x{card.size} pixels, trained on {trained}: "
            f"{str(error).splitlines()[0]}; expected frames, size and options.trained_size in its card that fit "
            f"{card.architecture}"
        ) from error
    return found
