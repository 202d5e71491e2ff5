"""A sample: what people judged, and what models say about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.correlation import codes_of
from vidsim.analysis.halves import judged_pairs, pair_positions
from vidsim.analysis.odd_one_out import CHANCE, credits
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets

LEAST = 4
"""Stimuli below which nothing is said."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Hold what people judged, and what m models say about it.

    Parameters
    ----------
    stimuli : int
        How many, n.
    pairs : array of shape (p, 2)
        Positions of the judged pairs.
    shown, together : array of shape (p,)
        How often each was shown, and stayed together.
    units : array of shape (u, 3)
        Judged pairs of each trial as positions in ``pairs``, that which stayed together first; p where a trial has
        fewer.
    rows : array of shape (t, 3)
        Positions of the stimuli of each whole trial.
    people : array of shape (u,), optional
        The number of each trial's participant, whole trials first; needed to resample them.
    values : array of shape (m, p)
        Similarities of the models.
    credits : mapping of str to array of shape (m, t)
        What each whole trial adds to each accuracy.
    """

    stimuli: int
    pairs: Int[ndarray, "p 2"]
    shown: Int[ndarray, " p"]
    together: Int[ndarray, " p"]
    units: Int[ndarray, "u 3"]
    rows: Int[ndarray, "t 3"]
    people: Int[ndarray, " u"] | None
    values: Float[ndarray, "m p"]
    credits: Mapping[str, Float[ndarray, "m t"]]

    @property
    def codes(self) -> Int[ndarray, " p"]:
        """Number people's similarities of the pairs by size."""
        return codes_of(self.together / self.shown)

    @classmethod
    def of(
        cls,
        triplets: Triplets,
        models: Mapping[str, RSM],
        context: str = "split",
        participants: Int[ndarray, " u"] | None = None,
    ) -> "Sample":
        """Lay judgments and models side by side.

        Parameters
        ----------
        triplets : Triplets
            Judged trials.
        models : mapping of str to RSM
            Each holds all stimuli that occur in them.
        context : {"split", "any"}
            Whether trials whose third stimulus lies outside count.
        participants : array of shape (u,), optional
            The number of each trial's participant, those of ``triplets.outside`` last.

        Returns
        -------
        Sample
            Of the pairs that were judged.

        Raises
        ------
        VidsimError
            If there are fewer than four stimuli or two judged pairs, people's or a model's similarities are all equal,
            a model lacks a stimulus, or participants are not as many as trials.
        """
        triplets = triplets.occurring(context)
        n = len(triplets.ids)
        if n < LEAST:
            raise VidsimError(f"{n} stimuli occur in trials, too few to compare with people; expected at least {LEAST}")
        counts = triplets.counts(context)
        judged = np.flatnonzero(counts.shown)
        shares = counts.similarities[judged]
        if len(shares) < 2 or shares.min() == shares.max():
            raise VidsimError(f"{len(shares)} judged pairs, which do not differ: nothing can be correlated with them")
        values = [_similarities(name, rsm, triplets.ids, judged) for name, rsm in models.items()]
        units = judged_pairs(triplets, context)
        if participants is not None and len(participants) != len(units):
            raise VidsimError(f"{len(participants)} participants were given for {len(units)} trials; expected one each")
        position = np.full(len(counts.shown) + 1, len(judged))  # the last stands for no pair
        position[judged] = np.arange(len(judged))
        earned = [credits(rsm, triplets) for rsm in models.values()]
        t = len(triplets)
        return cls(
            stimuli=n,
            pairs=np.stack(pair_positions(judged, n), axis=1),
            shown=counts.shown[judged],
            together=counts.together[judged],
            units=position[units],
            rows=triplets.rows,
            people=participants,
            values=np.stack(values) if values else np.empty((0, len(judged))),
            credits={
                name: np.stack([getattr(own, name) for own in earned]) if earned else np.empty((0, t))
                for name in CHANCE
            },
        )


def _similarities(name: str, rsm: RSM, ids: Sequence[str], judged: Int[ndarray, " p"]) -> Float[ndarray, " p"]:
    lacking = [stimulus for stimulus in ids if stimulus not in rsm.position]
    if lacking:
        raise VidsimError(
            f"{name!r} lacks {len(lacking)} of {len(ids)} judged stimuli, the first is {lacking[0]!r}; "
            "extract them first"
        )
    values = rsm.take(ids).upper[judged].astype(np.float64)
    if np.isnan(values).any():
        raise VidsimError(f"{name!r} has no similarity for {int(np.isnan(values).sum())} of {len(values)} judged pairs")
    if values.min() == values.max():
        raise VidsimError(
            f"all similarities of {name!r} are equal, so that nothing correlates with them; choose another layer of an "
            "encoder, or leave a matrix out"
        )
    return values
