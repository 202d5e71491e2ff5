"""Baselines: what an adapter has to beat on the same stimuli, none of which trains the encoder."""

from collections.abc import Sequence

import numpy as np

from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.penalty import fit_any
from vidsim.embeddings import Embeddings
from vidsim.triplets import Triplets

BASELINES = ("base", "centred", "linear")
"""The encoder as it is; the mean over the stimuli to fit taken away; the transform of `vidsim.adapt.linear`."""

NAMED = {"base": "{}", "centred": "{}, centred", "linear": "{}, linear transform"}
"""What they are called beside adapters, whose names have no spaces."""


def baselines(
    base: Embeddings, fit: Triplets, ids: Sequence[str], transform: LinearTransform | None = None
) -> dict[str, Embeddings]:
    """Make the baselines of a run: nothing about the stimuli to validate on goes into them.

    Parameters
    ----------
    base : Embeddings
        By the encoder as it is, of the stimuli to fit and to validate on.
    fit : Triplets
        Trials to fit.
    ids : sequence of str
        Stimuli to validate on.
    transform : LinearTransform, optional
        Fitted to the same already; else it is now, with a penalty that folds of the stimuli to fit choose, where these
        are enough.

    Returns
    -------
    dict of str to Embeddings
        `BASELINES`, of the stimuli to validate on.

    Examples
    --------
    >>> space = Embeddings(tuple("abcdef"), np.random.default_rng(0).normal(size=(6, 3)) + 9)
    >>> found = baselines(space, Triplets(tuple("abcd"), np.array([[0, 1, 2], [2, 3, 0]])), ("e", "f"))
    >>> [bool((one.matrix > 5).all()) for one in found.values()][:2]
    [True, False]
    """
    held, known = base.take(ids), base.take(fit.ids)
    transform = transform or fit_any(known, fit)
    centred = held.matrix - known.matrix.mean(axis=0, keepdims=True, dtype=np.float64)
    made = (held, Embeddings(held.ids, centred.astype(held.matrix.dtype)), transform.apply(held))
    return dict(zip(BASELINES, made, strict=True))
