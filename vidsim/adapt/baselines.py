"""Baselines: what an adapter has to beat on the same stimuli, none of which trains the encoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vidsim.adapt.adapter import embed
from vidsim.adapt.linear import fit_any
from vidsim.adapt.trainer import AT_ONCE, Material
from vidsim.embeddings import Embeddings
from vidsim.encoders.base import Encoder
from vidsim.triplets import Triplets

BASELINES = ("base", "centred", "linear")
"""The encoder as it is; the mean over the stimuli to fit taken away; the transform of `vidsim.adapt.linear`."""

NAMED = {"base": "{}", "centred": "{}, centred", "linear": "{}, linear transform"}
"""What they are called beside adapters, whose names have no spaces."""


def embed_base(encoder: Encoder, layer: str, material: Material, ids: Sequence[str]) -> Embeddings:
    """Embed stimuli by an encoder that is not trained yet.

    Parameters
    ----------
    encoder : Encoder
        The encoder; new LoRA weights in it change nothing.
    layer : str
        Layer that will be trained.
    material : Material
        Has the captions or the frames.
    ids : sequence of str
        Stimuli of the material.

    Returns
    -------
    Embeddings
        Without a head.
    """
    at_once, rows = AT_ONCE.get(encoder.card.modality, 1), []
    for start in range(0, len(ids), at_once):
        names = ids[start : start + at_once]
        if material.captions is not None:
            batch: Any = [encoder.prepare(tuple(material.captions[name])) for name in names]
        else:
            assert material.frames is not None
            batch = torch.stack([torch.as_tensor(material.frames(name)) for name in names])
        rows.append(embed(encoder, None, layer, batch))
    return Embeddings(tuple(ids), np.concatenate(rows))


def baselines(base: Embeddings, fit: Triplets, ids: Sequence[str]) -> dict[str, Embeddings]:
    """Make the baselines of a run: nothing about the stimuli to validate on goes into them.

    Parameters
    ----------
    base : Embeddings
        By the encoder as it is, of the stimuli to fit and to validate on.
    fit : Triplets
        Trials to fit.
    ids : sequence of str
        Stimuli to validate on.

    Returns
    -------
    dict of str to Embeddings
        `BASELINES`, of the stimuli to validate on. The penalty of the linear transform is chosen by folds of the
        stimuli to fit, where these are enough.

    Examples
    --------
    >>> space = Embeddings(tuple("abcdef"), np.random.default_rng(0).normal(size=(6, 3)) + 9)
    >>> found = baselines(space, Triplets(tuple("abcd"), np.array([[0, 1, 2], [2, 3, 0]])), ("e", "f"))
    >>> [bool((one.matrix > 5).all()) for one in found.values()][:2]
    [True, False]
    """
    held, known = base.take(ids), base.take(fit.ids)
    transform = fit_any(known, fit)
    centred = held.matrix - known.matrix.mean(axis=0, keepdims=True, dtype=np.float64)
    made = (held, Embeddings(held.ids, centred.astype(held.matrix.dtype)), transform.apply(held))
    return dict(zip(BASELINES, made, strict=True))
