"""Towers: the part of an encoder that is trained, run with gradients on stimuli known by their ids."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from vidsim.adapt.network import Network, graphed
from vidsim.adapt.trainable import refuse_untrainable
from vidsim.encoders.base import Encoder
from vidsim.encoders.card_rules import PIPELINE
from vidsim.encoders.frame_encoder import FramedEncoder
from vidsim.encoders.image import ImageEncoder
from vidsim.encoders.sentence import SentenceEncoder
from vidsim.encoders.transfer import to_device
from vidsim.encoders.video_text import VideoText
from vidsim.encoders.video_transformer import VideoTransformer
from vidsim.errors import VidsimError

FRAMES = (VideoTransformer, ImageEncoder, VideoText)
"""Families that take frames and can be trained."""

HELD = 0.1
"""Share of a GPU's free memory for frames: those of thousands of clips."""

TEXTS_AT_ONCE = 8
"""Texts in a forward pass of those that a step embeds, on a CPU: a GPU takes all, padding costs it nothing."""


@runtime_checkable
class Tower(Protocol):
    """Give embeddings of stimuli with gradients."""

    def __call__(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed stimuli; with a generator, what is random (which caption) is drawn with it."""
        ...


def trunk_of(encoder: Encoder) -> nn.Module:
    """Return the network of the transformers library inside an encoder: it takes the LoRA weights.

    Parameters
    ----------
    encoder : Encoder
        A transformer on frames, or a sentence encoder.

    Returns
    -------
    Module
        The network.

    Raises
    ------
    VidsimError
        If the encoder cannot be trained.
    """
    refuse_untrainable(encoder.card)
    if isinstance(encoder, SentenceEncoder):
        return encoder.model[0].model
    if isinstance(encoder, FRAMES):
        return encoder.model
    raise VidsimError(f"{encoder.card.name} is of family {encoder.card.family}, which cannot be trained yet")


class TextTower:
    """Embed captions with a sentence encoder's whole pipeline.

    Parameters
    ----------
    encoder : SentenceEncoder
        The encoder.
    captions : mapping of str to sequence of str
        Of each stimulus.
    rule : {"draw", "mean", "first"}
        Where gradients are followed: one caption drawn a step, the mean of all, or the first.
    """

    def __init__(self, encoder: SentenceEncoder, captions: Mapping[str, Sequence[str]], rule: str) -> None:
        self._encoder = encoder
        self._captions = captions
        self._rule = rule

    def __call__(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed stimuli by their captions.

        Parameters
        ----------
        ids : sequence of str
            Stimuli.
        rng : Generator, optional
            Draws a caption each; without it all of them are averaged whatever the rule, as where nothing is trained.

        Returns
        -------
        tensor of shape (n, d)
            As the pipeline gives them.
        """
        rule = self._rule
        chosen = [tuple(self._captions[name]) for name in ids]
        if rng is not None and rule == "draw":
            chosen = [(captions[int(rng.integers(len(captions)))],) for captions in chosen]
        elif rng is not None and rule == "first":
            chosen = [captions[:1] for captions in chosen]
        vectors = self._embed([text for captions in chosen for text in captions])
        device = vectors.device
        counts = to_device([len(captions) for captions in chosen], device)
        if len(vectors) == len(ids):
            return vectors
        owner = torch.repeat_interleave(torch.arange(len(ids), device=device), counts, output_size=len(vectors))
        sums = torch.zeros(len(ids), vectors.shape[1], device=device).index_add(0, owner, vectors)
        means = sums / counts[:, None]
        return torch.nn.functional.normalize(means, dim=1) if self._encoder.normalises else means

    def _embed(self, texts: list[str]) -> Float[Tensor, "n d"]:
        """Embed texts a few at a time, those of like length together: all in one pass, most of it would be padding."""
        encoder, device = self._encoder, torch.device(self._encoder.device)
        order = np.argsort([len(text) for text in texts], kind="stable")
        made: list[Tensor] = []
        at_once = TEXTS_AT_ONCE if device.type == "cpu" else len(texts)
        for start in range(0, len(texts), at_once):
            few = [texts[row] for row in order[start : start + at_once]]
            made.append(encoder.model(encoder.tokens(few))[PIPELINE].float())
        return torch.cat(made)[to_device(np.argsort(order), device)]


class FrameTower:
    """Embed clips by their frames.

    Parameters
    ----------
    encoder : FramedEncoder
        The encoder.
    frames : callable
        Takes an id; returns its prepared frames, of shape (t, 3, h, w).
    layer : str
        Layer whose pooled output is trained.
    """

    def __init__(
        self,
        encoder: FramedEncoder,
        frames: Callable[[str], UInt8[Tensor, "t 3 h w"]],
        layer: str,
    ) -> None:
        self._encoder = encoder
        self._frames = frames
        self._layer = layer
        self._network = Network(encoder, layer)
        self._graphed: Callable[[Tensor], Tensor] | None = None
        self._clips = 0
        self._held: dict[str, Tensor] = {}
        self._room = _room(encoder.device)

    def __call__(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed clips.

        Parameters
        ----------
        ids : sequence of str
            Stimuli.
        rng : Generator, optional
            Nothing is drawn: clips are seen as they are where nothing is trained.

        Returns
        -------
        tensor of shape (n, d)
            Pooled by the card's rule.

        Raises
        ------
        VidsimError
            If the network cannot run as its checkpoint and its card have it.
        """
        pixels = self._pixels(ids)
        if self._graphed is None:
            with self._encoder.first_pass.told():
                return self._network(pixels)
        if len(ids) == self._clips and torch.is_grad_enabled() and self._encoder.model.training:
            return self._graphed(pixels)
        with torch.compiler.set_stance("force_eager"):  # steps of other sizes are few, and each size is compiled anew
            return self._network(pixels)

    def graph(self, ids: Sequence[str], precision: torch.dtype) -> None:
        """Run the passes of batches of as many clips as CUDA graphs from now on: see `graphed`.

        Each forward pass with gradients must be followed by its backward pass before the next one begins.

        Parameters
        ----------
        ids : sequence of str
            Stimuli of a batch.
        precision : dtype
            Of matrix products.

        Raises
        ------
        VidsimError
            If the network does what cannot be captured.
        """
        model = self._encoder.model
        training = model.training
        network = Network(self._encoder, self._layer).train()
        self._graphed, self._clips = graphed(network, self._pixels(ids), precision), len(ids)
        model.train(training)

    def _pixels(self, ids: Sequence[str]) -> Float[Tensor, "n t 3 h w"]:
        batch = torch.stack([self._on_device(name) for name in ids])
        self._encoder.check_frames(batch)
        return self._encoder.preprocess.normalise(batch)

    def _on_device(self, name: str) -> Tensor:
        """Return a clip's frames on the encoder's device, where as many clips stay as there is room for."""
        if name in self._held:
            return self._held[name]
        frames = to_device(self._frames(name), self._encoder.device)
        if frames.nbytes <= self._room:
            self._held[name], self._room = frames, self._room - frames.nbytes
        return frames


def _room(device: str) -> int:
    """Return how many bytes of frames a device can hold beside the training."""
    where = torch.device(device)
    return int(torch.cuda.mem_get_info(where)[0] * HELD) if where.type == "cuda" else 0
