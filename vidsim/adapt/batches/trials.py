"""Trial batches: the paper's sampler, a few trials a step and six RSA steps an epoch (Section 3.3.1)."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from numpy.random import Generator

from vidsim.adapt.batches.judged import JudgedPairs, varied
from vidsim.adapt.batches.step import Counts, Step
from vidsim.adapt.recipe import Unfit
from vidsim.check import at_least
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

DRAWS = 100
"""Times an RSA step is drawn before judgments are called too few."""


class TrialBatches:
    """Sample trials in random order, a few a step; each forwards its three stimuli, however often they occur.

    At steps spaced evenly over the epoch, the last among them, ``rsa_stimuli`` more are drawn, of which
    ``rsa_gradients`` are forwarded with gradient, and all judged pairs that touch one of these are compared
    (Section 3.3.1). Trials, extra trials and RSA steps each have a random stream of their own: what one variant adds
    leaves the rest as it is.

    Parameters
    ----------
    triplets : Triplets
        Training trials.
    batch : int
        Trials a step, 1 or more; the last step takes what is left. With 0 there are RSA steps alone: the RSA variant,
        for which the paper's 13,038 constraints are 106 RSA steps of 123 pairs.
    rsa_steps : int
        RSA steps an epoch, 0 or more; never more than there are steps.
    rsa_stimuli : int
        K, stimuli of an RSA step, drawn among those that were judged.
    rsa_gradients : int
        M, those of them forwarded with gradient, 1 to K.
    extra_trials : int
        Trials more, drawn without replacement, spread over the same number of steps: 738 in the budget-matched variant
        (Appendix F).
    seed : int
        0 or more.

    Raises
    ------
    VidsimError
        If a number is out of range, or nothing, or not enough, was judged.

    Examples
    --------
    >>> rows = np.array([[0, 1, 2], [1, 2, 3], [0, 3, 2], [0, 1, 3], [1, 3, 2]])
    >>> triplets = Triplets(tuple("abcd"), rows)
    >>> TrialBatches(triplets, batch=2, rsa_steps=1, rsa_stimuli=4, rsa_gradients=2, seed=0).counts()
    Counts(steps=3, rsa_steps=1, forwards=19, trials=5, pairs=5)
    """

    def __init__(
        self,
        triplets: Triplets,
        *,
        batch: int = 4,
        rsa_steps: int = 6,
        rsa_stimuli: int = 24,
        rsa_gradients: int = 6,
        extra_trials: int = 0,
        seed: int,
    ) -> None:
        at_least(0, batch=batch, rsa_steps=rsa_steps, seed=seed)
        if not (len(triplets) if batch else rsa_steps):
            raise VidsimError(f"{len(triplets)} trials, batch {batch} and rsa_steps {rsa_steps}: nothing to train on")
        if not 0 <= extra_trials <= (len(triplets) if batch else 0):
            raise Unfit(
                "batches.extra_trials",
                f"extra_trials {extra_trials}: expected 0 to {len(triplets)}, the number of trials, and 0 with batch 0",
            )
        self.rows = triplets.rows.astype(np.int64)
        self.batch = batch
        self.extra_trials = extra_trials
        self.rsa_stimuli = rsa_stimuli
        self.rsa_gradients = rsa_gradients
        self.seed = seed
        steps = -(-len(triplets) // batch) if batch else rsa_steps
        self.rsa_steps = min(rsa_steps, steps)
        self._steps = steps
        self._pairs = JudgedPairs(triplets)
        self._judged = np.unique(self._pairs.rows)
        if self.rsa_steps:
            self._check()

    def _check(self) -> None:
        if not 1 <= self.rsa_gradients <= self.rsa_stimuli or not 3 <= self.rsa_stimuli <= len(self._judged):
            raise Unfit(
                "batches.rsa_stimuli",
                f"rsa_stimuli {self.rsa_stimuli} and rsa_gradients {self.rsa_gradients}: expected 3 to "
                f"{len(self._judged)} stimuli, as many as were judged, and gradients for 1 of them to all",
            )
        if not varied(self._pairs.human):
            raise Unfit(
                "batches.rsa_steps",
                f"the human distances of all {len(self._pairs.human)} judged pairs are the same; expected some that "
                "differ: set rsa_steps to 0",
            )

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
            The trials' stimuli, three each, then, at an RSA step, those of its pairs.
        """
        order, extra, rsa = (np.random.default_rng(s) for s in np.random.SeedSequence([self.seed, number]).spawn(3))
        rows, bounds = self._dealt(order, extra)
        stimuli = rows.ravel()
        none = np.empty(0, np.int64), np.empty((0, 2), np.int64), np.empty(0, np.float32)
        for k in range(self._steps):
            start, end = bounds[k], bounds[k + 1]
            own = stimuli[3 * start : 3 * end]
            trials = np.arange(len(own)).reshape(-1, 3)
            if (k + 1) * self.rsa_steps // self._steps > k * self.rsa_steps // self._steps:
                group, pairs, human = self._drawn(rsa)
                m = self.rsa_gradients
                yield Step(np.concatenate([own, group[:m]]), group[m:], trials, pairs + len(own), human)
            else:
                yield Step(own, none[0], trials, none[1], none[2])

    def counts(self, number: int = 0) -> Counts:
        """Count what an epoch holds.

        Parameters
        ----------
        number : int
            Which epoch: only the judged pairs of RSA steps differ.

        Returns
        -------
        Counts
            Exactly.
        """
        return Counts.of(self.epoch(number))

    def _dealt(self, order: Generator, extra: Generator) -> tuple[Int[ndarray, "t 3"], list[int]]:
        """Deal trials to steps: the rows, and where each step begins and the last ends."""
        if not self.batch:
            return self.rows[:0], [0] * (self._steps + 1)
        rows = self.rows[order.permutation(len(self.rows))]
        step = np.arange(len(rows)) // self.batch
        if self.extra_trials:
            more = extra.choice(len(self.rows), self.extra_trials, replace=False)
            step = np.concatenate([step, np.arange(self.extra_trials) * self._steps // self.extra_trials])
            dealt = np.argsort(step, kind="stable")
            rows, step = np.concatenate([rows, self.rows[more]])[dealt], step[dealt]
        return rows, np.searchsorted(step, np.arange(self._steps + 1)).tolist()

    def _drawn(self, rng: Generator) -> tuple[Int[ndarray, " k"], Int[ndarray, "p 2"], Float[ndarray, " p"]]:
        """Draw an RSA step: its stimuli, those with gradient first, and its judged pairs."""
        for _ in range(DRAWS):
            group = rng.choice(self._judged, self.rsa_stimuli, replace=False)
            pairs, human = self._pairs.of(group, self.rsa_gradients)
            if len(pairs):
                return group, pairs, human
        raise VidsimError(
            f"in {DRAWS} draws of {self.rsa_stimuli} of {len(self._judged)} stimuli no two judged pairs differed; set "
            "rsa_stimuli and rsa_gradients higher, or rsa_steps to 0"
        )
