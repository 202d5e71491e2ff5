"""Odd-one-out accuracy: how often a space's similarities single out the stimulus that people did."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.rsm import RSM
from vidsim.triplets import Triplets

CHANCE = {"three_way": 1 / 3, "two_way": 0.5, "two_way_first": 0.5, "two_way_second": 0.5}
"""Accuracy of a space that knows nothing."""


@dataclass(frozen=True, eq=False)
class Credits:
    """Hold the credit that a space earns on every trial, 0 to 1; accuracies are its means.

    Parameters
    ----------
    three_way : array of shape (t,)
        1 where the odd item is the one outside the most similar pair; 1/k where k pairs are equally similar.
    two_way_first : array of shape (t,)
        1 where sim(a, odd) < sim(a, b), with a the first remaining item in the source's order; a tie counts half. The
        paper's "OOO accuracy" is the mean of this.
    two_way_second : array of shape (t,)
        The same from b.
    """

    three_way: Float[ndarray, " t"]
    two_way_first: Float[ndarray, " t"]
    two_way_second: Float[ndarray, " t"]

    @property
    def two_way(self) -> Float[ndarray, " t"]:
        """Return the mean over both anchors."""
        return (self.two_way_first + self.two_way_second) / 2

    def accuracies(self) -> dict[str, float]:
        """Return the mean credits by the names of `CHANCE`; NaN without a trial."""
        if not len(self.three_way):
            return dict.fromkeys(CHANCE, float("nan"))
        return {name: float(getattr(self, name).mean()) for name in CHANCE}


def credits(rsm: RSM, triplets: Triplets) -> Credits:
    """Compare a space's similarities with people's choices, trial by trial.

    Parameters
    ----------
    rsm : RSM
        The space's similarities of all stimuli of the trials; none of them NaN.
    triplets : Triplets
        Judged trials.

    Returns
    -------
    Credits
        One of each kind per trial.

    Raises
    ------
    VidsimError
        If a stimulus is not in the space.

    Examples
    --------
    >>> ids = ("x", "y", "z")
    >>> rsm = RSM(ids, np.array([[1, 0.2, 0.1], [0.2, 1, 0.2], [0.1, 0.2, 1]]))
    >>> credits(rsm, Triplets(ids, np.array([[0, 1, 2]]))).accuracies()
    {'three_way': 0.5, 'two_way': 0.75, 'two_way_first': 1.0, 'two_way_second': 0.5}
    """
    s = rsm.take(triplets.ids).similarities
    a, b, odd = triplets.rows.T
    kept, first, second = s[a, b], s[a, odd], s[b, odd]
    best = np.maximum(kept, np.maximum(first, second))
    ties = (kept == best).astype(np.int64) + (first == best) + (second == best)
    return Credits((kept == best) / ties, _better(kept, first), _better(kept, second))


def _better(kept: Float[ndarray, " t"], other: Float[ndarray, " t"]) -> Float[ndarray, " t"]:
    return (kept > other) + (kept == other) / 2
