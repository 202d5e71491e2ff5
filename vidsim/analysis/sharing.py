"""Sharing: pairs or trials that have a stimulus in common vary together, and what variance follows from that."""

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.triplets import pair_index, triplet_numbers


@dataclass(frozen=True, eq=False)
class Sharing:
    """Hold which of t items, each of two or three stimuli, have stimuli in common.

    Parameters
    ----------
    groups : tuple of array
        Of growing size of what is shared: the group of each item by each of its stimuli, of its pairs, of its triplet.
    stimuli : int
        How many there are.
    share : float
        Of all pairs of items (an item with itself among them), those that share a stimulus.
    """

    groups: tuple[Int[ndarray, "_ t"], ...]
    stimuli: int
    share: float

    @classmethod
    def of(cls, items: Int[ndarray, "t k"], stimuli: int) -> "Sharing":
        """Group items by what they share.

        Parameters
        ----------
        items : array of shape (t, 2) or (t, 3)
            Positions of the different stimuli of each item.
        stimuli : int
            How many there are.

        Returns
        -------
        Sharing
            Of t items.
        """
        columns = items.T.astype(np.int64)
        found = [columns]
        pairs = np.stack([pair_index(i, j, stimuli) for i, j in combinations(columns, 2)])
        found.append(np.unique(pairs, return_inverse=True)[1].reshape(pairs.shape))
        if len(columns) == 3:
            found.append(triplet_numbers(items)[None])
        groups = tuple(found)
        t = len(items)
        return cls(groups, stimuli, sum(_products(groups, np.ones(t))) / t**2 if t else 0.0)

    def variance(self, influences: Float[ndarray, " t"]) -> float:
        """Estimate the variance, over stimuli and noise, of a statistic that is about a sum of influences of items.

        It is their `covariance`. Influences taken about their own mean are too small by the variance of that mean, for
        which it makes up.

        Parameters
        ----------
        influences : array of shape (t,)
            By how much each item moves the statistic; they sum to 0.

        Returns
        -------
        float
            At least that of items which vary together with none but their likes.
        """
        return self.covariance(influences) / max(1 - self.share, 1 / self.stimuli)

    def covariance(self, influences: Float[ndarray, " t"]) -> float:
        """Sum products of influences over all pairs of items that share a stimulus (Aronow, Samii and Assenova 2015).

        Items that share can only vary together, so where the products of those that share one, two or three stimuli add
        up to less than 0 they count as 0.

        Parameters
        ----------
        influences : array of shape (t,)
            By how much each item moves a statistic.

        Returns
        -------
        float
            At least the sum over pairs of likes.
        """
        return sum(max(part, 0.0) for part in _products(self.groups, influences))


def _products(groups: tuple[Int[ndarray, "_ t"], ...], weights: Float[ndarray, " t"]) -> list[float]:
    """Return sums of products of weights over pairs of items that share exactly k, k - 1, ..., 1 stimuli."""
    # squared sums over all subsets of a size count a pair of items as often as what it shares has such subsets
    found: dict[int, float] = {}
    for size in range(len(groups), 0, -1):
        group = groups[size - 1]
        squares = float((np.bincount(group.ravel(), np.tile(weights, len(group))) ** 2).sum())
        found[size] = squares - sum(comb(larger, size) * value for larger, value in found.items())
    return list(found.values())
