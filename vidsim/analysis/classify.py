"""Linear probe of action recognition: softmax regression on frozen embeddings (Section 3.3.2, Appendix E)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from vidsim.analysis.mcnemar import mcnemar
from vidsim.analysis.reliability import percentile_interval
from vidsim.analysis.softmax import Softmax, fit_softmax
from vidsim.check import at_least
from vidsim.errors import VidsimError

PENALTIES = np.logspace(-2, -7, 11)
"""Penalties tried, in units of the mean squared length of a standardised embedding; strong ones first."""

PATIENCE = 3
"""Penalties in a row that predict no better, after which no weaker one is tried."""

VALIDATION = 0.2
"""Part of a class's groups that a seed sets apart, to choose the penalty on."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Hold embeddings with their classes.

    Parameters
    ----------
    matrix : array of shape (n, d)
        Embeddings in model units.
    labels : array of shape (n,)
        Class of each, 0 or more.
    groups : array of shape (n,)
        What belongs together, such as clips cut from one recording, by number; never parted.
    """

    matrix: Shaped[ndarray, "n d"]
    labels: Int[ndarray, " n"]
    groups: Int[ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Classification:
    """Hold how well the classes of test embeddings are told, by one classifier per seed.

    Parameters
    ----------
    ranks : array of shape (s, t)
        By each of s classifiers, how many classes come before the right one; 0 where it is first.
    penalties : tuple of float
        Chosen by each seed, in units of the mean squared length of a standardised embedding.
    labels, groups : array of shape (t,)
        Of the test embeddings.
    """

    ranks: Int[ndarray, "s t"]
    penalties: tuple[float, ...]
    labels: Int[ndarray, " t"]
    groups: Int[ndarray, " t"]

    def right(self, within: int = 1) -> Float[ndarray, "s t"]:
        """Mark with 1 where the right class is among the first."""
        return (self.ranks < within).astype(np.float64)

    def accuracies(self, within: int = 1) -> Float[ndarray, " s"]:
        """Return each seed's accuracy: the share of test embeddings whose class is among the first."""
        return self.right(within).mean(axis=1)

    def of_classes(self, classes: int) -> Float[ndarray, " k"]:
        """Return the accuracy within each class, mean over seeds; NaN for one without test embeddings."""
        counts = np.bincount(self.labels, minlength=classes)
        right = np.bincount(self.labels, weights=self.right().mean(axis=0), minlength=classes)
        return np.divide(right, counts, out=np.full(classes, np.nan), where=counts > 0)

    def interval(self, *, within: int = 1, resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
        """Return the 95 % interval of the mean accuracy by bootstrap over test groups; NaN for a single group."""
        return _interval(self.right(within).mean(axis=0), self.groups, resamples, seed)


@dataclass(frozen=True)
class AccuracyDifference:
    """Hold how much more often one model's classifier is right than another's.

    Parameters
    ----------
    difference : float
        Top-1 accuracy of the second less that of the first, mean over seeds.
    interval : tuple of float
        Its 95 % interval by bootstrap over test groups, both models on the same resamples.
    only_first, only_second : int
        Test embeddings that only one model tells rightly, with the classifiers of the first seed.
    p_value : float
        McNemar's exact test of these two counts. It takes clips as independent; those of a group are not, which the
        interval allows for.
    """

    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float


def classify(
    train: Labelled,
    test: Labelled,
    classes: int,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Callable[[int, int], None] | None = None,
) -> Classification:
    """Learn classes from training embeddings by softmax regression, and tell those of test embeddings.

    Embeddings are standardised by the training embeddings' means and standard deviations and rotated to their
    principal axes, which changes nothing but the time taken. A seed deals a fifth of each class's groups to validation,
    and takes the penalty whose fit to the others is right most often there (of equals, the one with the lower
    cross-entropy). The classifier is then fitted to all training embeddings with that penalty. Nothing else varies
    with the seed: the fit is a convex problem solved to the end, so that neither initialisation nor the order of
    mini-batches plays a part.

    Parameters
    ----------
    train, test : Labelled
        Embeddings of the same width.
    classes : int
        How many classes, 2 or more; each has training embeddings.
    seeds : sequence of int
        One classifier each.
    progress : callable, optional
        Told the number of seeds done, and of all.

    Returns
    -------
    Classification
        What the classifiers make of the test embeddings.

    Raises
    ------
    VidsimError
        If there is only one class, a class has no training embeddings, no group can be set apart, embeddings do not
        vary or are not finite, or a seed is below 0.
    """
    _check(train, test, classes, seeds)
    inside, outside = _principal(train.matrix, test.matrix)
    starts: dict[float, Softmax] = {}
    ranks: dict[float, Int[ndarray, " t"]] = {}
    chosen: list[float] = []
    for number, seed in enumerate(seeds):
        held = deal(train.labels, train.groups, np.random.default_rng(seed))
        penalty = _choose(inside, train.labels, held, classes, starts)
        if penalty not in ranks:  # the same penalty gives the same classifier
            fitted = fit_softmax(inside, train.labels, classes, penalty, start=starts[penalty])
            ranks[penalty] = _ranks(fitted.scores(outside), test.labels)
        chosen.append(penalty)
        if progress is not None:
            progress(number + 1, len(seeds))
    return Classification(np.stack([ranks[p] for p in chosen]), tuple(chosen), test.labels, test.groups)


def compare(
    first: Classification, second: Classification, *, resamples: int = 1000, seed: int = 0
) -> AccuracyDifference:
    """Compare two models by their classifiers' answers to the same test videos.

    Parameters
    ----------
    first, second : Classification
        Of the same test videos, in the same order.
    resamples : int
        Bootstrap resamples of the test groups; 0 leaves the interval NaN.
    seed : int
        Of the resamples, 0 or more.

    Returns
    -------
    AccuracyDifference
        Second less first.

    Raises
    ------
    VidsimError
        If the test videos are not the same, or a number is out of range.
    """
    if not (np.array_equal(first.labels, second.labels) and np.array_equal(first.groups, second.groups)):
        raise VidsimError("the two models were tested on different videos; expected the same, in the same order")
    gain = second.right().mean(axis=0) - first.right().mean(axis=0)
    a, b = first.right()[0] > 0, second.right()[0] > 0
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    return AccuracyDifference(
        float(gain.mean()),
        _interval(gain, first.groups, resamples, seed),
        only_first,
        only_second,
        mcnemar(only_second, only_first),
    )


def deal(
    labels: Int[ndarray, " n"], groups: Int[ndarray, " n"], rng: np.random.Generator, share: float = VALIDATION
) -> Bool[ndarray, " n"]:
    """Set a share of each class's groups apart for validation, at least one; a class with a single group keeps it.

    Parameters
    ----------
    labels, groups : array of shape (n,)
        Class and group of each item; a group that holds several classes counts for that of its first item.
    rng : numpy.random.Generator
        Deals the groups.
    share : float
        Between 0 and 1.

    Returns
    -------
    array of shape (n,)
        True for validation; never for a part of a group.

    Raises
    ------
    VidsimError
        If no class has a second group.

    Examples
    --------
    >>> deal(np.array([0, 0, 0, 1]), np.array([5, 5, 8, 9]), np.random.default_rng(0))
    array([ True,  True, False, False])
    """
    names, first, group = np.unique(groups, return_index=True, return_inverse=True)
    own = labels[first]
    held = np.zeros(len(names), bool)
    for label in np.unique(own):
        members = np.flatnonzero(own == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held[rng.permutation(members)[:count]] = True
    if not held.any():
        raise VidsimError(
            "every class has a single group of training videos, so none can be set apart to choose the penalty on; "
            "expected classes with two groups or more"
        )
    return held[group.reshape(-1)]


def _check(train: Labelled, test: Labelled, classes: int, seeds: Sequence[int]) -> None:
    if classes < 2:
        raise VidsimError("the videos are all of one class; expected two or more to tell apart")
    if not len(test.labels) or not len(seeds):
        raise VidsimError(f"{len(test.labels)} test videos and {len(seeds)} seeds were given; expected one or more")
    for seed in seeds:
        at_least(0, seed=seed)
    known = np.unique(train.labels)
    if not np.array_equal(known, np.arange(classes)) or not np.isin(test.labels, known).all():
        raise VidsimError(f"a class has no training videos; expected some of each of {classes}")
    for what, part in (("training", train), ("test", test)):
        if not np.isfinite(part.matrix).all():
            raise VidsimError(f"embeddings of {what} videos are not finite; extract them again")


def _principal(
    train: Shaped[ndarray, "n d"], test: Shaped[ndarray, "t d"]
) -> tuple[Float[ndarray, "n p"], Float[ndarray, "t p"]]:
    """Standardise by the training embeddings, and rotate to their principal axes.

    A rotation leaves the penalised fit as it is, and so does leaving out what no training embedding has: it puts no
    weight there.

    Parameters
    ----------
    train, test : array of shape (n, d) and (t, d)
        Embeddings in model units.

    Returns
    -------
    tuple of array of shape (n, p) and (t, p)
        In float32 or more, p being the smaller of n and d; the training embeddings' mean squared length is 1.

    Raises
    ------
    VidsimError
        If the training embeddings are all equal.
    """
    mean, spread = train.mean(axis=0, dtype=np.float64), train.std(axis=0, dtype=np.float64)
    # what differs by rounding alone is constant
    size = np.abs(mean) + spread
    varies = spread > 1e-6 * size
    if not varies.any():
        raise VidsimError("all embeddings of training videos are equal; choose another layer")
    precision = np.promote_types(train.dtype, np.float32)
    scale = spread[varies] * np.sqrt(varies.sum())
    x, other = (((m[:, varies] - mean[varies]) / scale).astype(precision) for m in (train, test))
    if x.shape[1] > len(x):  # only what lies within the span of the training embeddings matters
        span = np.linalg.qr(x.T)[0]
        x, other = x @ span, other @ span
    axes = np.linalg.eigh(x.T @ x)[1]
    return x @ axes, other @ axes


def _choose(
    x: Float[ndarray, "n p"],
    labels: Int[ndarray, " n"],
    held: Bool[ndarray, " n"],
    classes: int,
    starts: dict[float, Softmax],
) -> float:
    """Choose the penalty whose fit to the others tells the classes of those held out best."""
    fitting, validating = x[~held], x[held]
    best, found, behind = (-1.0, 0.0), float(PENALTIES[0]), 0
    previous: Softmax | None = None
    for penalty in PENALTIES.tolist():
        # the fit of another seed is closer than that of another penalty
        previous = fit_softmax(fitting, labels[~held], classes, penalty, start=starts.get(penalty, previous))
        starts[penalty] = previous
        scores = previous.scores(validating)
        merit = float((_ranks(scores, labels[held]) == 0).mean()), -_cross_entropy(scores, labels[held])
        if merit > best:
            best, found, behind = merit, penalty, 0
        elif (behind := behind + 1) == PATIENCE:
            break
    return found


def _cross_entropy(scores: Float[ndarray, "n k"], labels: Int[ndarray, " n"]) -> float:
    top = scores.max(axis=1)
    total = np.log(np.exp(scores - top[:, None]).sum(axis=1)) + top
    return float((total - scores[np.arange(len(labels)), labels]).mean())


def _ranks(scores: Float[ndarray, "n k"], labels: Int[ndarray, " n"]) -> Int[ndarray, " n"]:
    """Count the classes that come before the right one; of equal scores the first class does."""
    own = scores[np.arange(len(labels)), labels][:, None]
    before = (scores == own) & (np.arange(scores.shape[1]) < labels[:, None])
    return ((scores > own) | before).sum(axis=1)


def _interval(
    values: Float[ndarray, " t"], groups: Int[ndarray, " t"], resamples: int, seed: int
) -> tuple[float, float]:
    """Return the 95 % interval of the mean by bootstrap over groups."""
    at_least(0, resamples=resamples, seed=seed)
    group = np.unique(groups, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(group)
    if len(counts) < 2:
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=resamples)
    return percentile_interval(drawn @ np.bincount(group, weights=values) / (drawn @ counts))
