"""Scatter: how statistics of alignment vary over stimuli, over participants, and over both."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.sparse import csr_array

from vidsim.analysis.columns import RankedColumns, resample
from vidsim.analysis.correlation import codes_of
from vidsim.analysis.influence import RankInfluence, Removals
from vidsim.analysis.resampling import draw, scaled, stimulus_freedom, trial_means, widening
from vidsim.analysis.sample import Sample
from vidsim.analysis.sharing import Sharing
from vidsim.check import one_of
from vidsim.errors import VidsimError

OVER = ("stimuli", "participants", "both")
"""What is resampled."""

RANKS = {"rho": "spearman", "rho_a": "rho_a"}
"""Statistics of pairs, and what they are called elsewhere; all others are means over trials."""


@dataclass(frozen=True, eq=False)
class _Source:
    """Hold one source of scatter.

    Parameters
    ----------
    deviations : mapping of str to array of shape (r, m)
        Of each statistic in resamples, about their mean.
    freedom : float
        Degrees of freedom of its variance.
    """

    deviations: Mapping[str, Float[ndarray, "r m"]]
    freedom: float


class Scatter:
    """Estimate how statistics of models, and their differences, vary.

    Stimuli are resampled with replacement; a pair or trial counts as often as all of its stimuli were drawn together,
    and pairs of a stimulus with itself are dropped. That multiplies the noise of single judgments, as a pair drawn four
    times carries its noise four times. Participants are resampled with replacement too, and people's similarities
    computed anew; of pairs judged once or twice such resamples tell too little. So each set of deviations is
    scaled to the variance that influences give: over stimuli, of pairs or trials that share one (`Sharing`); over
    participants, of their judgments taken away (`Removals`). For both, the two variances are added and what both
    hold is taken off: that of judgments by the same person which share a stimulus, with the noise of single judgments
    among it (two-way clustering, Cameron, Gelbach and Miller 2011). All is widened by Student's t over the normal.

    Parameters
    ----------
    sample : Sample
        Judgments and models.
    over : {"stimuli", "participants", "both"}
        What is resampled.
    resamples : int
        How often.
    seed : int
        Of the resamples.

    Raises
    ------
    VidsimError
        If participants are to be resampled and are unknown or fewer than two.
    """

    def __init__(self, sample: Sample, over: str, resamples: int, seed: int) -> None:
        one_of("way to resample", over, OVER)
        self._sample = sample
        self._people = None if over == "stimuli" else _numbered(sample.people)
        # each source has a stream of its own
        stimuli, people = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
        self._over_stimuli = _resample_stimuli(sample, resamples, stimuli) if over != "participants" else None
        self._over_people = None
        if self._people is not None:
            self._over_people = _resample_people(sample, self._people, resamples, people)
        self._pairs = Sharing.of(sample.pairs, sample.stimuli)
        self._trials = Sharing.of(sample.rows, sample.stimuli)
        self._same_person: dict[int, Sharing] = {}
        if self._people is not None and over == "both":
            self._same_person = {
                count: _within_people(sample, self._people[:count]) for count in (len(sample.rows), len(sample.units))
            }
        self._influences: dict[str, Float[ndarray, "m q"]] = {}
        self._removals: dict[str, Float[ndarray, "m u"]] = {}
        self._prepare()

    def deviations(self, statistic: str, contrast: Float[ndarray, " m"]) -> Float[ndarray, " r"]:
        """Give deviations of a statistic, or of a difference between models, on the scale of its uncertainty.

        Parameters
        ----------
        statistic : str
            ``"rho"``, ``"rho_a"``, or an accuracy of the sample.
        contrast : array of shape (m,)
            What each model's value is multiplied by before they are added.

        Returns
        -------
        array of shape (r,)
            About 0; NaN for resamples without a value.
        """
        freedom = min(source.freedom for source in (self._over_stimuli, self._over_people) if source is not None)
        total = None
        noise = 0.0
        if self._over_stimuli is not None:
            sharing = self._pairs if statistic in RANKS else self._trials
            influences = contrast @ self._influences[statistic]
            total = scaled(self._over_stimuli.deviations[statistic] @ contrast, sharing.variance(influences))
        if self._over_people is not None and self._people is not None:
            moved = contrast @ self._removals[statistic]
            people = self._people[: len(moved)]
            if total is not None:
                noise = self._same_person[len(moved)].covariance(moved)
            groups = np.bincount(people, moved)
            count = len(np.unique(people))
            variance = float((groups**2).sum()) * count / max(count - 1, 1) - noise
            own = scaled(self._over_people.deviations[statistic] @ contrast, max(variance, 0.0))
            total = own if total is None else total + own
        assert total is not None  # one of the two is resampled
        return total * widening(freedom)

    def _prepare(self) -> None:
        sample, codes = self._sample, self._sample.codes
        ranks = [RankInfluence.of(codes_of(row), codes) for row in sample.values]
        removals = None if self._people is None else Removals.of(sample.units, sample.together, sample.shown)
        for name, statistic in RANKS.items():
            if self._over_stimuli is not None:
                self._influences[name] = _stacked([getattr(r, statistic)() / len(codes) for r in ranks], len(codes))
            if removals is not None:
                self._removals[name] = _stacked([removals.influences(r, statistic) for r in ranks], len(sample.units))
        for name, credit in sample.credits.items():
            t = max(credit.shape[1], 1)
            own = (credit - credit.mean(axis=1, keepdims=True)) / t if credit.shape[1] else credit
            self._influences[name] = self._removals[name] = own


def _within_people(sample: Sample, people: Int[ndarray, " k"]) -> Sharing:
    """Group the first trials by person and stimulus: those of different people share nothing."""
    n = sample.stimuli + len(sample.units) - len(sample.rows)
    stimuli = np.concatenate([sample.rows, _outside(sample)])[: len(people)]
    return Sharing.of(stimuli + n * people[:, None], n * (int(people.max(initial=0)) + 1))


def _outside(sample: Sample) -> Int[ndarray, "m 3"]:
    """Return the stimuli of trials with one outside: a third that none else has."""
    units = sample.units[len(sample.rows) :]
    judged = units.min(axis=1)  # the others stand for no pair
    third = sample.stimuli + np.arange(len(units))
    return np.column_stack([sample.pairs[judged], third])


def _stacked(rows: list[Float[ndarray, " q"]], q: int) -> Float[ndarray, "m q"]:
    return np.stack(rows) if rows else np.empty((0, q))


def _numbered(people: Int[ndarray, " u"] | None) -> Int[ndarray, " u"]:
    unknown = 0 if people is None else int((people < 0).sum())
    if people is None or unknown:
        what = "the trials name no participants" if people is None else f"{unknown} of {len(people)} trials name none"
        raise VidsimError(f"{what}, so they cannot be resampled; resample stimuli instead")
    numbers = np.unique(people, return_inverse=True)[1].reshape(-1)
    if not len(numbers) or not numbers.max() > 0:
        raise VidsimError("all trials are of one participant, so people cannot be resampled; resample stimuli instead")
    return numbers


def _resample_stimuli(sample: Sample, resamples: int, rng: np.random.Generator) -> _Source:
    n, codes = sample.stimuli, sample.codes
    drawn = draw(n, resamples, rng)
    i, j = sample.pairs.T
    rhos = resample(
        RankedColumns.of(sample.values), resamples, lambda part: (drawn[part][:, i] * drawn[part][:, j], codes)
    )
    names = list(sample.credits)
    means = trial_means(np.concatenate([sample.credits[name] for name in names]), sample.rows, drawn)
    return _Source(_named(rhos.spearman, rhos.rho_a, names, means), stimulus_freedom(n))


def _resample_people(sample: Sample, people: Int[ndarray, " u"], resamples: int, rng: np.random.Generator) -> _Source:
    g, p = int(people.max()) + 1, len(sample.pairs)
    drawn = draw(g, resamples, rng)
    shown, together = (_counts(people, sample.units[:, :columns], g, p) for columns in (3, 1))

    def judged(part: slice) -> tuple[Float[ndarray, "b p"], Int[ndarray, "b p"]]:
        times = drawn[part] @ shown
        shares = np.divide(drawn[part] @ together, times, out=np.zeros_like(times), where=times > 0)
        return np.minimum(times, 1), np.stack([codes_of(row) for row in shares])

    rhos = resample(RankedColumns.of(sample.values), resamples, judged)
    names = list(sample.credits)
    t = len(sample.rows)
    stacked = np.concatenate([sample.credits[name] for name in names])
    sums = np.stack([np.bincount(people[:t], row, g) for row in stacked], axis=1)
    total = (drawn @ np.bincount(people[:t], minlength=g).astype(np.float64))[:, None]
    means = np.divide(drawn @ sums, total, out=np.full((resamples, len(stacked)), np.nan), where=total > 0)
    return _Source(_named(rhos.spearman, rhos.rho_a, names, means), g - 1.0)


def _counts(people: Int[ndarray, " u"], units: Int[ndarray, "u k"], g: int, p: int) -> csr_array:
    """Count how often each person judged each pair."""
    known = units < p
    who = np.broadcast_to(people[:, None], units.shape)[known]
    return csr_array((np.ones(len(who)), (who, units[known])), shape=(g, p))


def _named(
    rho: Float[ndarray, "r m"], rho_a: Float[ndarray, "r m"], names: list[str], means: Float[ndarray, "r k"]
) -> dict[str, Float[ndarray, "r m"]]:
    m = rho.shape[1]
    return {"rho": rho, "rho_a": rho_a} | {
        name: means[:, number * m : (number + 1) * m] for number, name in enumerate(names)
    }
