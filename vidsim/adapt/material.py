"""Material: what a run is trained on, and how its stimuli are given to an encoder."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from vidsim.adapt.embed import embed
from vidsim.embeddings import Embeddings
from vidsim.encoders.base import Encoder, EncoderCard
from vidsim.encoders.machine import able
from vidsim.errors import VidsimError
from vidsim.extract.encode import batch_size_for
from vidsim.triplets import Triplets


@dataclass(frozen=True, eq=False)
class Material:
    """Hold what a run is trained on.

    Parameters
    ----------
    fit : Triplets
        Trials wholly among the stimuli to fit.
    validation : Triplets or None
        Trials among those that choose the epoch; None keeps the last.
    captions : mapping of str to sequence of str, optional
        Of each stimulus, for encoders that read; for those that see too, there may be none.
    frames : callable, optional
        Takes an id, returns prepared frames, for encoders that see.
    facts : mapping
        Where the judgments come from, for the manifest; JSON-able.
    unlabelled : tuple of str
        Stimuli that nobody judged, with captions or frames like the others: what the retention term keeps as it was.
    clips : str
        Hash of the frames, so that other videos under the same ids are other material.
    """

    fit: Triplets
    validation: Triplets | None
    captions: Mapping[str, Sequence[str]] | None = None
    frames: Callable[[str], UInt8[Tensor, "t 3 h w"]] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    unlabelled: tuple[str, ...] = ()
    clips: str = ""

    @property
    def digest(self) -> str:
        """Hash the trials, the stimuli, and their captions or frames."""
        sets = [[list(one.ids), one.rows.tolist()] for one in (self.fit, self.validation) if one is not None]
        texts = None if self.captions is None else {name: list(self.captions[name]) for name in sorted(self.captions)}
        return hashlib.sha256(
            json.dumps([sets, texts, self.clips, list(self.unlabelled)], ensure_ascii=False).encode()
        ).hexdigest()

    def check(self, card: EncoderCard) -> None:
        """Refuse what an encoder cannot be trained on, before it is loaded.

        Parameters
        ----------
        card : EncoderCard
            Of the encoder.

        Raises
        ------
        VidsimError
            If it reads and a stimulus has no list of captions, or it sees and there are no frames.
        """
        reads = card.modality == "text"
        if not reads and self.frames is None:
            raise VidsimError(f"{card.name} sees, and the material has no frames; give Material some")
        if reads and self.captions is None:
            raise VidsimError(f"{card.name} reads, and the material has no captions; give Material some")
        parts = (self.fit.ids, () if self.validation is None else self.validation.ids, self.unlabelled)
        for name in chain(*parts):
            own = (self.captions or {}).get(name, ())
            if isinstance(own, str) or (reads and not own):
                raise VidsimError(f"{name!r} has {own!r} for captions; expected a list of one or more, each a text")

    def embed(self, encoder: Encoder, head: nn.Module | None, layer: str, ids: Sequence[str]) -> Embeddings:
        """Embed stimuli by what is trained, or is to be.

        Parameters
        ----------
        encoder : Encoder
            The encoder.
        head : Module, optional
            The head behind it.
        layer : str
            Layer that is trained.
        ids : sequence of str
            Stimuli of the material.

        Returns
        -------
        Embeddings
            By the head, or the layer where there is none.

        Raises
        ------
        VidsimError
            If memory does not suffice.
        """
        device: str = encoder.device  # pyright: ignore[reportAttributeAccessIssue]  # of every encoder with weights
        at_once = batch_size_for(encoder.card, device)
        with able(device, "free some of it, or give another --device"):
            rows = [
                embed(encoder, head, layer, self._batch(encoder, ids[start : start + at_once]))
                for start in range(0, len(ids), at_once)
            ]
        return Embeddings(tuple(ids), np.concatenate(rows))

    def _batch(self, encoder: Encoder, ids: Sequence[str]) -> Any:
        captions, frames = self.captions, self.frames
        if frames is None:
            assert captions is not None
            return [encoder.prepare(tuple(captions[name])) for name in ids]
        if encoder.card.modality == "video+text":
            return [(frames(name), tuple((captions or {}).get(name, ()))) for name in ids]
        return torch.stack([frames(name) for name in ids])
