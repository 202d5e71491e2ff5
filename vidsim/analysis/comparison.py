"""Comparison: how two spaces judge the same trials, with the trials that tell most about their difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from vidsim.analysis.flips import Flips, flips
from vidsim.analysis.mcnemar import mcnemar
from vidsim.analysis.odd_one_out import credits
from vidsim.analysis.trial_interval import trial_interval
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets, triplet_numbers


@dataclass(frozen=True)
class Example:
    """Hold one trial on which two spaces disagree.

    Parameters
    ----------
    trial : int
        Its number among the trials, from 0.
    stimuli : tuple of str
        The two that people kept together, then the one they singled out.
    odd_a, odd_b : str, optional
        The one that each space singles out; None where its two most similar pairs tie.
    margin_a, margin_b : float
        As in `Flips`, in standard deviations of the space's similarities.
    same, judged : int
        How many trials show these three stimuli, and in how many of them people singled out the same one.
    """

    trial: int
    stimuli: tuple[str, str, str]
    odd_a: str | None
    odd_b: str | None
    margin_a: float
    margin_b: float
    same: int
    judged: int


@dataclass(frozen=True, eq=False)
class Comparison:
    """Hold how two spaces judge the same trials.

    Parameters
    ----------
    a, b : str
        Names of the spaces.
    counts : dict of str to int
        ``trials``, and those on which ``both``, ``neither``, only the second (``towards``) or only the first space
        (``away``) agrees with people.
    accuracies : tuple of float
        Three-way odd-one-out accuracy of each; chance is 1/3.
    change : float
        Accuracy of the second less that of the first.
    interval : tuple of float
        95 % interval of the change by bootstrap over stimuli.
    p : float
        McNemar's exact test of ``towards`` against ``away``, which takes trials as independent.
    towards, away : tuple of Example
        All trials that flip, each triplet with its odd one once. First those whose choice most judgments of the triplet
        share, then the others; among either the clearest first.
    flips : Flips
        Every trial.
    stimuli : tuple of str
        Those of the trials.
    """

    a: str
    b: str
    counts: dict[str, int]
    accuracies: tuple[float, float]
    change: float
    interval: tuple[float, float]
    p: float
    towards: tuple[Example, ...]
    away: tuple[Example, ...]
    flips: Flips
    stimuli: tuple[str, ...]


def compare(
    a: RSM,
    b: RSM,
    triplets: Triplets,
    *,
    names: tuple[str, str] = ("A", "B"),
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare how two spaces judge the same trials, such as a model's before and after fine-tuning (Figs. 7 and 8).

    Parameters
    ----------
    a, b : RSM
        Similarities; both hold all stimuli of the trials.
    triplets : Triplets
        Judged trials, one at least.
    names : tuple of str
        Of the two spaces.
    resamples : int
        Bootstrap resamples of the stimuli; below 2 the interval is NaN.
    seed : int
        Of the resamples.

    Returns
    -------
    Comparison
        Counts, accuracies, test and examples.

    Raises
    ------
    VidsimError
        If there is no trial, or a space cannot judge them all.
    """
    if not len(triplets):
        raise VidsimError("there is no trial to compare the spaces on")
    found = flips(a, b, triplets, names=(repr(names[0]), repr(names[1])))
    counts = found.counts()
    first, second = (credits(rsm, triplets).three_way for rsm in (a, b))
    low, high = trial_interval(second - first, triplets.rows, resamples=resamples, seed=seed, even=True)
    return Comparison(
        *names,
        counts=counts,
        accuracies=(float(first.mean()), float(second.mean())),
        change=float((second - first).mean()),
        interval=(float(np.maximum(low, -1.0)), float(np.minimum(high, 1.0))),  # few trials make it wide
        p=mcnemar(counts["towards"], counts["away"]),
        towards=_examples(found, triplets, "towards"),
        away=_examples(found, triplets, "away"),
        flips=found,
        stimuli=tuple(triplets.ids),
    )


def _examples(found: Flips, triplets: Triplets, which: Literal["towards", "away"]) -> tuple[Example, ...]:
    rows = triplets.rows
    numbers = triplet_numbers(rows)
    judged = np.bincount(numbers)
    # a triplet and the one singled out of it
    keys = numbers.astype(np.int64) * len(triplets.ids) + rows[:, 2]
    _, key, alike = np.unique(keys, return_inverse=True, return_counts=True)
    trials: Int[ndarray, " k"] = getattr(found, which)
    chosen = trials[np.sort(np.unique(key[trials], return_index=True)[1])]
    contested = 2 * alike[key[chosen]] <= judged[numbers[chosen]]
    return tuple(
        Example(
            trial,
            _names(rows[trial], triplets.ids),
            _odd(rows[trial], int(found.odd_a[trial]), triplets.ids),
            _odd(rows[trial], int(found.odd_b[trial]), triplets.ids),
            float(found.margin_a[trial]),
            float(found.margin_b[trial]),
            int(alike[key[trial]]),
            int(judged[numbers[trial]]),
        )
        for trial in chosen[np.argsort(contested, kind="stable")].tolist()
    )


def _names(row: Int[ndarray, "3"], ids: Sequence[str]) -> tuple[str, str, str]:
    a, b, odd = (ids[int(k)] for k in row)
    return a, b, odd


def _odd(row: Int[ndarray, "3"], column: int, ids: Sequence[str]) -> str | None:
    return None if column < 0 else ids[int(row[column])]
