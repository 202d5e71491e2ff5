"""Exclusion: explicit rules that leave trials or people out, each recorded with what it removed."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from vidsim.data.judgments.assemble import repeats as repeated
from vidsim.data.judgments.judgments import Exclusion, Judgments
from vidsim.errors import VidsimError

REPEATS = ("keep", "first")


def exclude(
    judgments: Judgments,
    *,
    min_catch_accuracy: float | None = None,
    rt_range: tuple[float | None, float | None] | None = None,
    repeats: str = "keep",
) -> Judgments:
    """Leave trials out by explicit rules, and record what each removed.

    Rules apply in the order of the parameters, each to what the one before has left.

    Parameters
    ----------
    judgments : Judgments
        As imported.
    min_catch_accuracy : float, optional
        All trials of people below this share of passed catch trials go, 0 to 1. People without a catch trial stay, and
        a note says so.
    rt_range : tuple of (float or None, float or None), optional
        Trials whose response time in seconds lies outside ``(low, high)`` go, catch trials too; either end may be
        None. Trials without a response time stay, and a note says so.
    repeats : {"keep", "first"}
        ``"first"``: of several real trials in which one person judged the same three stimuli, only the first in the
        order of the source stays.

    Returns
    -------
    Judgments
        With one more `Exclusion` for each rule given.

    Raises
    ------
    VidsimError
        If a threshold is out of range, participants or response times are needed and unknown, or no trial is left.
    """
    if repeats not in REPEATS:
        raise VidsimError(f"repeats {repeats!r}: expected 'keep' or 'first'")
    if min_catch_accuracy is not None:
        judgments = _exclude_inattentive(judgments, min_catch_accuracy)
    if rt_range is not None:
        judgments = _exclude_by_time(judgments, *rt_range)
    if repeats == "first":
        judgments = _exclude_repeats(judgments)
    return judgments


def catch_counts(
    judgments: Judgments, who: Int[ndarray, " t"], people: int
) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
    """Count each person's catch trials.

    Parameters
    ----------
    judgments : Judgments
        Judgments.
    who : array of shape (t,)
        The number of each trial's participant, -1 where unknown.
    people : int
        How many.

    Returns
    -------
    tuple of array of shape (n,) and array of shape (n,)
        Catch trials that have a lone stimulus, and those in which it was chosen.
    """
    rows = judgments.rows
    answered = judgments.catch & ~((rows[:, 0] == rows[:, 1]) & (rows[:, 0] == rows[:, 2]))
    known = who >= 0
    return (
        np.bincount(who[answered & known], minlength=people),
        np.bincount(who[judgments.catch_correct & known], minlength=people),
    )


def _exclude_inattentive(judgments: Judgments, threshold: float) -> Judgments:
    if not 0 <= threshold <= 1:
        raise VidsimError(f"min_catch_accuracy {threshold}: expected a share from 0 to 1, such as 0.8")
    names, who = judgments.participants
    if not names:
        raise VidsimError("min_catch_accuracy needs participants, and these judgments name none: leave the rule out")
    people = len(names)
    answered, correct = catch_counts(judgments, who, people)
    bad = (answered > 0) & (correct < threshold * answered - 1e-9)
    gone = (who >= 0) & bad[who]
    untested = int((answered == 0).sum())
    kept = _keep(judgments, ~gone, "min_catch_accuracy", threshold)
    if untested:
        kept = _note(kept, f"min_catch_accuracy: {untested} of {people} participants have no catch trial and were kept")
    return kept


def _exclude_by_time(judgments: Judgments, low: float | None, high: float | None) -> Judgments:
    least, most = -np.inf if low is None else low, np.inf if high is None else high
    if (low is None and high is None) or not least <= most or most < 0:
        raise VidsimError(f"rt_range ({low}, {high}): expected seconds, low before high, such as (0.3, 60)")
    time = judgments.response_time
    unknown = np.isnan(time)
    if len(time) and unknown.all():
        raise VidsimError("rt_range needs response times, and these judgments have none: leave the rule out")
    kept = _keep(judgments, unknown | ((time >= least) & (time <= most)), "rt_range", [low, high])
    if unknown.any():
        kept = _note(kept, f"rt_range: {int(unknown.sum())} of {len(time)} trials have no response time and were kept")
    return kept


def _exclude_repeats(judgments: Judgments) -> Judgments:
    if not judgments.participants[0]:
        raise VidsimError("repeats 'first' needs participants, and these judgments name none: leave the rule out")
    stay = np.ones(len(judgments), bool)
    stay[repeated(judgments)] = False
    return _keep(judgments, stay, "repeats", "first")


def _keep(judgments: Judgments, stay: Bool[ndarray, " t"], rule: str, value: Any) -> Judgments:
    if len(judgments) and not stay.any():
        raise VidsimError(f"{rule} {value} leaves none of {len(judgments)} trials; loosen it")
    names, who = judgments.participants
    before, after = (np.bincount(who[which], minlength=len(names)) for which in (who >= 0, (who >= 0) & stay))
    gone = tuple(name for name, had, has in zip(names, before, after, strict=True) if had and not has)
    return judgments.select(stay, Exclusion(rule, value, int((~stay).sum()), gone))


def _note(judgments: Judgments, text: str) -> Judgments:
    return replace(judgments, notes=(*judgments.notes, text))
