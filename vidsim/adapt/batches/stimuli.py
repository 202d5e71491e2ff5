"""Stimulus batches: distinct stimuli in a step, and all that people said about them."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from numpy.random import Generator

from vidsim.adapt.batches.judged import JudgedPairs, Within
from vidsim.adapt.batches.step import Counts, Step
from vidsim.check import at_least
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets


class StimulusBatches:
    """Sample groups of distinct stimuli; each is forwarded once, for all judged trials and pairs within its group.

    The order of the stimuli is random. The last group of a pass is topped up with stimuli of the groups before, so
    that all are of one size. Of N stimuli a group of B holds about (B / N)^3 of the trials and (B / N)^2 of the pairs:
    `counts` tells how much an epoch covers, and more ``steps`` cover more.

    Parameters
    ----------
    triplets : Triplets
        Training trials.
    stimuli : int
        B, stimuli a step, 3 or more; if there are fewer, each step has all.
    steps : int, optional
        Optimiser steps an epoch, 1 or more; by default one pass over the stimuli.
    seed : int
        0 or more.

    Raises
    ------
    VidsimError
        If a number is out of range, or nothing was judged.

    Examples
    --------
    >>> rows = np.array([[0, 1, 2], [1, 2, 3], [0, 3, 2], [0, 1, 3], [1, 3, 2]])
    >>> StimulusBatches(Triplets(tuple("abcd"), rows), stimuli=4, seed=0).counts()
    Counts(steps=1, rsa_steps=1, forwards=4, trials=5, pairs=6)
    """

    def __init__(self, triplets: Triplets, *, stimuli: int, steps: int | None = None, seed: int) -> None:
        at_least(3, stimuli=stimuli)
        at_least(1, steps=1 if steps is None else steps)
        at_least(0, seed=seed)
        self._pairs = JudgedPairs(triplets)
        self._judged = np.unique(self._pairs.rows)
        if not len(self._judged):
            raise VidsimError(f"no trials among {len(triplets.ids)} stimuli: nothing to train on")
        self._trials = Within(triplets.rows.astype(np.int64), len(triplets.ids))
        self.stimuli = min(stimuli, len(self._judged))
        self.seed = seed
        self._steps = -(-len(self._judged) // self.stimuli) if steps is None else steps

    def __len__(self) -> int:
        return self._steps

    def epoch(self, number: int) -> Iterator[Step]:
        """Yield the steps of an epoch.

        Parameters
        ----------
        number : int
            From 0; with the seed it alone decides what is drawn.

        Yields
        ------
        Step
            Distinct stimuli, all with gradient. It has no trials where none lies within the group, and no pairs where
            fewer than two do or all have the same human distance.
        """
        groups = self._groups(np.random.default_rng(np.random.SeedSequence([self.seed, number])))
        none = np.empty(0, np.int64)
        for _ in range(self._steps):
            group = next(groups)
            yield Step(group, none, self._trials.find(group)[1], *self._pairs.of(group, len(group)))

    def counts(self, number: int = 0) -> Counts:
        """Count what an epoch covers.

        Parameters
        ----------
        number : int
            Which epoch: groups of the same size hold more judgments or fewer.

        Returns
        -------
        Counts
            Exactly.
        """
        return Counts.of(self.epoch(number))

    def _groups(self, rng: Generator) -> Iterator[Int[ndarray, " b"]]:
        """Yield groups without end, pass after pass over the stimuli."""
        while True:
            order = rng.permutation(self._judged)
            for start in range(0, len(order), self.stimuli):
                group = order[start : start + self.stimuli]
                lacking = self.stimuli - len(group)
                yield np.concatenate([group, rng.choice(order[:start], lacking, replace=False)]) if lacking else group
