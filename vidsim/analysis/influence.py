"""Influence: how much each pair of stimuli, and each judgment, moves a rank correlation."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class RankInfluence:
    """Hold what the influence of a pair on rank correlations is made of (Croux and Dehon 2010, with ties).

    To first order, a correlation of a resample is that of the sample plus the mean influence of the items drawn.

    Parameters
    ----------
    x, y : array of shape (p,)
        Codes of both sides from 0 on, neither side constant; only their order counts.
    ranks_x, ranks_y : array
        Centred rank of each code, as a share of p.
    above : tuple of array
        For each code, the mean over the items of larger code (half of those of equal code) of ranks: x above x, x above
        y, y above x, y above y, where "x above y" is mean ranks of x above a code of y.
    moments : tuple of float
        Covariance of ranks, their variance in x, and in y.
    """

    x: Int[ndarray, " p"]
    y: Int[ndarray, " p"]
    ranks_x: Float[ndarray, " k"]
    ranks_y: Float[ndarray, " l"]
    above: tuple[Float[ndarray, " k"], Float[ndarray, " l"], Float[ndarray, " k"], Float[ndarray, " l"]]
    moments: tuple[float, float, float]

    @classmethod
    def of(cls, x: Int[ndarray, " p"], y: Int[ndarray, " p"]) -> "RankInfluence":
        """Prepare two sides.

        Parameters
        ----------
        x, y : array of shape (p,)
            Codes from 0 on.

        Returns
        -------
        RankInfluence
            Of p items.
        """
        ranks_x, ranks_y = _centred(x), _centred(y)
        a, b = ranks_x[x], ranks_y[y]
        above = (_above(x, a), _above(y, a), _above(x, b), _above(y, b))
        return cls(x, y, ranks_x, ranks_y, above, (float((a * b).mean()), float((a * a).mean()), float((b * b).mean())))

    def spearman(
        self, items: Int[ndarray, " q"] | None = None, levels: Int[ndarray, " q"] | None = None
    ) -> Float[ndarray, " q"]:
        """Compute influences on Spearman's rho.

        Parameters
        ----------
        items : array of shape (q,), optional
            Items; all by default.
        levels : array of shape (q,), optional
            The code that y has instead of its own.

        Returns
        -------
        array of shape (q,)
            Over all items, each at its own level, their mean is 0.
        """
        x, y = self._at(items, levels)
        a, b = self.ranks_x[x], self.ranks_y[y]
        theta, first, second = self.moments
        joint = self._joint(x, y)
        in_x = a * a + 2 * self.above[0][x] - 3 * first
        in_y = b * b + 2 * self.above[3][y] - 3 * second
        return (joint - theta / 2 * (in_x / first + in_y / second)) / np.sqrt(first * second)

    def rho_a(
        self, items: Int[ndarray, " q"] | None = None, levels: Int[ndarray, " q"] | None = None
    ) -> Float[ndarray, " q"]:
        """Compute influences on rho-a; as `spearman`."""
        return 12 * self._joint(*self._at(items, levels))

    def _at(
        self, items: Int[ndarray, " q"] | None, levels: Int[ndarray, " q"] | None
    ) -> tuple[Int[ndarray, " q"], Int[ndarray, " q"]]:
        x = self.x if items is None else self.x[items]
        return x, (self.y if items is None else self.y[items]) if levels is None else levels

    def _joint(self, x: Int[ndarray, " q"], y: Int[ndarray, " q"]) -> Float[ndarray, " q"]:
        # an item moves the covariance by its own product, and by the ranks of all items above it on either side
        return self.ranks_x[x] * self.ranks_y[y] + self.above[2][x] + self.above[1][y] - 3 * self.moments[0]


@dataclass(frozen=True, eq=False)
class Removals:
    """Hold, for each judgment of a pair, what the pair's share is without it.

    Parameters
    ----------
    units : array of shape (u, 3)
        Judged pairs of each trial, as positions among the p judged ones, that which stayed together first; p where a
        trial has fewer.
    lower, upper : array of shape (u, 3)
        Levels of the share of judgments between which the pair falls without this one.
    between : array of shape (u, 3)
        Where between them, 0 to 1.
    weight : array of shape (u, 3)
        What a removal counts, so that the sum of squares over the k independent judgments of a pair estimates the
        variance of its share: sqrt((k - 1) / k). For the only judgment of a pair 1, as it takes the pair away.
    only : array of shape (u, 3)
        Where it is the only one.
    """

    units: Int[ndarray, "u 3"]
    lower: Int[ndarray, "u 3"]
    upper: Int[ndarray, "u 3"]
    between: Float[ndarray, "u 3"]
    weight: Float[ndarray, "u 3"]
    only: Bool[ndarray, "u 3"]

    @classmethod
    def of(cls, units: Int[ndarray, "u 3"], together: Int[ndarray, " p"], shown: Int[ndarray, " p"]) -> "Removals":
        """Take every judgment away in turn.

        Parameters
        ----------
        units : array of shape (u, 3)
            Judged pairs of each trial, as above.
        together, shown : array of shape (p,)
            How often each pair stayed together, and was shown (at least once).

        Returns
        -------
        Removals
            Of u trials.
        """
        levels = np.unique(together / shown)
        k = np.append(shown, 2)[units].astype(np.float64)  # what stands for no pair is never looked at
        stayed = np.append(together, 0)[units]
        rest = np.maximum(k - 1, 1)
        without = np.where(k > 1, stayed - np.array([1, 0, 0]), stayed) / rest
        place = np.interp(without, levels, np.arange(len(levels)))
        lower = np.floor(place).astype(np.int64)
        upper = np.minimum(lower + 1, len(levels) - 1)
        none = units == len(shown)
        weight = np.where(none, 0.0, np.where(k > 1, np.sqrt(rest / k), 1.0))
        return cls(units, lower, upper, place - lower, weight, k == 1)

    def influences(self, ranks: RankInfluence, statistic: str) -> Float[ndarray, " u"]:
        """Compute how much each trial's judgments move a rank correlation with y, the shares of the pairs.

        Parameters
        ----------
        ranks : RankInfluence
            Of a model's values and the pairs' shares.
        statistic : {"spearman", "rho_a"}
            Which correlation.

        Returns
        -------
        array of shape (u,)
            About their mean: the sum of their squares estimates the variance of the correlation over judgments of the
            same stimuli, if trials are independent.
        """
        p = len(ranks.x)
        items = np.minimum(self.units, p - 1).ravel()  # none weighs nothing
        influence = getattr(ranks, statistic)
        without = (1 - self.between.ravel()) * influence(items, self.lower.ravel()) + self.between.ravel() * influence(
            items, self.upper.ravel()
        )
        moved = influence(items) - np.where(self.only.ravel(), 0.0, without)
        found = (self.weight.ravel() * moved).reshape(self.units.shape).sum(axis=1) / p
        return found - found.mean()


def _centred(codes: Int[ndarray, " p"]) -> Float[ndarray, " k"]:
    groups = np.bincount(codes)
    return (np.cumsum(groups) - groups / 2) / len(codes) - 0.5


def _above(codes: Int[ndarray, " p"], values: Float[ndarray, " p"]) -> Float[ndarray, " k"]:
    """Return, for each code, the mean over items of values with a larger code (half of those with the same)."""
    sums = np.bincount(codes, values)
    return (sums[::-1].cumsum()[::-1] - sums / 2) / len(codes)
