"""Text tower: captions embedded with gradients."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vidsim.adapt.shown import Rule, shown
from vidsim.encoders.card_rules import PIPELINE
from vidsim.encoders.sentence import SentenceEncoder
from vidsim.encoders.transfer import to_device

TEXTS_AT_ONCE = 8
"""Texts in a forward pass of those that a step embeds, on a CPU: a GPU takes all, padding costs it nothing."""


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

    def __init__(self, encoder: SentenceEncoder, captions: Mapping[str, Sequence[str]], rule: Rule) -> None:
        self._encoder = encoder
        self._captions = captions
        self._rule: Rule = rule

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
        chosen = [shown(self._captions[name], self._rule, rng) for name in ids]
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
