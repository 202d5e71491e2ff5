"""Neighbours: whether the stimuli that a model ranks first are those that people find most similar (nDCG, recall)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vidsim.analysis.differences import Difference, check_against, compare, compared_pairs, estimates
from vidsim.analysis.ranking import Ideal
from vidsim.analysis.resampling import draw, scaled, widening
from vidsim.check import at_least
from vidsim.errors import VidsimError
from vidsim.rsm import RSM

STATISTICS = ("ndcg", "recall")

BLOCK = 1 << 20
"""Resamples times candidates worked on at a time."""


@dataclass(frozen=True)
class Measured:
    """Hold a mean over stimuli.

    Parameters
    ----------
    value : float
        The mean.
    interval : tuple of float
        95 % interval by bootstrap over stimuli; NaN without resamples.
    above_chance : float
        The mean less that of an order at random.
    p_value : float
        Of ``above_chance`` against 0, two-sided, from the same resamples; NaN without them.
    """

    value: float
    interval: tuple[float, float]
    above_chance: float
    p_value: float


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Hold how well models find what people find similar.

    Parameters
    ----------
    k : int
        Length of the lists that are judged.
    stimuli : int
        Those that were asked about.
    left_out : int
        Those that were not: judged with k others or fewer, or similar to none of them.
    candidates : float
        Judged others of a stimulus, mean.
    chance : mapping of str to float
        Of an order at random, by statistic: its expectation.
    models : mapping of str to mapping of str to Measured
        By model and statistic.
    differences : tuple of Difference
        Between models, in each statistic.
    """

    k: int
    stimuli: int
    left_out: int
    candidates: float
    chance: Mapping[str, float]
    models: Mapping[str, Mapping[str, Measured]]
    differences: tuple[Difference, ...]


def neighbours(
    human: RSM,
    models: Mapping[str, RSM],
    *,
    k: int = 10,
    against: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Neighbours:
    """Ask of every stimulus for the k most similar others, and score the answers by people's similarities.

    Of each stimulus only those others are ranked that it was judged with. nDCG@k (Järvelin and Kekäläinen 2002,
    "Cumulated gain-based evaluation of IR techniques") is the sum of people's similarities in the first k places, each
    divided by log2(1 + place), over the largest such sum; places that tie share what is in them (McSherry and Najork
    2008, "Computing information retrieval performance measures efficiently in the presence of tied scores").
    Recall@k is how many of people's k most similar are among the model's; of those that tie for the last places, the
    expected number if the tie is broken at random. Both are means over stimuli, and that of an order at random is their
    chance level.

    A resample draws stimuli with replacement: each is asked about, and stands among the candidates of others, as often
    as it was drawn. That multiplies the noise of single pairs by about three. The deviations of resamples from their
    mean are therefore scaled to the variance by the jackknife over stimuli, less what it counts twice, the squared
    influences of pairs (Efron and Stein 1981, "The jackknife estimate of variance"), widened by Student's t over the
    normal for n - 1 stimuli, and laid about the statistic. On simulated judges (150 studies of 50 stimuli) the interval
    covers the truth in 93 to 97 of 100 studies with 4.5 judgments a pair, and in 96 to 100 with 1.7.

    Parameters
    ----------
    human : RSM
        Similarities of people, 0 or more; NaN where never judged.
    models : mapping of str to RSM
        Each holds all ids of ``human``.
    k : int
        Places that count, 1 or more.
    against : str, optional
        A model that all others are compared with. By default every two are compared, if they are
        `vidsim.analysis.differences.MOST_COMPARED` at most.
    resamples : int
        Bootstrap resamples of the stimuli; below 2 intervals and p-values are NaN.
    seed : int
        Of the resamples.

    Returns
    -------
    Neighbours
        Of all models.

    Raises
    ------
    VidsimError
        If ``k`` or another number is out of range, a similarity of people is negative, nothing can be asked about, or a
        model lacks a stimulus or a similarity.

    Examples
    --------
    >>> likes = np.array([[1, 0.9, 0.1, 0.0], [0.9, 1, 0.2, 0.1], [0.1, 0.2, 1, 0.8], [0.0, 0.1, 0.8, 1]])
    >>> human = RSM(("a", "b", "c", "d"), likes)
    >>> found = neighbours(human, {"same": human, "reverse": RSM(human.ids, 1 - likes)}, k=1, resamples=0)
    >>> {name: measured["recall"].value for name, measured in found.models.items()}, round(found.chance["recall"], 3)
    ({'same': 1.0, 'reverse': 0.0}, 0.333)
    """
    at_least(1, k=k)
    at_least(0, resamples=resamples, seed=seed)
    check_against(against, models)
    judged = np.isfinite(human.similarities)
    np.fill_diagonal(judged, val=False)
    _check_gains(human, judged)
    spaces = [_similarities(name, rsm, human, judged) for name, rsm in models.items()]
    asked = np.flatnonzero((judged.sum(axis=1) > k) & (np.where(judged, human.similarities, 0).max(axis=1) > 0))
    if not len(asked):
        raise VidsimError(
            f"none of {len(human)} stimuli was judged with more than {k} others and found similar to one; ask for "
            "fewer neighbours, or collect more judgments"
        )
    n, study = len(human), _Study(human.similarities, spaces, judged, asked, k)
    values = _means(study, np.ones((1, n), np.int64))[0]
    deviations = _Scatter.of(study, resamples, seed).deviations if resamples > 1 else None
    names = list(models)
    columns: dict[str, Float[ndarray, " m"]] = dict(zip(STATISTICS, values.T, strict=True))
    found: dict[str, dict[str, Measured]] = {name: {} for name in names}
    own = np.eye(len(values))[:-1]
    over = own - np.eye(len(values))[-1]  # the last is an order at random
    for statistic, column in columns.items():
        whole = estimates(statistic, column[:-1], own, deviations)
        above = estimates(statistic, over @ column, over, deviations)
        for name, mean, more in zip(names, whole, above, strict=True):
            found[name][statistic] = Measured(mean.value, mean.interval, more.value, more.p_value)
    pairs = compared_pairs(names, values[:-1, 0], against)
    return Neighbours(
        k=k,
        stimuli=len(asked),
        left_out=n - len(asked),
        candidates=float(judged[asked].sum(axis=1).mean()),
        chance=dict(zip(STATISTICS, values[-1].tolist(), strict=True)),
        models=found,
        differences=tuple(
            Difference(names[first], names[second], statistic, one.value, one.interval, one.p_value, one.p_corrected)
            for statistic, (first, second), one in compare(pairs, columns, deviations)
        ),
    )


@dataclass(frozen=True, eq=False)
class _Scatter:
    """Hold both means of m models in resamples, by how much each stimulus moves them, and products of how pairs do."""

    drawn: Float[ndarray, "r m 2"]
    left: Float[ndarray, "n m 2"]
    pairs: Float[ndarray, "2 m m"]

    @classmethod
    def of(cls, study: "_Study", resamples: int, seed: int) -> "_Scatter":
        """Resample stimuli, and leave each out."""
        drawn = _means(study, draw(len(study.human), resamples, np.random.default_rng(seed)).astype(np.int64))
        left, pairs = _without(study)
        return cls(drawn, left, np.stack([own.T @ own for own in (pairs[..., 0], pairs[..., 1])]))

    def deviations(self, statistic: str, contrast: Float[ndarray, " m"]) -> Float[ndarray, " r"]:
        """Return deviations of a contrast of models, on the scale of its uncertainty."""
        place, n = STATISTICS.index(statistic), len(self.left)
        noise = float(contrast @ self.pairs[place] @ contrast)
        variance = max(float((n - 1) * (self.left[..., place] @ contrast).var()) - noise, noise)
        return widening(n - 1.0) * scaled(self.drawn[..., place] @ contrast, variance)


def _check_gains(human: RSM, judged: Bool[ndarray, "n n"]) -> None:
    below = np.argwhere(judged & (human.similarities < 0))
    if len(below):
        i, j = below[0]
        raise VidsimError(
            f"people's similarity of {human.ids[i]!r} and {human.ids[j]!r} is {human.similarities[i, j]:g}; expected "
            "0 or more, such as the share of trials in which two stayed together"
        )


def _similarities(name: str, rsm: RSM, human: RSM, judged: Bool[ndarray, "n n"]) -> Float[ndarray, "n n"]:
    found = rsm.take(human.ids).similarities
    lacking = int((judged & ~np.isfinite(found)).sum()) // 2
    if lacking:
        raise VidsimError(f"{name!r} has no similarity for {lacking} of {int(judged.sum()) // 2} judged pairs")
    return found


def _means(study: "_Study", drawn: Int[ndarray, "r n"]) -> Float[ndarray, "r m 2"]:
    """Compute both means for every space, and for an order at random, in every resample; NaN where none is known."""
    sums, total = np.zeros((len(study.spaces) + 1, 2, len(drawn))), np.zeros(len(drawn))
    step = max(1, BLOCK // len(study.human))
    for start in range(0, len(drawn), step):
        part = slice(start, start + step)
        times = np.ascontiguousarray(drawn[part].T, np.int32)
        for query in study.asked:
            scores, known = study.scores(int(query), times)
            asks = np.where(known, times[query], 0)
            total[part] += asks
            sums[..., part] += asks * scores
    means = np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)
    return np.ascontiguousarray(means.transpose(2, 0, 1))


def _without(study: "_Study") -> tuple[Float[ndarray, "n m 2"], Float[ndarray, "p m 2"]]:
    """Leave out each stimulus, and each judged pair: by how much that moves both means of every space."""
    n, q = len(study.human), len(study.asked)
    whole = np.zeros((n, len(study.spaces) + 1, 2))
    moved = np.zeros((n, n, len(study.spaces) + 1, 2), np.float32)  # of each stimulus, without each other
    for query in study.asked:
        others = np.flatnonzero(study.judged[query])
        times = np.ones((n, len(others) + 1), np.int32)
        times[others, np.arange(1, len(others) + 1)] = 0
        scores, known = study.scores(int(query), times)
        scores = scores.transpose(2, 0, 1)
        whole[query] = scores[0]
        moved[query, others] = np.where(known[1:, None, None], scores[1:] - scores[0], 0)
    mean = whole[study.asked].mean(axis=0)
    gone = np.zeros((n, 1, 1))
    gone[study.asked] = 1
    left = (moved.sum(axis=0, dtype=np.float64) - gone * (whole - mean)) / np.maximum(q - gone, 1)
    i, j = np.nonzero(np.triu(study.judged, 1))
    return left, (moved[i, j] + moved[j, i]) / q


@dataclass(frozen=True, eq=False)
class _Study:
    """Hold people's similarities, those of models, and what is asked.

    Parameters
    ----------
    human : array of shape (n, n)
        Similarities of people.
    spaces : list of array of shape (n, n)
        Of models.
    judged : array of shape (n, n)
        Which others are candidates of each stimulus.
    asked : array of shape (q,)
        Stimuli that are asked about.
    k : int
        Places that count.
    """

    human: Float[ndarray, "n n"]
    spaces: list[Float[ndarray, "n n"]]
    judged: Bool[ndarray, "n n"]
    asked: Int[ndarray, " q"]
    k: int

    def scores(self, query: int, times: Int[ndarray, "n r"]) -> tuple[Float[ndarray, "m 2 r"], Bool[ndarray, " r"]]:
        """Score what every space, and an order at random, answers to one query; and tell where that is known."""
        others = np.flatnonzero(self.judged[query])
        ideal = Ideal.of(self.human[query, others], times[others], self.k)
        found = [*(ideal.score(space[query, others]) for space in self.spaces), ideal.random()]
        return np.stack(found), ideal.known
