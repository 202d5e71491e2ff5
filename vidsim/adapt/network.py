"""Network: a frame encoder from pixels to the vectors that are trained, and its passes as CUDA graphs."""

import gc
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidsim.adapt.feasible import COMPILER
from vidsim.encoders.activations import capture, single
from vidsim.encoders.frame_encoder import FramedEncoder
from vidsim.encoders.machine import lacks_memory
from vidsim.errors import VidsimError

BEFORE_MLP: Mapping[str, str] = {
    "TimesformerModel": "layernorm_after",
    "VivitModel": "layernorm_after",
    "ViTModel": "layernorm_after",
    "CLIPVisionModel": "layer_norm2",
    "Dinov2Model": "norm2",
    "DINOv3ViTModel": "norm2",
}
"""By architecture, what a block's MLP reads; its output is added to the tokens."""


class Network(nn.Module):
    """Run a frame encoder as far as the layer that is trained.

    Where the CLS token is all that is read of the last block, its MLP computes nothing else in training: half of the
    block's work.

    Parameters
    ----------
    encoder : FramedEncoder
        A transformer.
    layer : str
        Layer whose pooled output is trained.
    """

    def __init__(self, encoder: FramedEncoder, layer: str) -> None:
        super().__init__()
        self.model: nn.Module = encoder.model
        self._encoder, self._layer = encoder, layer
        card = encoder.card
        if card.architecture in BEFORE_MLP and encoder.resolved.pooling == "cls" and layer not in card.blocks[:-1]:
            reads = self.model.get_submodule(f"{card.blocks[-1]}.{BEFORE_MLP[str(card.architecture)]}")
            reads.register_forward_pre_hook(_first_token)

    def forward(self, pixels: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """Embed clips.

        Parameters
        ----------
        pixels : tensor of shape (b, t, 3, size, size)
            Normalised.

        Returns
        -------
        tensor of shape (b, d)
            Pooled by the card's rule, float32.
        """
        seen: dict[str, Any] = {}
        if self._layer == self._encoder.returned:
            seen[self._layer] = self._encoder.forward(pixels)
        else:
            with capture(self.model, [self._layer], seen.__setitem__):
                self._encoder.forward(pixels)
        # under autocast blocks may give halves: means over tokens are taken in single precision, as by extraction
        return self._encoder.pooled(self._layer, single(seen[self._layer]), len(pixels)).float()


def _first_token(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Leave the first token alone, while the model is trained; what is added to the others is read by nothing."""
    return (inputs[0][:, :1], *inputs[1:]) if module.training else inputs


def graphed(network: Network, pixels: Float[Tensor, "b ..."], precision: torch.dtype) -> Callable[[Tensor], Tensor]:
    """Capture a forward and a backward pass as CUDA graphs, whose operations the processor starts all at once.

    A processor that starts thousands of small operations one by one is slower than the GPU that does them. The captured
    passes keep their memory; a second forward pass before the backward pass of the first overwrites what that needs.

    Parameters
    ----------
    network : Network
        In training mode, on a GPU. It is changed.
    pixels : tensor of shape (b, t, 3, size, size)
        Normalised clips; only as many can be given afterwards.
    precision : dtype
        Of matrix products.

    Returns
    -------
    callable
        Takes pixels as the network does. Random numbers are drawn anew in each pass, and none are drawn here.

    Raises
    ------
    VidsimError
        If the network does what cannot be captured, such as to wait for the processor.
    RuntimeError
        If it cannot be compiled, or memory does not suffice.
    """
    gc.collect()  # what was captured before, by another seed, keeps its memory until then
    autocast = torch.autocast("cuda", precision, enabled=precision != torch.float32, cache_enabled=False)
    try:
        with torch.random.fork_rng([pixels.device]), autocast:
            torch.cuda.make_graphed_callables(network, (pixels,), allow_unused_input=True)  # in place
    except RuntimeError as error:
        if lacks_memory(error) or type(error).__module__ in COMPILER:
            raise
        raise VidsimError(
            f"the passes of this model cannot be captured as CUDA graphs ({str(error).splitlines()[0]}); "
            "set run.compile = false"
        ) from error
    return network
