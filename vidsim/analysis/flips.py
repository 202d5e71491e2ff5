"""Flips: trials on which two spaces disagree about the odd one, towards people or away from them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets


@dataclass(frozen=True, eq=False)
class Flips:
    """Hold, for every trial, how two spaces judge it (as in Figs. 7 and 8).

    Parameters
    ----------
    margin_a, margin_b : array of shape (t,)
        Similarity of the pair that people kept together less that of the most similar other pair, in standard
        deviations of the space's similarities; above 0 where the space agrees with people.
    odd_a, odd_b : array of shape (t,)
        Which column of the trial, 0 to 2, the space singles out: 2 where it agrees with people, -1 where its two most
        similar pairs are equally so.
    """

    margin_a: Float[ndarray, " t"]
    margin_b: Float[ndarray, " t"]
    odd_a: Int[ndarray, " t"]
    odd_b: Int[ndarray, " t"]

    @property
    def agrees_a(self) -> Bool[ndarray, " t"]:
        """Mark the trials on which the first space agrees with people; a tie is no agreement."""
        return self.margin_a > 0

    @property
    def agrees_b(self) -> Bool[ndarray, " t"]:
        """Mark the trials on which the second space agrees with people."""
        return self.margin_b > 0

    @property
    def towards(self) -> Int[ndarray, " k"]:
        """Return the trials that flip towards people from the first space to the second, the clearest first."""
        return self._clearest(~self.agrees_a & self.agrees_b, self.margin_b - self.margin_a)

    @property
    def away(self) -> Int[ndarray, " k"]:
        """Return the trials that flip away from people, the clearest first."""
        return self._clearest(self.agrees_a & ~self.agrees_b, self.margin_a - self.margin_b)

    def counts(self) -> dict[str, int]:
        """Count the trials: both agree with people, neither, only one of the two."""
        a, b = self.agrees_a, self.agrees_b
        return {
            "trials": len(a),
            "both": int((a & b).sum()),
            "neither": int((~a & ~b).sum()),
            "towards": int((~a & b).sum()),
            "away": int((a & ~b).sum()),
        }

    @staticmethod
    def _clearest(which: Bool[ndarray, " t"], change: Float[ndarray, " t"]) -> Int[ndarray, " k"]:
        found = np.flatnonzero(which)
        return found[np.argsort(-change[found], kind="stable")]


def flips(a: RSM, b: RSM, triplets: Triplets, *, names: tuple[str, str] = ("a space", "a space")) -> Flips:
    """Compare how two spaces judge the same trials.

    Parameters
    ----------
    a, b : RSM
        Similarities; both hold all stimuli of the trials.
    triplets : Triplets
        Judged trials.
    names : tuple of str
        What errors call the two.

    Returns
    -------
    Flips
        One margin and one choice per trial and space.

    Raises
    ------
    VidsimError
        If a stimulus is missing in a space, a similarity of a trial is unknown, or all similarities of a space are
        equal.

    Examples
    --------
    >>> ids = ("x", "y", "z")
    >>> a = RSM(ids, np.array([[1, 0.2, 0.9], [0.2, 1, 0.1], [0.9, 0.1, 1]]))
    >>> b = RSM(ids, np.array([[1, 0.9, 0.2], [0.9, 1, 0.1], [0.2, 0.1, 1]]))
    >>> flips(a, b, Triplets(ids, np.array([[0, 1, 2]]))).counts()
    {'trials': 1, 'both': 0, 'neither': 0, 'towards': 1, 'away': 0}
    """
    (margin_a, odd_a), (margin_b, odd_b) = (_judge(s, triplets, n) for s, n in zip((a, b), names, strict=True))
    return Flips(margin_a, margin_b, odd_a, odd_b)


def _judge(rsm: RSM, triplets: Triplets, name: str) -> tuple[Float[ndarray, " t"], Int[ndarray, " t"]]:
    own = rsm.take(triplets.ids)
    spread = float(np.nanstd(own.upper)) if len(triplets) else 1.0
    if spread == 0:
        raise VidsimError(
            f"all similarities of {name} are equal, so it judges no trial; choose another layer, or matrix"
        )
    i, j, odd = triplets.rows.T
    s = own.similarities
    # the pair that is left when a stimulus is singled out, in the order of the columns
    pairs = np.stack([s[j, odd], s[i, odd], s[i, j]])
    unknown = int(np.isnan(pairs).any(axis=0).sum())
    if unknown:
        raise VidsimError(
            f"{name} has no similarity for some pair of {unknown} of {len(triplets)} trials; expected one for each pair"
        )
    tied = (pairs == pairs.max(axis=0)).sum(axis=0) > 1
    return (pairs[2] - np.maximum(pairs[0], pairs[1])) / spread, np.where(tied, -1, pairs.argmax(axis=0))
