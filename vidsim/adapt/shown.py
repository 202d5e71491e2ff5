"""Which captions of a stimulus a step shows."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Rule = Literal["draw", "mean", "first"]
"""Where gradients are followed: one caption drawn a step, the mean over all, or the first."""


def shown(captions: Sequence[str], rule: Rule, rng: np.random.Generator | None) -> Sequence[str]:
    """Choose captions of a stimulus.

    Parameters
    ----------
    captions : sequence of str
        All of them; there may be none.
    rule : {"draw", "mean", "first"}
        As it is for training.
    rng : Generator, optional
        Draws; without it all are taken whatever the rule, as where nothing is trained.

    Returns
    -------
    sequence of str
        Those that are embedded, and averaged over.
    """
    if rng is None or rule == "mean" or not captions:
        return captions
    place = int(rng.integers(len(captions))) if rule == "draw" else 0
    return captions[place : place + 1]
