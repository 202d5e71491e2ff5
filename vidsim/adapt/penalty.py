"""The penalty of a linear transform, chosen by folds of the stimuli."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.linear_fit import PENALTY, fit_linear
from vidsim.analysis.correlation import spearman
from vidsim.check import at_least
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""What is tried."""


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
    folds: int = 5,
    seed: int = 0,
) -> dict[float, Float[ndarray, " folds"]]:
    """Fit to the stimuli of some folds, with the trials wholly among them, and compare people with the rest.

    Parameters
    ----------
    embeddings, triplets
        As `vidsim.adapt.linear_fit.fit_linear` takes them.
    penalties : sequence of float
        One or more, above 0.
    folds : int
        Of the stimuli, 2 or more.
    seed : int
        Same seed, same folds.

    Returns
    -------
    dict of float to array of shape (folds,)
        By penalty: Spearman's rho over the judged pairs of each fold's stimuli, whatever third stimulus they were shown
        with.

    Raises
    ------
    VidsimError
        As `fit_linear`, or if a fold would have no trial to fit to or too few pairs to compare.
    """
    ids = triplets.ids
    if not penalties or folds < 2:
        raise VidsimError(f"{len(penalties)} penalties and {folds} folds: expected at least 1 penalty and 2 folds")
    at_least(0, seed=seed)
    trials = triplets.select(np.arange(len(triplets)))  # without what is known of pairs with a third one outside
    fold = np.random.default_rng(seed).permutation(len(ids)) % folds
    rho = {float(penalty): np.full(folds, np.nan) for penalty in penalties}
    for f in range(folds):
        inside = trials.restrict([ids[int(i)] for i in np.flatnonzero(fold != f)])
        outside = [ids[int(i)] for i in np.flatnonzero(fold == f)]
        human = trials.restrict(outside).rsm("any").upper
        if not len(inside) or np.isfinite(human).sum() < 3 or np.nanmin(human) == np.nanmax(human):
            raise VidsimError(
                f"{len(ids)} stimuli and {len(trials)} trials are too few to choose a penalty by {folds} folds of "
                "stimuli; give one penalty"
            )
        for penalty, found in rho.items():
            model = fit_linear(embeddings, inside, penalty=penalty).apply(embeddings.take(outside))
            found[f] = spearman(cosine_rsm(model).upper, human)
    return rho


def best_penalty(rho: Mapping[float, Float[ndarray, " folds"]]) -> float:
    """Choose the penalty with the largest mean rho over folds; of equals the larger penalty.

    Parameters
    ----------
    rho : mapping of float to array of shape (folds,)
        One or more, as `held_out` gives them.

    Returns
    -------
    float
        The penalty.
    """
    return max(rho, key=lambda penalty: (float(rho[penalty].mean()), penalty))
