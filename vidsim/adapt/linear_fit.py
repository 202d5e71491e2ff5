"""Fitting a linear transform of frozen embeddings to odd-one-out trials: the baseline of every fine-tuning."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from scipy.optimize import minimize

from vidsim.adapt.linear import LinearTransform
from vidsim.analysis.ordinal.likelihood import negative_log_likelihood, pair_keys
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

PENALTY = 0.1
"""Where nothing chooses it."""

MOST_STEPS = 300


def fit_linear(
    embeddings: Embeddings,
    triplets: Triplets,
    *,
    penalty: float = PENALTY,
    temperature: float = 0.4,
    centre: float = 0.75,
    rank: int | None = None,
) -> LinearTransform:
    """Fit a linear transform to odd-one-out trials, held near the identity (as gLocal: Muttenthaler et al. 2023).

    Of i, j, k the odd one is k with a probability proportional to exp(cos(z_i, z_j) / temperature), z being the
    transformed embeddings. What is minimised is the mean negative log-likelihood over trials plus penalty / 2 times the
    squared distance of the weight from the identity. With cosines the size of the weight does not matter, so the
    identity stands for all its multiples, and the embeddings' unit does not matter either. gLocal has inner products
    in place of cosines, and no temperature. The search starts at the identity and draws no random numbers.

    Parameters
    ----------
    embeddings : Embeddings
        Of d dimensions; those of stimuli without trials are not looked at.
    triplets : Triplets
        Trials; what they say about pairs with a third stimulus outside is not used.
    penalty : float
        Above 0, in nats per trial; `vidsim.adapt.penalty.fit_any` chooses one.
    temperature : float
        Above 0, in units of the cosine.
    centre : float
        Share of the mean embedding that is taken away first, 0 to 1. What is left of it keeps typical stimuli similar
        to all others, which odd-one-out choices show.
    rank : int, optional
        Work in that many leading principal axes of the embeddings alone: the weight is (d, rank), and near the
        projection on the axes instead of the identity. By default it is (d, d), and what stimuli do not span passes.

    Returns
    -------
    LinearTransform
        In float32.

    Raises
    ------
    VidsimError
        If there is no trial, a stimulus has no embedding, embeddings are not finite or all the same, or an argument
        lies outside its range.

    Examples
    --------
    >>> from vidsim.rsm import cosine_rsm
    >>> space = Embeddings(tuple("abcd"), np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]]))
    >>> trials = Triplets(space.ids, np.array([[0, 1, 2], [0, 1, 3], [2, 3, 0], [2, 3, 1]]))
    >>> transformed = fit_linear(space, trials, penalty=0.01).apply(space)
    >>> [round(float(s), 1) for s in cosine_rsm(space).similarities[0, 1:3]]
    [-0.6, 0.6]
    >>> [round(float(s), 1) for s in cosine_rsm(transformed).similarities[0, 1:3]]
    [1.0, -1.0]
    """
    _check(temperature, centre, rank)
    _positive("penalty", penalty)
    matrix = _matrix(embeddings, triplets)
    shift = centre * matrix.mean(axis=0)
    matrix -= shift
    _, sizes, axes = np.linalg.svd(matrix, full_matrices=False)
    spanned = int((sizes > sizes[0] * max(matrix.shape) * np.finfo(np.float64).eps).sum())
    if spanned < 1:
        raise VidsimError("embeddings of all judged stimuli are the same; expected some that differ")
    # the slope of the loss lies in what the stimuli span: outside of it the identity stays
    axes = axes[: min(spanned, rank or spanned)].T
    found = _search(matrix @ axes, triplets.rows, penalty, temperature)
    weight = axes @ found if rank is not None else np.eye(len(axes)) + axes @ (found - np.eye(len(found))) @ axes.T
    return LinearTransform(shift.astype(np.float32), weight.astype(np.float32))


def _search(
    features: Float[ndarray, "n r"], rows: Int[ndarray, "t 3"], penalty: float, temperature: float
) -> Float[ndarray, "r r"]:
    """Minimise the loss by L-BFGS, from the identity."""
    n, r = features.shape
    keys = pair_keys(rows, n)

    def objective(flat: Float[ndarray, " rr"]) -> tuple[float, Float[ndarray, " rr"]]:
        return loss_and_slope(flat.reshape(r, r), features, keys, penalty, temperature)

    options: Any = {"maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS, "ftol": 1e-8, "gtol": 1e-6}
    found = minimize(objective, np.eye(r).ravel(), jac=True, method="L-BFGS-B", options=options)
    return found.x.reshape(r, r)


def loss_and_slope(
    weight: Float[ndarray, "r k"],
    features: Float[ndarray, "n r"],
    keys: Int[ndarray, "3 t"],
    penalty: float,
    temperature: float,
) -> tuple[float, Float[ndarray, " rk"]]:
    """Compute what `fit_linear` minimises, and its derivative by the weight.

    Parameters
    ----------
    weight : array of shape (r, k)
        Where to compute it.
    features : array of shape (n, r)
        Embeddings to transform.
    keys : array of shape (3, t)
        Trials, as `pair_keys` numbers them.
    penalty, temperature : float
        As `fit_linear` takes them.

    Returns
    -------
    float
        In nats per trial.
    array of shape (r * k,)
        Its derivative.
    """
    t = keys.shape[1]
    made = features @ weight
    lengths = np.linalg.norm(made, axis=1, keepdims=True)
    lengths = np.where(lengths > 0, lengths, 1.0)
    unit = made / lengths
    loss, slope = negative_log_likelihood(unit / np.sqrt(temperature), keys, "dot")
    slope /= np.sqrt(temperature) * t
    slope -= (slope * unit).sum(axis=1, keepdims=True) * unit  # what changes the length alone does not count
    off = weight - np.eye(*weight.shape)
    value = loss / t + penalty / 2 * float((off**2).sum())
    return value, (features.T @ (slope / lengths) + penalty * off).ravel()


def _matrix(embeddings: Embeddings, triplets: Triplets) -> Float[ndarray, "n d"]:
    """Look up the embeddings of the stimuli, as a copy in float64."""
    if not len(triplets):
        raise VidsimError(
            "there is no trial to fit a linear transform to; expected at least 1 that is not a catch trial"
        )
    matrix: Shaped[ndarray, "n d"] = embeddings.take(triplets.ids).matrix.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(bad):
        raise VidsimError(
            f"{len(bad)} embeddings hold numbers that are not finite, the first is that of "
            f"{triplets.ids[int(bad[0])]!r}; extract it again"
        )
    return matrix


def _check(temperature: float, centre: float, rank: int | None) -> None:
    _positive("temperature", temperature)
    if not 0 <= centre <= 1:
        raise VidsimError(f"centre is {centre:g}: expected a share of the mean, 0 to 1")
    if rank is not None and rank < 1:
        raise VidsimError(f"rank is {rank}: expected at least 1")


def _positive(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise VidsimError(f"{name} is {value:g}: expected above 0")
