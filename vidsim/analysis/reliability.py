"""Reliability of a human RSM: how well its judgments, split in halves, agree with each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.halves import Halves, trial_halves, vote_halves
from vidsim.check import at_least, one_of
from vidsim.errors import VidsimError
from vidsim.triplets import CONTEXTS, Triplets

METHODS = ("trials", "participants", "votes")
"""What is split: trials, the people who judged them, or (the paper's way) the votes of each pair on its own."""

LEAST = 4
"""Stimuli below which resamples say nothing: without one of three a single pair is left, which has no correlation."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """Hold a split-half reliability.

    A model's rho squared is to be compared with ``spearman_brown``, not with its square: a model that knows the true
    similarities correlates with the measured ones at ``sqrt(spearman_brown)`` on average.

    Parameters
    ----------
    protocol : str
        ``"default"``, or ``"paper"`` where votes are split.
    method : {"trials", "participants", "votes"}
        What is split.
    splits : int
        Random splits.
    undefined : int
        Splits without a correlation: fewer than two pairs in both halves, or a half in which all shares are equal.
    trials : int
        Trials that were split; for ``context="any"`` those with two known stimuli too. For votes, votes.
    left_out : int
        Trials without a participant, where participants are split.
    pairs : float
        Pairs seen in both halves, mean over splits.
    r : float
        Spearman correlation of the halves, mean over splits.
    spearman_brown : float
        Reliability of all judgments, 2 r / (1 + r). Negative where the halves disagree; NaN where undefined.
    spearman_brown_squared : float
        Its square, the figure that the paper's protocol reports; NaN where ``spearman_brown`` is negative.
    expected_rho_of_perfect_model : float
        Square root of ``spearman_brown``; NaN where that is negative.
    interval : tuple of float
        95 % percentile interval of ``spearman_brown`` by bootstrap over stimuli; NaN of fewer than `LEAST` stimuli.
    split_interval : tuple of float
        Central 95 % of the single splits' Spearman-Brown values: the chance of splitting alone, which says nothing
        about other stimuli.
    resamples : int
        Bootstrap resamples.
    """

    protocol: str
    method: str
    splits: int
    undefined: int
    trials: int
    left_out: int
    pairs: float
    r: float
    spearman_brown: float
    spearman_brown_squared: float
    expected_rho_of_perfect_model: float
    interval: tuple[float, float]
    split_interval: tuple[float, float]
    resamples: int


def reliability(
    triplets: Triplets,
    *,
    method: str = "trials",
    participants: Int[ndarray, " u"] | None = None,
    splits: int = 1000,
    context: str = "split",
    resamples: int = 1000,
    seed: int = 0,
) -> Reliability:
    """Estimate the split-half reliability of a human RSM (for votes: Section C.3).

    Trials are split at random into halves, each half gives an RSM, and the two are correlated (Spearman) over the pairs
    seen in both. The correlations are averaged and corrected to the full number of trials (Spearman-Brown).

    Trials are split, not the votes of a pair: a trial ties three pairs together, and halves that share trials are not
    independent. The result predicts the correlation with a second study of as many other triplets; with the same
    triplets again it would be higher, as a pair's share also depends on the third stimuli it was shown with. Splitting
    people also counts what a person's judgments have in common as noise. The paper's protocol (``"votes"``) takes pairs
    with at least two votes, shuffles the votes of each and cuts them at half their number.

    The interval resamples stimuli: a pair counts as often as both of its stimuli were drawn together, and pairs of a
    stimulus with itself are dropped. The noise that comes from splitting each resample only a few times is taken out.
    On simulated judges it covers the truth in 95 to 100 of 100 studies: it is cautious where noise, not the choice of
    stimuli, makes the most of the uncertainty. A bootstrap over pairs is not offered: pairs that share a stimulus vary
    together, and in the same simulations it covered 52 to 92 of 100.

    Parameters
    ----------
    triplets : Triplets
        Judged trials, catch trials taken out.
    method : {"trials", "participants", "votes"}
        What is split.
    participants : array of shape (t,) or (t + m,), optional
        For ``"participants"``: the number of each trial's participant, -1 where unknown; for ``context="any"``, those
        of ``triplets.outside`` follow (`restrict_people` gives both).
    splits : int
        Random splits, 1 or more.
    context : {"split", "any"}
        Whether trials whose third stimulus lies outside count for the pair inside.
    resamples : int
        Bootstrap resamples; 0 leaves the interval NaN.
    seed : int
        Of the splits and resamples, 0 or more.

    Returns
    -------
    Reliability
        NaN where no split gives a correlation.

    Raises
    ------
    VidsimError
        If fewer than three pairs were judged twice, participants are missing or fewer than two, or a number is out of
        range.

    Examples
    --------
    >>> trials = Triplets(("a", "b", "c", "d"), np.array([[0, 1, 2], [2, 3, 0]] * 4))
    >>> reliability(trials, splits=10, resamples=0).spearman_brown
    1.0
    """
    at_least(1, splits=splits)
    at_least(0, resamples=resamples, seed=seed)
    one_of("context", context, CONTEXTS)
    one_of("method", method, METHODS)
    triplets = triplets.occurring(context)
    if method == "votes":
        judged = vote_halves(triplets, context)
    elif method == "trials":
        judged = trial_halves(triplets, context)
    else:
        judged = trial_halves(triplets, context, _people(triplets, participants, context))

    # the bootstrap has a stream of its own, so that its size leaves the splits as they are
    rng, boot = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    r = np.empty(splits)
    seen = np.empty(splits)
    for split in range(splits):
        r[split], seen[split] = judged.correlate(judged.draw(rng))
    defined = r[~np.isnan(r)]
    mean = float(defined.mean()) if len(defined) else float("nan")
    corrected = float(spearman_brown(np.array([mean]))[0])
    positive = corrected if corrected >= 0 else float("nan")
    return Reliability(
        protocol="paper" if method == "votes" else "default",
        method=method,
        splits=splits,
        undefined=splits - len(defined),
        trials=judged.trials,
        left_out=judged.left_out,
        pairs=float(seen.mean()),
        r=mean,
        spearman_brown=corrected,
        spearman_brown_squared=positive**2,
        expected_rho_of_perfect_model=positive**0.5,
        interval=percentile_interval(spearman_brown(_resampled(judged, len(triplets.ids), resamples, boot))),
        split_interval=percentile_interval(spearman_brown(r)),
        resamples=resamples,
    )


def spearman_brown(r: Float[ndarray, " k"]) -> Float[ndarray, " k"]:
    """Correct the correlation of two halves to the reliability of the whole, 2 r / (1 + r); NaN for r = -1.

    Parameters
    ----------
    r : array of shape (k,)
        From -1 to 1.

    Returns
    -------
    array of shape (k,)
        At most 1.

    Examples
    --------
    >>> spearman_brown(np.array([0.5, 1.0, -1.0]))
    array([0.66666667, 1.        ,        nan])
    """
    return np.divide(2 * r, 1 + r, out=np.full(len(r), np.nan), where=1 + r > 1e-9)


def percentile_interval(values: Float[ndarray, " k"]) -> tuple[float, float]:
    """Return the central 95 % of values, NaN left out; NaN where there are none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def even_interval(deviations: Float[ndarray, " k"]) -> tuple[float, float]:
    """Return the ends between which 95 % of deviations lie, as far below 0 as above; NaN left out, NaN without any."""
    known = np.abs(deviations[~np.isnan(deviations)])
    reach = float(np.percentile(known, 95)) if len(known) else float("nan")
    return -reach, reach


def restrict_people(
    triplets: Triplets, participants: Int[ndarray, " t"], ids: Sequence[str]
) -> tuple[Triplets, Int[ndarray, " u"]]:
    """Keep what is known about some stimuli, as `Triplets.restrict` does, and who judged it.

    Parameters
    ----------
    triplets : Triplets
        Trials; what lies outside them already goes.
    participants : array of shape (t,)
        The number of each trial's participant, -1 where unknown.
    ids : sequence of str
        Stimuli to keep.

    Returns
    -------
    Triplets
        Over ``ids``, ordered by participant.
    array of shape (u,)
        Participant of each of its trials, then of each row of its ``outside``.

    Raises
    ------
    VidsimError
        If an id is not here, or participants are not as many as trials.
    """
    if len(participants) != len(triplets):
        raise VidsimError(f"{len(participants)} participants were given for {len(triplets)} trials; expected one each")
    order = np.argsort(participants, kind="stable")
    people, starts = np.unique(participants[order], return_index=True)
    parts = [triplets.select(part).restrict(ids) for part in np.split(order, starts[1:])]
    rows = [np.empty((0, 3), np.int32), *(part.rows for part in parts)]
    outside = [np.empty((0, 3), np.int32), *(part.outside for part in parts)]
    who = [np.repeat(people, [len(kept) for kept in kind[1:]]) for kind in (rows, outside)]
    return Triplets(tuple(ids), np.concatenate(rows), np.concatenate(outside)), np.concatenate(who)


def _people(triplets: Triplets, participants: Int[ndarray, " u"] | None, context: str) -> Int[ndarray, " u"]:
    if participants is None:
        raise VidsimError("splitting participants needs to know them: give one for each trial, or split trials")
    expected = len(triplets) + (len(triplets.outside) if context == "any" else 0)
    if len(participants) != expected:
        raise VidsimError(f"{len(participants)} participants were given for {expected} trials; expected one each")
    people = len(np.unique(participants[participants >= 0]))
    if people < 2:
        raise VidsimError(f"splitting participants needs at least 2; these trials name {people}: split trials instead")
    return participants


def _resampled(judged: Halves, n: int, resamples: int, rng: np.random.Generator) -> Float[ndarray, " k"]:
    """Return the correlation of halves in resamples of the stimuli, the noise of splitting taken out."""
    if len(np.union1d(judged.i, judged.j)) < LEAST:
        return np.empty(0)
    r = np.empty((resamples, 2))
    split = judged.draw(rng)
    for resample in range(resamples):
        # two splits tell what splitting adds to the scatter; one is shared with the resample before, to save time
        before, split = split, judged.draw(rng)
        drawn = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        times = drawn[judged.i] * drawn[judged.j]
        r[resample] = judged.correlate(before, times)[0], judged.correlate(split, times)[0]
    r = r[~np.isnan(r).any(axis=1)]
    if len(r) < 2:
        return np.empty(0)
    means = r.mean(axis=1)
    spread = means.var(ddof=1)
    noise = r.var(axis=1, ddof=1).mean() / 2
    shrink = np.sqrt(max(spread - noise, 0) / spread) if spread > 0 else 0.0
    return means.mean() + (means - means.mean()) * shrink
