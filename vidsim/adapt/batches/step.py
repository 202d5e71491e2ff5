"""Step: what one optimiser step forwards, and which judgments it is compared with."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Step:
    """Hold one optimiser step.

    Parameters
    ----------
    stimuli : array of shape (s,)
        Positions of stimuli among the ids, forwarded with gradient; they may repeat.
    fixed : array of shape (f,)
        Those forwarded without gradient.
    trials : array of shape (t, 3)
        ``(a, b, odd)`` as positions in ``stimuli`` followed by ``fixed``.
    pairs : array of shape (p, 2)
        Judged pairs, likewise; none where it is no RSA step, else two or more.
    human : array of shape (p,)
        Human distances of the pairs, 1 - the share of trials in which they stayed together; not all the same.
    """

    stimuli: Int[ndarray, " s"]
    fixed: Int[ndarray, " f"]
    trials: Int[ndarray, "t 3"]
    pairs: Int[ndarray, "p 2"]
    human: Float[ndarray, " p"]


@dataclass(frozen=True)
class Counts:
    """Hold what an epoch costs and what it teaches.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    rsa_steps : int
        Those with pairs.
    forwards : int
        Stimuli forwarded, with gradient or without, as often as each is.
    trials : int
        Trials compared with, as often as each is.
    pairs : int
        Human distances compared with, as often as each is.

    Examples
    --------
    >>> Counts(steps=3060, rsa_steps=6, forwards=36_864, trials=12_240, pairs=738).constraints
    12978
    """

    steps: int
    rsa_steps: int
    forwards: int
    trials: int
    pairs: int

    @property
    def constraints(self) -> int:
        """Return trials and pairs together, the paper's budget of supervision (Table 2)."""
        return self.trials + self.pairs

    @classmethod
    def of(cls, steps: Iterable[Step]) -> "Counts":
        """Count what some steps hold.

        Parameters
        ----------
        steps : iterable of Step
            Such as those of an epoch.

        Returns
        -------
        Counts
            Their sums.
        """
        sizes = [(1, len(s.pairs) > 0, len(s.stimuli) + len(s.fixed), len(s.trials), len(s.pairs)) for s in steps]
        return cls(*np.array(sizes, np.int64).reshape(-1, 5).sum(axis=0).tolist())


@runtime_checkable
class Batches(Protocol):
    """Name what a trainer asks of a sampler."""

    def __len__(self) -> int:
        """Return the optimiser steps of an epoch."""
        ...

    def epoch(self, number: int) -> Iterator[Step]:
        """Yield the steps of an epoch, the same whatever ran before."""
        ...

    def counts(self, number: int = 0) -> Counts:
        """Count what an epoch holds."""
        ...
