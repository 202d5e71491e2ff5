"""Cross-validation of ordinal embeddings over trials: the practical reach for accuracy on seen stimuli."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.ordinal.embedding import OrdinalEmbedding, fit
from vidsim.analysis.ordinal.likelihood import Similarity
from vidsim.check import at_least
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets, triplet_numbers

DIMS = (2, 3, 5, 8, 12, 20)
L2 = (1.0, 2.0, 4.0, 8.0)
L1 = (1.0, 2.0, 4.0)
"""What is tried where nothing is asked for."""


@dataclass(frozen=True)
class Candidate:
    """Describe one way to fit.

    Parameters
    ----------
    dims : int
        Dimensions.
    l1, l2 : float
        Penalties, as `fit` takes them.
    """

    dims: int
    l1: float
    l2: float


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Say how well one candidate predicts the trials of each fold, fitted to the other folds.

    Parameters
    ----------
    candidate : Candidate
        What was fitted.
    log_likelihoods : array of shape (folds,)
        Mean over the trials of each fold, in nats.
    accuracies : array of shape (folds,)
        Three-way accuracy in each fold.
    """

    candidate: Candidate
    log_likelihoods: Float[ndarray, " f"]
    accuracies: Float[ndarray, " f"]


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Hold what cross-validation has shown.

    Parameters
    ----------
    curve : tuple of HeldOut
        Every candidate. The best of several is too good an estimate: it was chosen by these numbers.
    chosen : Candidate
        The one with the largest held-out log-likelihood.
    log_likelihoods, accuracies : array of shape (folds,)
        Of each fold, under the candidate that was chosen without it. With one candidate, its own numbers.
    nested : bool
        Whether there was a choice.
    """

    curve: tuple[HeldOut, ...]
    chosen: Candidate
    log_likelihoods: Float[ndarray, " f"]
    accuracies: Float[ndarray, " f"]
    nested: bool

    @property
    def log_likelihood(self) -> float:
        """Return the mean held-out log-likelihood over folds, in nats per trial."""
        return float(self.log_likelihoods.mean())

    @property
    def accuracy(self) -> float:
        """Return the mean held-out three-way accuracy over folds; chance is 1/3."""
        return float(self.accuracies.mean())

    @property
    def accuracy_sd(self) -> float:
        """Return the standard deviation of the accuracy over folds."""
        return float(self.accuracies.std(ddof=1))


def candidates(
    dims: int | Sequence[int] = DIMS,
    *,
    nonnegative: bool = False,
    l1: float | Sequence[float] | None = None,
    l2: float | Sequence[float] | None = None,
) -> tuple[Candidate, ...]:
    """List the ways to fit that are tried against each other.

    Parameters
    ----------
    dims : int or sequence of int
        Dimensions.
    nonnegative : bool
        Whether coordinates are kept at 0 or above.
    l1, l2 : float or sequence of float, optional
        Penalties. Where neither is given, `L1` are tried if ``nonnegative``, `L2` otherwise; where one is given, the
        other is 0.

    Returns
    -------
    tuple of Candidate
        Every combination.

    Examples
    --------
    >>> [candidate.l2 for candidate in candidates(3)]
    [1.0, 2.0, 4.0, 8.0]
    """
    if l1 is None and l2 is None:
        l1, l2 = (L1, 0.0) if nonnegative else (0.0, L2)
    first, second = ([x] if isinstance(x, float | int) else x for x in (l1 or 0.0, l2 or 0.0))
    return tuple(
        Candidate(d, float(x), float(y))
        for d, x, y in product([dims] if isinstance(dims, int) else dims, first, second)
    )


def folds_of(triplets: Triplets, folds: int, seed: int, least: int = 2) -> Int[ndarray, " t"]:
    """Deal trials to folds; all judgments of the same three stimuli go to the same fold.

    Parameters
    ----------
    triplets : Triplets
        Trials.
    folds : int
        How many, 2 or more.
    seed : int
        Same seed, same folds.
    least : int
        Fewest folds that would do, 2 or more.

    Returns
    -------
    array of shape (t,)
        The fold of each trial, from 0.

    Raises
    ------
    VidsimError
        If there are fewer different triplets than folds, or too few for any number of them; or the seed is below 0.
    """
    at_least(2, folds=folds)
    at_least(0, seed=seed)
    group = triplet_numbers(triplets.rows)
    different = int(group.max(initial=-1)) + 1
    if different < least:
        raise VidsimError(
            f"different triplets: {different}, too few to predict some from others; expected at least {least}: collect "
            "judgments of more"
        )
    if different < folds:
        raise VidsimError(f"{different} different triplets cannot be dealt to {folds} folds; give at most {different}")
    return (np.random.default_rng(seed).permutation(different) % folds)[group]


def cross_validate(
    triplets: Triplets,
    tried: Sequence[Candidate],
    *,
    folds: int = 5,
    similarity: Similarity = "dot",
    nonnegative: bool = False,
    restarts: int = 1,
    max_iter: int = 2000,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> CrossValidation:
    """Fit to some folds of the trials and predict the others.

    Where there are several candidates the accuracy is nested: each fold is predicted by the candidate that did best, by
    held-out log-likelihood, among the other folds alone.

    Parameters
    ----------
    triplets : Triplets
        Trials. Judgments of the same three stimuli share a fold.
    tried : sequence of Candidate
        One or more, such as `candidates` lists.
    folds : int
        How many, 2 or more; 3 or more where there are several candidates.
    similarity, nonnegative, restarts, max_iter
        As `fit` takes them.
    seed : int
        Of the folds and of every start.
    progress : callable, optional
        Called with the number of fits done and of all fits.

    Returns
    -------
    CrossValidation
        Held-out log-likelihood and three-way accuracy.

    Raises
    ------
    VidsimError
        If there are too few trials or folds, or an argument lies outside its range.
    """
    nested = len(tried) > 1
    at_least(2, folds=folds)
    if not tried or folds < 2 + nested:
        raise VidsimError(
            f"{folds} folds for {len(tried)} candidates: expected one, and {2 + nested} folds at least; give more"
        )
    fold = folds_of(triplets, folds, seed, 3 + nested)  # of one triplet alone nothing is known of another
    fits = len(tried) * (folds + nested * folds * (folds - 1) // 2)
    done = 0
    # scores[c, f, g]: fold g predicted by candidate c fitted without f and g; log-likelihood and accuracy
    scores = np.full((len(tried), folds, folds, 2), np.nan)
    for number, candidate in enumerate(tried):
        for f, g in [(f, f) for f in range(folds)] + (list(combinations(range(folds), 2)) if nested else []):
            found = fit(
                triplets.select((fold != f) & (fold != g)),
                candidate.dims,
                similarity=similarity,
                nonnegative=nonnegative,
                l1=candidate.l1,
                l2=candidate.l2,
                restarts=restarts,
                max_iter=max_iter,
                seed=seed,
            )
            for other, held in {(f, g), (g, f)}:
                scores[number, other, held] = _score(found, triplets, fold, held)
            done += 1
            if progress:
                progress(done, fits)
    own = scores[:, range(folds), range(folds)]
    curve = tuple(HeldOut(c, s[:, 0].copy(), s[:, 1].copy()) for c, s in zip(tried, own, strict=True))
    picked = np.zeros(folds, np.int64)
    if nested:
        inner = scores[..., 0].copy()
        inner[:, range(folds), range(folds)] = np.nan
        picked = np.nanmean(inner, axis=2).argmax(axis=0)
    outer = own[picked, np.arange(folds)]
    return CrossValidation(
        curve=curve,
        chosen=tried[int(own[..., 0].mean(axis=1).argmax())],
        log_likelihoods=outer[:, 0],
        accuracies=outer[:, 1],
        nested=nested,
    )


def _score(found: OrdinalEmbedding, triplets: Triplets, fold: Int[ndarray, " t"], held: int) -> tuple[float, float]:
    """Predict the trials of a fold by an embedding fitted without them."""
    part = triplets.select(fold == held)
    try:
        return found.score(part)
    except VidsimError as error:  # judgments lie too far apart
        folds, most = int(fold.max()) + 1, int(triplet_numbers(triplets.rows).max()) + 1
        more = f"give more than {folds} folds, at most {most}, or " if folds < most else ""
        raise VidsimError(f"a fold cannot be predicted: {error}; {more}collect judgments of more triplets") from error
