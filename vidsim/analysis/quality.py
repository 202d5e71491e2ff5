"""Quality of judgments: what a source holds, and who judged how well and how fast."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.agreement import Agreement, agreement
from vidsim.analysis.exclusion import catch_counts
from vidsim.data.judgments.judgments import Defect, Exclusion, Judgments

SLOW = 60.0
"""Response times above this, in seconds, are counted on their own."""


@dataclass(frozen=True)
class Participant:
    """Describe what one person contributed.

    Parameters
    ----------
    name : str
        Who.
    trials : int
        Real trials.
    catch_trials : int
        Catch trials in which the lone stimulus could be chosen.
    catch_accuracy : float
        Share of those in which it was; NaN without any.
    response_time : float
        Median in seconds, catch trials included; NaN where unknown.
    """

    name: str
    trials: int
    catch_trials: int
    catch_accuracy: float
    response_time: float


@dataclass(frozen=True)
class ResponseTimes:
    """Describe the response times of all trials, catch trials included, in seconds; NaN where there are none.

    Parameters
    ----------
    count : int
        Trials whose time is known.
    minimum, percent_1, percent_5, median, percent_95, percent_99, maximum : float
        Order statistics.
    slow : int
        How many are above `SLOW`.
    """

    count: int
    minimum: float
    percent_1: float
    percent_5: float
    median: float
    percent_95: float
    percent_99: float
    maximum: float
    slow: int


@dataclass(frozen=True)
class PositionBias:
    """Describe where on the screen the odd one was chosen, real trials only.

    Parameters
    ----------
    counts : tuple of int
        Choices at places 1, 2 and 3.
    shares : tuple of float
        Their shares; NaN where no place is known.
    p : float
        Probability of a chi-square at least as large if every place is chosen alike.
    """

    counts: tuple[int, int, int]
    shares: tuple[float, float, float]
    p: float


@dataclass(frozen=True, eq=False)
class Quality:
    """Hold what there is to know about judgments before they are used.

    Parameters
    ----------
    source, order : str
        Where they come from, and how the source tells the odd one.
    rows : int
        Rows of the source.
    usable_rows : int
        Rows that became trials and were not excluded, catch trials included.
    trials : int
        Real trials: three different stimuli.
    catch_trials : int
        Trials that show a stimulus more than once.
    catch_answered : int
        Those with a lone stimulus, which can be chosen rightly.
    catch_correct : int
        Those in which it was.
    catch_accuracy : float
        Their share of all catch trials, so a trial of three identical stimuli counts as not passed; NaN without any. A
        person's own accuracy leaves such trials out.
    participants : int
        People named.
    without_participant : int
        Trials that name nobody.
    per_participant : tuple of Participant
        Each of the people, sorted by name.
    response_times : ResponseTimes
        Of all trials.
    position_bias : PositionBias
        Of real trials.
    stimuli : int
        Stimuli shown in real trials.
    repeated_triplets : int
        Triplets judged more than once.
    agreement : Agreement
        How well their judgments agree, between people and within; without intervals.
    pairs_observed : int
        Pairs shown together in a real trial.
    pairs_total : int
        Pairs among the stimuli shown.
    judgments_per_pair : float
        Mean over observed pairs; NaN without any.
    judgments_per_pair_histogram : tuple of (int, int)
        Number of judgments, and how many pairs have it, 0 included.
    defects : tuple of Defect
        What was wrong with the source.
    exclusions : tuple of Exclusion
        What rules removed.
    notes : tuple of str
        What a person should know.
    """

    source: str
    order: str
    rows: int
    usable_rows: int
    trials: int
    catch_trials: int
    catch_answered: int
    catch_correct: int
    catch_accuracy: float
    participants: int
    without_participant: int
    per_participant: tuple[Participant, ...]
    response_times: ResponseTimes
    position_bias: PositionBias
    stimuli: int
    repeated_triplets: int
    agreement: Agreement
    pairs_observed: int
    pairs_total: int
    judgments_per_pair: float
    judgments_per_pair_histogram: tuple[tuple[int, int], ...]
    defects: tuple[Defect, ...]
    exclusions: tuple[Exclusion, ...]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """Return everything as JSON knows it: NaN is None, tuples are lists."""
        return plain(asdict(self))


def quality(judgments: Judgments) -> Quality:
    """Describe the quality of judgments.

    Parameters
    ----------
    judgments : Judgments
        As imported, catch trials included.

    Returns
    -------
    Quality
        Numbers only.
    """
    rows, catch, place = judgments.rows, judgments.catch, judgments.position
    identical = (rows[:, 0] == rows[:, 1]) & (rows[:, 0] == rows[:, 2])
    answered = catch & ~identical
    triplets = judgments.triplets
    names, who = judgments.participants
    agreed = agreement(triplets, who[~catch], resamples=0)
    shown = triplets.counts().shown
    observed = int((shown > 0).sum())
    stimuli = len(np.unique(triplets.rows))
    pairs = stimuli * (stimuli - 1) // 2
    histogram = np.bincount(shown[shown > 0])
    histogram = {0: pairs - observed} | {int(k): int(histogram[k]) for k in np.flatnonzero(histogram)}
    correct = int(judgments.catch_correct.sum())
    return Quality(
        source=judgments.source,
        order=judgments.order,
        rows=judgments.source_rows,
        usable_rows=len(judgments),
        trials=len(triplets),
        catch_trials=int(catch.sum()),
        catch_answered=int(answered.sum()),
        catch_correct=correct,
        catch_accuracy=_ratio(correct, int(catch.sum())),
        participants=len(names),
        without_participant=int((who < 0).sum()),
        per_participant=_participants(judgments),
        response_times=_response_times(judgments.response_time),
        position_bias=_position_bias(place[~catch]),
        stimuli=stimuli,
        repeated_triplets=agreed.repeated,
        agreement=agreed,
        pairs_observed=observed,
        pairs_total=pairs,
        judgments_per_pair=_ratio(3 * len(triplets), observed),
        judgments_per_pair_histogram=tuple(histogram.items()),
        defects=judgments.defects,
        exclusions=judgments.exclusions,
        notes=judgments.notes,
    )


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows: NaN into None, tuples into lists, recursively."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _participants(judgments: Judgments) -> tuple[Participant, ...]:
    names, who = judgments.participants
    people = len(names)
    tested, correct = catch_counts(judgments, who, people)
    trials = np.bincount(who[~judgments.catch & (who >= 0)], minlength=people)
    medians = _medians(judgments.response_time, who, people)
    return tuple(
        Participant(name, int(trials[k]), int(tested[k]), _ratio(int(correct[k]), int(tested[k])), float(medians[k]))
        for k, name in enumerate(names)
    )


def _medians(values: Float[ndarray, " t"], group: Int[ndarray, " t"], groups: int) -> Float[ndarray, " n"]:
    """Return the median of each group's known values; NaN where there are none."""
    known = (group >= 0) & ~np.isnan(values)
    values, group = values[known], group[known]
    values = values[np.lexsort((values, group))]
    sizes = np.bincount(group, minlength=groups)
    starts = np.cumsum(sizes) - sizes
    some = sizes > 0
    medians = np.full(groups, np.nan)
    low, high = starts + (sizes - 1) // 2, starts + sizes // 2
    medians[some] = (values[low[some]] + values[high[some]]) / 2
    return medians


def _response_times(time: Float[ndarray, " t"]) -> ResponseTimes:
    known = time[~np.isnan(time)]
    points = np.percentile(known, [0, 1, 5, 50, 95, 99, 100]) if len(known) else np.full(7, np.nan)
    a, b, c, d, e, f, g = (float(point) for point in points)
    return ResponseTimes(len(known), a, b, c, d, e, f, g, int((known > SLOW).sum()))


def _position_bias(place: Int[ndarray, " t"]) -> PositionBias:
    counts = np.bincount(place, minlength=4)[1:4]
    total = int(counts.sum())
    a, b, c = (int(count) for count in counts)
    chi_square = _ratio(3 * (a * a + b * b + c * c), total) - total
    # the tail of a chi-square of two degrees of freedom
    p = float(np.exp(-chi_square / 2))
    return PositionBias((a, b, c), (_ratio(a, total), _ratio(b, total), _ratio(c, total)), p)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
