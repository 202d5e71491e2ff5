"""Joint tower: clips embedded by their frames and captions in one pass, with gradients."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from vidsim.adapt.held import Held
from vidsim.adapt.shown import Rule, shown
from vidsim.encoders.activations import capture, single
from vidsim.encoders.vision_language import VisionLanguage


class JointTower:
    """Embed clips with a vision-language model; each on its own, as it is at its own size.

    Parameters
    ----------
    encoder : VisionLanguage
        The encoder.
    frames : callable
        Takes an id; returns its prepared frames, of shape (t, 3, h, w).
    captions : mapping of str to sequence of str
        Of each stimulus; where there are none, a clip is its frames alone.
    rule : {"draw", "mean", "first"}
        Where gradients are followed: one caption drawn a step, the mean over all, or the first.
    layer : str
        Layer whose pooled output is trained.
    """

    def __init__(
        self,
        encoder: VisionLanguage,
        frames: Callable[[str], UInt8[Tensor, "t 3 h w"]],
        captions: Mapping[str, Sequence[str]],
        rule: Rule,
        layer: str,
    ) -> None:
        self._encoder = encoder
        self._frames = Held(frames, encoder.device)
        self._captions = captions
        self._rule: Rule = rule
        self._layer = layer

    def __call__(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed clips.

        Parameters
        ----------
        ids : sequence of str
            Stimuli.
        rng : Generator, optional
            Draws a caption each; without it all of them are averaged whatever the rule, as where nothing is trained.

        Returns
        -------
        tensor of shape (n, d)
            Pooled as by extraction, float32.

        Raises
        ------
        VidsimError
            If the network cannot run as its checkpoint and its card have it.
        """
        clips = [(self._frames(name), shown(self._captions.get(name, ()), self._rule, rng)) for name in ids]
        with self._encoder.first_pass.told():
            return torch.stack([self._clip(frames, captions) for frames, captions in clips])

    def _clip(self, frames: UInt8[Tensor, "t 3 h w"], captions: Sequence[str]) -> Float[Tensor, " d"]:
        encoder, layer = self._encoder, self._layer
        vectors: list[Tensor] = []
        for turn in encoder.turns(frames, captions):
            seen: dict[str, Any] = {}
            with capture(encoder.model, [layer], seen.__setitem__):
                turn.run()
            vectors.append(encoder.pooled(layer, single(seen[layer]), turn)[0])
        return torch.stack(vectors).mean(0).float()
