"""The plan of an experiment: triplets cut into participants and sets, placed on the screen, with catch trials."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vidsim.check import at_least
from vidsim.data.design.places import balanced
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 20_000_000
"""Trials up to which a plan is laid out: at which it takes 2.5 GB of memory."""


@dataclass(frozen=True)
class Cost:
    """Say what an experiment takes.

    Parameters
    ----------
    trials : int
        Real trials, repeats included.
    catch_trials : int
        Catch trials, in addition.
    sets : int
        Sets of trials.
    participants : int
        People, each judging no triplet twice.
    """

    trials: int
    catch_trials: int
    sets: int
    participants: int


@dataclass(frozen=True)
class Layout:
    """Say how trials are given to people.

    Parameters
    ----------
    repeats : int
        How often each triplet is shown, each time to another participant; at least 1.
    catch : int
        Catch trials per set, beside the real ones; at least 0.
    set_size : int
        Real trials per set, at least 1; the paper's is 20.
    sets_per_participant : int
        Sets that one participant judges, at least 1; the paper's is 11.

    Raises
    ------
    VidsimError
        If a number is too small.
    """

    repeats: int = 1
    catch: int = 0
    set_size: int = 20
    sets_per_participant: int = 11

    def __post_init__(self) -> None:
        at_least(1, repeats=self.repeats, set_size=self.set_size, sets_per_participant=self.sets_per_participant)
        at_least(0, catch=self.catch)

    def share(self, triplets: int) -> int:
        """Return the most real trials of one participant: never more than there are different triplets."""
        return min(self.set_size * self.sets_per_participant, triplets)

    def cost(self, triplets: int) -> Cost:
        """Count trials, sets and participants.

        Parameters
        ----------
        triplets : int
            Different triplets, at least 1.

        Returns
        -------
        Cost
            What they take.

        Examples
        --------
        >>> Layout(catch=1).cost(10_780)
        Cost(trials=10780, catch_trials=539, sets=539, participants=49)
        """
        trials = triplets * self.repeats
        share = self.share(triplets)
        full, rest = divmod(trials, share)
        sets = full * -(-share // self.set_size) + -(-rest // self.set_size)
        return Cost(trials, sets * self.catch, sets, full + (rest > 0))


def plan(rows: Int[ndarray, "t 3"], ids: Sequence[str], layout: Layout, seed: int = 0) -> "pa.Table":
    """Lay an experiment out, trial by trial.

    Every stimulus stands equally often in each of the three places, as nearly as its number of trials allows: its
    counts differ by at most one. A triplet that is shown again is turned by one place. Real and catch trials of a set
    stand in random order. A catch trial shows one stimulus twice and another once; the places of the lone one are
    balanced, and within a set no stimulus is doubled twice. The last participant may have fewer trials than the others.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Different triplets, as positions of ids.
    ids : sequence of str
        Stimuli.
    layout : Layout
        How trials are given to people.
    seed : int
        Seed of all orders, at least 0.

    Returns
    -------
    pyarrow.Table
        One row per trial; columns ``set`` and ``participant`` (numbers from 1), ``trial`` (place in its set, from 1),
        ``stim1``, ``stim2``, ``stim3`` (ids, from the first place on the screen to the last) and ``catch``.

    Raises
    ------
    VidsimError
        If there are fewer stimuli than catch trials per set, no triplets, too many trials, or the seed is below 0.
    """
    import pyarrow as pa

    at_least(0, seed=seed)
    if len(rows) == 0:
        raise VidsimError("no triplets were given to plan; expected at least 1")
    cost = layout.cost(len(rows))
    check_catch(layout, len(ids))
    if cost.trials + cost.catch_trials > MOST:
        raise VidsimError(
            f"the plan would have {cost.trials + cost.catch_trials:,} trials, more than memory is meant to hold; "
            f"expected at most {MOST:,}: fewer stimuli, repeats or catch trials"
        )
    rng = np.random.default_rng([seed, 2])
    places = balanced(rows, len(ids), rng)
    shown = _order(len(rows), layout, rng)
    real = np.concatenate([np.roll(places, r, axis=1)[order] for r, order in enumerate(shown)])
    number = np.arange(cost.trials)
    share = layout.share(len(rows))
    sets_each = -(-share // layout.set_size)
    set_of = number // share * sets_each + number % share // layout.set_size
    if cost.catch_trials:
        set_of = np.concatenate([set_of, np.repeat(np.arange(cost.sets), layout.catch)])
        real = np.concatenate([real, _catch(cost.catch_trials, len(ids), rng).astype(real.dtype)])
    order = np.lexsort((rng.random(len(set_of)), set_of))
    set_of = set_of[order]
    trial = np.arange(len(order)) - np.searchsorted(set_of, np.arange(cost.sets))[set_of] + 1
    names = pa.array(ids, pa.string())
    columns = {
        "set": pa.array((set_of + 1).astype(np.int32)),
        "participant": pa.array((set_of // sets_each + 1).astype(np.int32)),
        "trial": pa.array(trial.astype(np.int32)),
    }
    columns.update({f"stim{place + 1}": names.take(pa.array(real[order, place])) for place in range(3)})
    return pa.table({**columns, "catch": pa.array(order >= cost.trials)})


def check_catch(layout: Layout, stimuli: int) -> None:
    """Refuse more catch trials per set than there are stimuli to double.

    Parameters
    ----------
    layout : Layout
        How trials are given to people.
    stimuli : int
        How many there are.

    Raises
    ------
    VidsimError
        If there are fewer stimuli than catch trials per set.
    """
    if layout.catch > stimuli:
        raise VidsimError(
            f"{layout.catch:,} catch trials per set need as many stimuli to double, there are {stimuli:,}; "
            "expected fewer catch trials"
        )


def _order(t: int, layout: Layout, rng: np.random.Generator) -> list[Int[ndarray, " t"]]:
    """Draw one order of all triplets per repeat, such that consecutive shares hold none twice."""
    share = layout.share(t)
    orders: list[ndarray] = []
    for repeat in range(layout.repeats):
        order = rng.permutation(t)
        begun = repeat * t % share  # trials that the repeat before left with an unfinished participant
        if begun:
            seen = np.zeros(t, np.bool_)
            seen[orders[-1][-begun:]] = True
            first = order[~seen[order]][: share - begun]
            seen[:] = False
            seen[first] = True
            order = np.concatenate([first, order[~seen[order]]])
        orders.append(order)
    return orders


def _catch(count: int, n: int, rng: np.random.Generator) -> Int[ndarray, "c 3"]:
    """Draw catch trials: doubled stimuli in turn, each time with another lone one, in places that are balanced."""
    number = np.arange(count)
    turn = rng.permutation(n)
    step = rng.permutation(np.arange(1, n))
    doubled = turn[number % n]
    lone = turn[(number + step[number // n % (n - 1)]) % n]
    place = rng.permuted(np.tile(np.arange(3), (count // 3 + 1, 1)), axis=1).ravel()[:count]
    rows = np.repeat(doubled[:, None], 3, axis=1)
    rows[number, place] = lone
    return rows
