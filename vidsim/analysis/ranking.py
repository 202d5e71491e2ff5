"""Ranking: how good an order of candidates is, in resamples that hold them several times or not (nDCG, recall)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Ideal:
    """Hold the best order of the c candidates of one stimulus, in r resamples, to score others by.

    Parameters
    ----------
    gains : array of shape (c,)
        People's similarities.
    times : array of shape (c, r)
        How often each candidate stands there.
    k : int
        Places that count.
    level : array of shape (c,)
        Rank of each candidate's gain among the different ones, the largest first.
    share : array of shape (l, r)
        How much of a candidate of each level belongs to the k most similar; less than 1 where not all that tie do.
    best : array of shape (r,)
        The largest sum of discounted gains.
    known : array of shape (r,)
        Whether there are more than k candidates, and one with a gain; else all orders are as good.
    """

    gains: Float[ndarray, " c"]
    times: Int[ndarray, "c r"]
    k: int
    level: Int[ndarray, " c"]
    share: Float[ndarray, "l r"]
    best: Float[ndarray, " r"]
    known: Bool[ndarray, " r"]

    @classmethod
    def of(cls, gains: Float[ndarray, " c"], times: Int[ndarray, "c r"], k: int) -> "Ideal":
        """Order candidates by their gains."""
        negative, level = np.unique(-gains, return_inverse=True)
        order = np.argsort(level, kind="stable")
        sizes = np.add.reduceat(times[order], np.searchsorted(level[order], np.arange(len(negative))), axis=0)
        filled, discounts = _places(sizes, k)
        best = -negative @ discounts
        return cls(gains, times, k, level, _ratio(filled, sizes), best, (sizes.sum(axis=0) > k) & (best > 0))

    def score(self, scores: Float[ndarray, " c"]) -> Float[ndarray, "2 r"]:
        """Compute nDCG and recall of an order by scores, the highest first; 0 where not known."""
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))  # of those that tie
        length = 3 * self.k + 20  # so many candidates nearly always fill the first k places
        while True:
            ends = np.append(starts, len(order))
            until = int(ends[np.searchsorted(ends, min(length, len(order)))])
            first = order[:until]
            times = self.times[first]
            if until == len(order) or np.all(times.sum(axis=0) >= self.k, where=self.known):
                break
            length *= 2
        starts = starts[starts < until]
        if len(starts) == until:
            filled, discounts = _places(times, self.k)
        else:
            sizes = np.add.reduceat(times, starts, axis=0)
            group = np.repeat(np.arange(len(starts)), np.diff(starts, append=until))
            filled, discounts = (times * _ratio(shared, sizes)[group] for shared in _places(sizes, self.k))
        ndcg = _ratio(self.gains[first] @ discounts, self.best)
        recall = np.einsum("cr,cr->r", filled, self.share[self.level[first]]) / self.k
        return np.where(self.known, np.stack([ndcg, recall]), 0.0)

    def random(self) -> Float[ndarray, "2 r"]:
        """Compute what nDCG and recall of an order at random are expected to be; 0 where not known."""
        size = self.times.sum(axis=0)
        gain = _ratio(self.gains @ self.times, size) * discounted(self.k)[-1]
        return np.where(self.known, np.stack([_ratio(gain, self.best), _ratio(np.full(len(size), self.k), size)]), 0.0)


def discounted(k: int) -> Float[ndarray, " p"]:
    """Sum 1 / log2(1 + place) over the first 0, 1, ..., k places.

    Parameters
    ----------
    k : int
        Places, from 1 on.

    Returns
    -------
    array of shape (k + 1,)
        Sums of discounts.

    Examples
    --------
    >>> discounted(3)
    array([0.        , 1.        , 1.63092975, 2.13092975])
    """
    return np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])


def _places(sizes: Int[ndarray, "g r"], k: int) -> tuple[Int[ndarray, "g r"], Float[ndarray, "g r"]]:
    """Return how many of the first k places groups fill one after the other, and the sums of their discounts."""
    after = np.minimum(np.cumsum(sizes, axis=0), k)
    sums = discounted(k)[after]
    filled, discounts = after.copy(), sums.copy()
    filled[1:] -= after[:-1]
    discounts[1:] -= sums[:-1]
    return filled, discounts


def _ratio(above: ndarray, below: ndarray) -> Float[ndarray, "..."]:
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
