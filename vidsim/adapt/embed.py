"""Embeddings by what is trained: a head behind a layer, or the layer itself."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from vidsim.encoders.base import Encoder, Reduce
from vidsim.encoders.transfer import Fetched

OWN = " head"
"""A name that no layer has."""


def embed(encoder: Encoder, head: nn.Module | None, layer: str, batch: Any) -> Float[ndarray, "b d"]:
    """Embed a batch by what is trained: the head, or the layer where there is none.

    Parameters
    ----------
    encoder : Encoder
        The encoder with its adapter.
    head : Module, optional
        The head.
    layer : str
        Layer that is trained.
    batch : object
        What the encoder's ``encode`` takes.

    Returns
    -------
    array of shape (b, d)
        float32.
    """
    if head is None:
        return encoder.encode(batch, [layer], lambda _, features: features)[layer]
    return encode_with_head(encoder, head, layer, batch, [OWN], lambda _, features: features, OWN)[OWN]


def encode_with_head(
    base: Encoder, head: nn.Module, layer: str, batch: Any, layers: Sequence[str], reduce: Reduce, own: str
) -> dict[str, Float[ndarray, "b _"]]:
    """Run one forward pass, and reduce every wanted layer and the head's output inside it.

    Parameters
    ----------
    base : Encoder
        The encoder with LoRA weights inside, if any.
    head : Module
        The head.
    layer : str
        Layer that the head takes.
    batch : object
        What the encoder's ``encode`` takes.
    layers : sequence of str
        Layers of the base, and ``own``.
    reduce : Reduce
        Takes a layer's name and its pooled features.
    own : str
        What the head's output is called.

    Returns
    -------
    dict of str to array of shape (b, dims)
        float32, in the order of ``layers``.
    """
    inner = [name for name in layers if name != own]
    of_head: list[Fetched] = []

    def tap(name: str, features: Tensor) -> Tensor:
        if name == layer:
            with torch.inference_mode():
                small = reduce(own, head(features))
            of_head.append(Fetched(small.float()))
            if layer not in inner:
                return features[:, :1]
        return reduce(name, features)

    found = base.encode(batch, inner if layer in inner else [*inner, layer], tap)
    found = found | {own: of_head[0].wait().numpy()}
    return {name: found[name] for name in layers}
