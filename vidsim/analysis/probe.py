"""Probes: how well ratings of stimuli can be predicted from their embeddings (Section 3.3.2, Fig. 4)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.special import stdtrit

from vidsim.analysis.crossfit import CrossFit, cross_fit, resample
from vidsim.analysis.multiple import max_statistic
from vidsim.analysis.ridge import rotated
from vidsim.check import at_least
from vidsim.data.ratings import Ratings
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError

LEAST_FITTED = 10
"""Rated stimuli below which no attribute is fitted."""

LEAST_TESTED = 4
"""Rated stimuli below which a held-out split says nothing."""

LARGEST = 1 - 1e-12
"""Correlation above which Fisher's scale is cut off."""


@dataclass(frozen=True)
class Score:
    """Hold how well one attribute is predicted from one space.

    Parameters
    ----------
    attribute : str
        What was rated.
    r : float
        Pearson correlation of predictions and ratings, of stimuli that the fit has not seen; NaN where ratings do not
        differ within a fold.
    interval : tuple of float
        95 % interval by bootstrap over stimuli; NaN without resamples.
    penalty : float
        Of the ridge regression, geometric mean over fits, in units of the mean squared length of a centred embedding.
    fitted, tested : int
        Rated stimuli that a fit sees (the fewest, over folds), and those that r is taken over.
    """

    attribute: str
    r: float
    interval: tuple[float, float]
    penalty: float
    fitted: int
    tested: int


@dataclass(frozen=True)
class Gain:
    """Hold how much better one attribute is predicted from one space than from another.

    Parameters
    ----------
    attribute : str
        What was rated.
    value : float
        r of this space less r of the first.
    interval : tuple of float
        95 % interval, both on the same resamples; NaN without resamples.
    p : float
        Two-sided, for this difference alone.
    p_corrected : float
        The same, corrected for all attributes and spaces compared (max-statistic).
    interval_corrected : tuple of float
        Holds together with those of all other differences with 95 % confidence.
    """

    attribute: str
    value: float
    interval: tuple[float, float]
    p: float
    p_corrected: float
    interval_corrected: tuple[float, float]


@dataclass(frozen=True)
class SpaceProbe:
    """Hold what can be predicted from one space.

    Parameters
    ----------
    space : str
        Its name.
    dimensions : int
        Of its embeddings.
    scores : tuple of Score
        One an attribute.
    gains : tuple of Gain
        Over the first space; empty for the first.
    """

    space: str
    dimensions: int
    scores: tuple[Score, ...]
    gains: tuple[Gain, ...] = ()


@dataclass(frozen=True)
class Probe:
    """Hold what can be predicted from several spaces, about the same stimuli.

    Parameters
    ----------
    attributes : tuple of str
        What was rated.
    spaces : tuple of SpaceProbe
        In the order given; the first is what others are compared with.
    stimuli : int
        Those with a rating.
    folds, repeats : int
        Of the cross-validation; 0 where a split is held out.
    resamples, seed : int
        Of the bootstrap.
    """

    attributes: tuple[str, ...]
    spaces: tuple[SpaceProbe, ...]
    stimuli: int
    folds: int
    repeats: int
    resamples: int
    seed: int


def probe(
    spaces: Mapping[str, Embeddings],
    ratings: Ratings,
    *,
    held_out: Collection[str] = (),
    folds: int = 5,
    repeats: int = 10,
    resamples: int = 1000,
    seed: int = 0,
) -> Probe:
    """Predict ratings from embeddings by ridge regression, and correlate predictions with ratings (Fig. 4).

    The penalty is chosen for each attribute among the fitted stimuli alone, by leave-one-out (`fit_ridge`). r is taken
    over stimuli that the fit has not seen: those held out, or each fold in turn, with the stimuli dealt ``repeats``
    times and r averaged over these.

    Folds are not pooled as they are: the mean of the fitted stimuli is high where that of the fold is low, which drags
    r below 0 even where there is nothing to predict (by .16, measured with 60 stimuli), and fits with a larger penalty
    have smaller predictions. Predictions and ratings are set to mean 0 and standard deviation 1 within each fold, and r
    is taken over all: the mean r of the folds, weighted by their stimuli. It estimates the r of a fit to as many
    stimuli as folds leave. A resample changes mean and deviation, and r is again taken over all, about the means of the
    folds; that is defined for folds of any size, as a mean of each fold's r would not be.

    Intervals are by bootstrap over the stimuli predicted. With a split held out they are about the fit at hand. In
    cross-validation stimuli are fitted too, and intervals by their predictions alone are too narrow: those fitted are
    resampled as well, by their influence on the predictions, which is known in closed form (`Ridge.pull`), to first
    order and for given penalties. They are drawn apart from those predicted; drawn alike, what two stimuli have to do
    with each other would count twice, and intervals be too wide. Deviations are taken on Fisher's scale, and widened
    for the means taken within folds and by Student's t over the normal. On simulated ratings of 60 to 250 stimuli the
    intervals hold the truth in 92 to 96 of 100 studies.

    Spaces are compared on the same folds and resamples.

    Parameters
    ----------
    spaces : mapping of str to Embeddings
        One or more, by name; each has all stimuli of ``ratings`` that are rated.
    ratings : Ratings
        One or more attributes; stimuli without a rating are left out, for each attribute apart.
    held_out : collection of str
        Stimuli to predict from fits to all others; none for cross-validation.
    folds : int
        Of the cross-validation, 2 or more.
    repeats : int
        Ways to deal the stimuli, 1 or more.
    resamples : int
        Bootstrap resamples; 0 leaves intervals and p NaN.
    seed : int
        Of folds and resamples, 0 or more.

    Returns
    -------
    Probe
        A score for each space and attribute, and gains over the first space.

    Raises
    ------
    VidsimError
        If nothing is to be predicted, stimuli have no embeddings or embeddings are not finite, an attribute is constant
        or rated for too few, or a number is out of range.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> points = Embeddings([f"clip {k}" for k in range(60)], rng.normal(size=(60, 5)))
    >>> values = points.matrix[:, :1] + 0.1 * rng.normal(size=(60, 1))
    >>> ratings = Ratings(tuple(points.ids), ("warmth",), values, (None,) * 60)
    >>> probe({"points": points}, ratings).spaces[0].scores[0].r > 0.95
    True
    """
    _check(spaces, ratings, held_out, folds, repeats, resamples, seed)
    some = np.flatnonzero(np.isfinite(ratings.values).any(axis=1))
    ids = tuple(ratings.ids[int(row)] for row in some)
    values = ratings.values[some]
    out = np.isin(ids, list(held_out))
    dealing, drawing = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    if len(held_out):
        ways, parts, tested = [None], 1, out
    else:
        ways, parts = [dealing.permutation(len(ids)) for _ in range(repeats)], folds
        tested = np.ones(len(ids), bool)
    fits = [cross_fit(_matrix(name, space, ids), values, out, ways, folds) for name, space in spaces.items()]
    n = np.isfinite(values[tested]).sum(axis=0)
    widening = np.sqrt(n / (n - parts)) * stdtrit(n - parts - 1, 0.975) / stdtrit(np.inf, 0.975)
    drawn, pulled = resample(fits, tested, resamples, drawing)
    scores = [_scores(ratings.attributes, fit, n, drawn[:, k], pulled[:, k], widening) for k, fit in enumerate(fits)]
    gains = _gains(ratings.attributes, np.array([fit.r for fit in fits]), drawn, pulled, widening)
    return Probe(
        attributes=ratings.attributes,
        spaces=tuple(
            SpaceProbe(name, space.matrix.shape[1], score, gain)
            for (name, space), score, gain in zip(spaces.items(), scores, [(), *gains], strict=True)
        ),
        stimuli=len(ids),
        folds=0 if len(held_out) else folds,
        repeats=0 if len(held_out) else repeats,
        resamples=resamples,
        seed=seed,
    )


def unusable(ratings: Ratings, held_out: Collection[str] = (), folds: int = 5) -> dict[str, str]:
    """Tell which attributes cannot be predicted, and why.

    Parameters
    ----------
    ratings : Ratings
        The ratings.
    held_out : collection of str
        Stimuli to predict from fits to all others; none for cross-validation.
    folds : int
        Of the cross-validation.

    Returns
    -------
    dict of str to str
        Attribute, and what is wrong with it; empty where nothing is.
    """
    out = np.isin(ratings.ids, list(held_out))
    found: dict[str, str] = {}
    for name, column in zip(ratings.attributes, ratings.values.T, strict=True):
        known = np.isfinite(column)
        if len(held_out):
            parts = [(" to fit", known & ~out, LEAST_FITTED), (" held out", known & out, LEAST_TESTED)]
        else:
            parts = [("", known, max(LEAST_FITTED, 2 * folds))]
        for what, part, least in parts:
            if part.sum() < least:
                why = f" for {folds} folds" if least > LEAST_FITTED else ""
                found[name] = f"{part.sum()} stimuli{what} are rated; expected {least} or more{why}"
            elif np.ptp(column[part]) == 0:
                found[name] = f"all {part.sum()} stimuli{what} are rated {column[part][0]:g}; expected some that differ"
            if name in found:
                break
    return found


def _check(
    spaces: Mapping[str, Embeddings],
    ratings: Ratings,
    held_out: Collection[str],
    folds: int,
    repeats: int,
    resamples: int,
    seed: int,
) -> None:
    if not spaces or not ratings.attributes:
        raise VidsimError("nothing to predict; expected one space or more, and one attribute or more")
    at_least(2, folds=folds)
    at_least(1, repeats=repeats)
    at_least(0, resamples=resamples, seed=seed)
    unknown = set(held_out).difference(ratings.ids)
    if unknown:
        raise VidsimError(f"{len(unknown)} stimuli held out are not among the ratings, such as {min(unknown)!r}")
    for name, wrong in unusable(ratings, held_out, folds).items():
        raise VidsimError(f"{name!r} cannot be predicted: {wrong}")


def _matrix(name: str, space: Embeddings, ids: Sequence[str]) -> Float[ndarray, "n k"]:
    """Take the embeddings of some stimuli, in as few dimensions as they span."""
    lacking = [stimulus for stimulus in ids if stimulus not in space.position]
    if lacking:
        raise VidsimError(f"{name!r} lacks {len(lacking)} of {len(ids)} stimuli, the first is {lacking[0]!r}")
    matrix = space.take(ids).matrix
    wrong = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(wrong):
        raise VidsimError(
            f"{name!r}: the embeddings of {len(wrong)} of {len(ids)} stimuli are not finite, the first is "
            f"{ids[int(wrong[0])]!r}"
        )
    return rotated(matrix)


def _scores(
    attributes: Sequence[str],
    fit: CrossFit,
    tested: Int[ndarray, " a"],
    drawn: Float[ndarray, "r a"],
    pulled: Float[ndarray, "r a"],
    widening: Float[ndarray, " a"],
) -> tuple[Score, ...]:
    """Put r of one space together with its intervals, which are taken on Fisher's scale."""
    found: list[Score] = []
    for k, name in enumerate(attributes):
        r = float(np.clip(fit.r[k], -1, 1))
        centre = np.arctanh(np.clip(r, -LARGEST, LARGEST))
        z = _centred(np.arctanh(np.clip(drawn[:, k], -LARGEST, LARGEST)))
        low, high = _ends(widening[k] * (z + pulled[:, k] * np.cosh(centre) ** 2))  # 1 / (1 - r ** 2) on that scale
        interval = (float(np.tanh(centre + low)), float(np.tanh(centre + high)))
        found.append(Score(name, r, interval, float(fit.penalties[k]), int(fit.fitted[k]), int(tested[k])))
    return tuple(found)


def _gains(
    attributes: Sequence[str],
    r: Float[ndarray, "s a"],
    drawn: Float[ndarray, "r s a"],
    pulled: Float[ndarray, "r s a"],
    widening: Float[ndarray, " a"],
) -> list[tuple[Gain, ...]]:
    """Compare every space but the first with the first; all differences are one family."""
    s, a = r.shape
    values = (r[1:] - r[0]).ravel()
    moved = (drawn + pulled)[:, 1:] - (drawn + pulled)[:, :1]
    deviations = np.tile(widening, s - 1) * _centred(moved.reshape(len(moved), (s - 1) * a))
    together = max_statistic(values, deviations)
    found: list[Gain] = []
    for k, (name, value) in enumerate(zip([*attributes] * (s - 1), values, strict=True)):
        alone = max_statistic(values[[k]], deviations[:, [k]])
        low, high = _ends(deviations[:, k])
        found.append(
            Gain(
                attribute=name,
                value=float(value),
                interval=(float(value + low), float(value + high)),
                p=float(alone.p_values[0]),
                p_corrected=float(together.p_values[k]),
                interval_corrected=(float(together.intervals[k, 0]), float(together.intervals[k, 1])),
            )
        )
    return [tuple(found[start : start + a]) for start in range(0, len(found), a)]


def _centred(values: Float[ndarray, "r ..."]) -> Float[ndarray, "r ..."]:
    """Take the mean off, of those known."""
    known = np.isfinite(values)
    return values - np.where(known, values, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def _ends(deviations: Float[ndarray, " r"]) -> tuple[float, float]:
    """Return where 95 % of the known deviations begin and end; NaN for fewer than two."""
    known = deviations[np.isfinite(deviations)]
    if len(known) < 2:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)
