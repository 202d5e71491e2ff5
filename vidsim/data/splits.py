"""Splits of stimuli: training from validation."""

from collections.abc import Sequence

import numpy as np

from vidsim.check import at_least
from vidsim.embeddings import positions
from vidsim.errors import VidsimError


def validation_split(ids: Sequence[str], share: float = 0.2, seed: int = 42) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Set a share of the training stimuli apart for validation, as the paper does (20 % of the videos, seed 42).

    By stimulus, never by trial: a trial whose stimuli fall on both sides is in neither part. Equal to scikit-learn's
    ``train_test_split(sorted(ids), test_size=share, random_state=seed)``.

    Parameters
    ----------
    ids : sequence of str
        Training stimuli, in any order.
    share : float
        Part to set apart, between 0 and 1.
    seed : int
        Seed of the permutation.

    Returns
    -------
    tuple of tuple of str
        Ids to train on, and ids to validate on.

    Raises
    ------
    VidsimError
        If an id repeats, either part would be empty, or the seed is below 0 or no whole number.

    Examples
    --------
    >>> validation_split(["a", "b", "c", "d", "e"])
    (('e', 'c', 'a', 'd'), ('b',))
    """
    at_least(0, seed=seed)
    names = sorted(positions(ids))
    held = int(np.ceil(len(names) * share))
    if not 0 < held < len(names):
        legal = f"above 0 and at most {(len(names) - 1) / len(names):g}" if len(names) > 1 else "2 stimuli or more"
        raise VidsimError(f"a share of {share:g} of {len(names)} stimuli leaves one part empty; expected {legal}")
    order = np.random.RandomState(seed).permutation(len(names))
    return tuple(names[i] for i in order[held:]), tuple(names[i] for i in order[:held])
