"""Probes: how well ratings of stimuli can be predicted from their embeddings (Section 3.3.2, Fig. 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.special import stdtrit

from vidsim.analysis.multiple import max_statistic
from vidsim.analysis.ridge import fit_ridge, rotated
from vidsim.data.ratings import Ratings
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError

LEAST_FITTED = 10
"""Rated stimuli below which no attribute is fitted."""

LEAST_TESTED = 4
"""Rated stimuli below which a held-out split says nothing."""

BLOCK = 1 << 22
"""Resamples times stimuli worked on at a time."""

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


@dataclass(frozen=True, eq=False)
class _Deal:
    """Hold predictions from one way to deal n stimuli to folds, for those attributes that the same are rated for.

    Parameters
    ----------
    columns : array of shape (c,)
        The attributes.
    fold : array of shape (n,)
        That each stimulus is predicted in; -1 where it is not.
    predicted, rated : array of shape (n, c)
        Predictions and ratings, of mean 0 and standard deviation 1 in each fold; 0 where not predicted.
    """

    columns: Int[ndarray, " c"]
    fold: Int[ndarray, " n"]
    predicted: Float[ndarray, "n c"]
    rated: Float[ndarray, "n c"]


@dataclass(frozen=True, eq=False)
class _Fits:
    """Hold what resamples need to know of one space.

    Parameters
    ----------
    deals : tuple of _Deal
        Predictions, of each deal and each set of attributes.
    r : array of shape (a,)
        Correlations, mean over deals.
    pull : array of shape (n, a)
        How much larger each r is by the part that each stimulus has in the fits; 0 where a split is held out.
    penalties : array of shape (a,)
        Geometric means.
    fitted : array of shape (a,)
        Fewest stimuli in a fit.
    """

    deals: tuple[_Deal, ...]
    r: Float[ndarray, " a"]
    pull: Float[ndarray, "n a"]
    penalties: Float[ndarray, " a"]
    fitted: Int[ndarray, " a"]


def probe(
    spaces: Mapping[str, Embeddings],
    ratings: Ratings,
    *,
    held_out: Sequence[str] = (),
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
    held_out : sequence of str
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
    out = np.isin(ids, held_out)
    dealing, drawing = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    if len(held_out):
        ways, parts, tested = [None], 1, out
    else:
        ways, parts = [dealing.permutation(len(ids)) for _ in range(repeats)], folds
        tested = np.ones(len(ids), bool)
    fits = [_fit(_matrix(name, space, ids), values, out, ways, folds) for name, space in spaces.items()]
    n = np.isfinite(values[tested]).sum(axis=0)
    widening = np.sqrt(n / (n - parts)) * stdtrit(n - parts - 1, 0.975) / stdtrit(np.inf, 0.975)
    drawn, pulled = _resample(fits, tested, resamples, drawing)
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


def unusable(ratings: Ratings, held_out: Sequence[str] = (), folds: int = 5) -> dict[str, str]:
    """Tell which attributes cannot be predicted, and why.

    Parameters
    ----------
    ratings : Ratings
        The ratings.
    held_out : sequence of str
        Stimuli to predict from fits to all others; none for cross-validation.
    folds : int
        Of the cross-validation.

    Returns
    -------
    dict of str to str
        Attribute, and what is wrong with it; empty where nothing is.
    """
    out = np.isin(ratings.ids, held_out)
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
    held_out: Sequence[str],
    folds: int,
    repeats: int,
    resamples: int,
    seed: int,
) -> None:
    if not spaces or not ratings.attributes:
        raise VidsimError("nothing to predict; expected one space or more, and one attribute or more")
    least_of = {"folds": (folds, 2), "repeats": (repeats, 1), "resamples": (resamples, 0), "seed": (seed, 0)}
    for name, (value, least) in least_of.items():
        if value < least:
            raise VidsimError(f"{name} {value}: expected {least} or more")
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


def _fit(
    matrix: Float[ndarray, "n k"],
    values: Float[ndarray, "n a"],
    out: Bool[ndarray, " n"],
    ways: Sequence[Int[ndarray, " n"] | None],
    folds: int,
) -> _Fits:
    """Fit and predict in every fold of every way to deal the stimuli; None holds those out that ``out`` says."""
    known = np.isfinite(values)
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    deals: list[_Deal] = []
    r, pull = np.zeros(values.shape[1]), np.zeros(values.shape)
    logs: list[list[float]] = [[] for _ in r]
    fitted = np.full(values.shape[1], len(values))
    for way in ways:
        for number, pattern in enumerate(patterns.T):
            columns = np.flatnonzero(which.ravel() == number)
            fold = np.where(out & pattern, 0, -1)
            if way is not None:  # every fold has as many rated stimuli, give or take one
                rated = way[pattern[way]]
                fold[rated] = np.arange(len(rated)) % folds
            deal = _Deal(columns, fold, np.zeros((len(fold), len(columns))), np.zeros((len(fold), len(columns))))
            moved = np.zeros((len(fold), len(columns)))
            for k in range(fold.max() + 1):
                test, train = fold == k, pattern & (fold != k)
                fit = fit_ridge(matrix[train], values[np.ix_(train, columns)])
                y, _ = _standard(values[np.ix_(test, columns)])
                p, spread = _standard(fit.predict(matrix[test]))
                slopes = np.divide(y - (p * y).mean(axis=0) * p, spread, out=np.zeros_like(y), where=spread > 0)
                if way is not None:
                    moved[train] += fit.pull(matrix[test], slopes)
                deal.predicted[test], deal.rated[test] = p, y
                fitted[columns] = np.minimum(fitted[columns], train.sum())
                for column, penalty in zip(columns, fit.penalties, strict=True):
                    logs[column].append(np.log(penalty))
            scale = np.sqrt((deal.predicted**2).sum(axis=0) * (deal.rated**2).sum(axis=0))
            r[columns] += _ratio((deal.predicted * deal.rated).sum(axis=0), scale) / len(ways)
            pull[:, columns] += _ratio(moved, scale) / len(ways)
            deals.append(deal)
    return _Fits(tuple(deals), r, pull, np.exp([np.mean(values) for values in logs]), fitted)


def _standard(values: Float[ndarray, "m c"]) -> tuple[Float[ndarray, "m c"], Float[ndarray, " c"]]:
    """Set columns to mean 0 and standard deviation 1, and return the latter; all 0 where values do not differ."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    spread[spread <= 1e-12 * np.abs(values).max(axis=0)] = 0  # differ by rounding alone
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0), spread


def _resample(
    fits: Sequence[_Fits],
    tested: Bool[ndarray, " n"],
    resamples: int,
    rng: np.random.Generator,
) -> tuple[Float[ndarray, "r s a"], Float[ndarray, "r s a"]]:
    """Draw stimuli: r among those predicted, for the fits as they are; and how far those fitted move r."""
    shape = (resamples, len(fits), len(fits[0].r))
    drawn, pulled = np.zeros(shape), np.zeros(shape)
    step = max(1, BLOCK // len(tested))
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        times, others = (_draw(tested, rows.stop - rows.start, rng) for _ in range(2))
        for space, fit in enumerate(fits):
            pulled[rows, space] = (others - tested) @ fit.pull
            ways = np.bincount(np.concatenate([deal.columns for deal in fit.deals]))
            for deal in fit.deals:
                drawn[rows, space, deal.columns] += _correlations(deal, times) / ways[deal.columns]
    return drawn, pulled


def _draw(part: Bool[ndarray, " n"], resamples: int, rng: np.random.Generator) -> Float[ndarray, "r n"]:
    """Draw stimuli of a part with replacement, as many as it has: how often each is drawn."""
    size = int(part.sum())
    times = np.zeros((resamples, len(part)))
    times[:, part] = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
    return times


def _correlations(deal: _Deal, times: Float[ndarray, "r n"]) -> Float[ndarray, "r c"]:
    """Correlate predictions with ratings within folds, as if each stimulus stood there so many times."""
    covariance, predicted, rated = np.zeros((3, len(times), len(deal.columns)))
    for k in range(deal.fold.max() + 1):
        rows = deal.fold == k
        p, y, weights = deal.predicted[rows], deal.rated[rows], times[:, rows]
        total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
        sum_p, sum_y = weights @ p, weights @ y
        covariance += weights @ (p * y) - sum_p * sum_y / total
        predicted += weights @ p**2 - sum_p**2 / total
        rated += weights @ y**2 - sum_y**2 / total
    return _ratio(covariance, np.sqrt(np.maximum(predicted, 0) * np.maximum(rated, 0)))


def _ratio(above: Float[ndarray, "..."], below: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _scores(
    attributes: Sequence[str],
    fit: _Fits,
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
