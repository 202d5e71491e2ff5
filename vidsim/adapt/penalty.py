"""The penalty of a linear transform, chosen by folds of the stimuli."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.linear_fit import PENALTY, fit_linear
from vidsim.analysis.correlation import spearman
from vidsim.analysis.odd_one_out import credits
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""What is tried."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Say how well one penalty serves stimuli that were not fitted to.

    Parameters
    ----------
    penalty : float
        What was tried.
    rho : array of shape (folds,)
        Spearman's rho over the judged pairs of each fold's stimuli, whatever third stimulus they were shown with.
    two_way, three_way : float
        Odd-one-out accuracy over the trials that lie wholly within a fold, all folds together; NaN without a trial.
    trials : int
        How many these are.
    """

    penalty: float
    rho: Float[ndarray, " f"]
    two_way: float
    three_way: float
    trials: int


def fit_any(embeddings: Embeddings, triplets: Triplets) -> LinearTransform:
    """Fit a linear transform with the penalty that folds of the stimuli choose, or where they are too few, `PENALTY`.

    Parameters
    ----------
    embeddings : Embeddings
        Of all stimuli of the trials.
    triplets : Triplets
        Trials.

    Returns
    -------
    LinearTransform
        As `vidsim.adapt.linear_fit.fit_linear` gives it.

    Raises
    ------
    VidsimError
        As `fit_linear`.
    """
    try:
        penalty = best_penalty(held_out(embeddings, triplets))
    except VidsimError:
        penalty = PENALTY
    return fit_linear(embeddings, triplets, penalty=penalty)


def held_out(
    embeddings: Embeddings,
    triplets: Triplets,
    penalties: Sequence[float] = PENALTIES,
    *,
    temperature: float = 0.4,
    centre: float = 0.75,
    rank: int | None = None,
    folds: int = 5,
    seed: int = 0,
) -> tuple[HeldOut, ...]:
    """Fit to the stimuli of some folds, with the trials wholly among them, and compare people with the rest.

    Parameters
    ----------
    embeddings, triplets, temperature, centre, rank
        As `vidsim.adapt.linear_fit.fit_linear` takes them.
    penalties : sequence of float
        One or more, above 0.
    folds : int
        Of the stimuli, 2 or more.
    seed : int
        Same seed, same folds.

    Returns
    -------
    tuple of HeldOut
        One per penalty, in the order given.

    Raises
    ------
    VidsimError
        As `fit_linear`, or if a fold would have no trial to fit to or too few pairs to compare.
    """
    ids = triplets.ids
    if not penalties or folds < 2:
        raise VidsimError(f"{len(penalties)} penalties and {folds} folds: expected at least 1 penalty and 2 folds")
    trials = triplets.select(np.arange(len(triplets)))  # without what is known of pairs with a third one outside
    fold = np.random.default_rng(seed).permutation(len(ids)) % folds
    curve: list[HeldOut] = []
    for penalty in penalties:
        rho: list[float] = []
        earned: list[dict[str, float]] = []
        counts: list[int] = []
        for f in range(folds):
            inside = trials.restrict([ids[int(i)] for i in np.flatnonzero(fold != f)])
            outside = trials.restrict([ids[int(i)] for i in np.flatnonzero(fold == f)])
            human = outside.rsm("any").upper
            if not len(inside) or np.isfinite(human).sum() < 3 or np.nanmin(human) == np.nanmax(human):
                raise VidsimError(
                    f"{len(ids)} stimuli and {len(trials)} trials are too few to choose a penalty by {folds} folds of "
                    "stimuli; give one penalty"
                )
            fitted = fit_linear(
                embeddings, inside, penalty=float(penalty), temperature=temperature, centre=centre, rank=rank
            )
            model = cosine_rsm(fitted.apply(embeddings.take(outside.ids)))
            rho.append(spearman(model.upper, human))
            if len(outside):
                earned.append(credits(model, outside).accuracies())
                counts.append(len(outside))
        two, three = (
            float(np.average([own[name] for own in earned], weights=counts)) if counts else float("nan")
            for name in ("two_way", "three_way")
        )
        curve.append(HeldOut(float(penalty), np.array(rho), two, three, sum(counts)))
    return tuple(curve)


def best_penalty(curve: Sequence[HeldOut]) -> float:
    """Choose the penalty with the largest mean rho over folds; of equals the larger penalty.

    Parameters
    ----------
    curve : sequence of HeldOut
        One or more, as `held_out` gives them.

    Returns
    -------
    float
        The penalty.
    """
    return max(curve, key=lambda tried: (float(tried.rho.mean()), tried.penalty)).penalty
