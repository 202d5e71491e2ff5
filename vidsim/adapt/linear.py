"""A linear transform of frozen embeddings, fitted to odd-one-out trials: the baseline of every fine-tuning."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize

from vidsim.analysis.correlation import spearman
from vidsim.analysis.odd_one_out import credits
from vidsim.analysis.ordinal.likelihood import negative_log_likelihood, pair_keys
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""What is tried where nothing is asked for."""

PENALTY = 0.1
"""Where there are too few stimuli to choose it."""

MOST_STEPS = 300


@dataclass(frozen=True, eq=False)
class LinearTransform:
    """Hold a transform x -> (x - mean) weight.

    Parameters
    ----------
    mean : array of shape (d,)
        What is taken away first, in the unit of the embeddings.
    weight : array of shape (d, k)
        Applied from the right.

    Raises
    ------
    VidsimError
        If the shapes disagree, or a number is not finite.

    Examples
    --------
    >>> double = LinearTransform(np.float32([1, 1]), np.float32([[2], [0]]))
    >>> double.apply(Embeddings(("a",), np.array([[3.0, 5.0]]))).matrix
    array([[4.]])
    """

    mean: Float[ndarray, " m"]
    weight: Float[ndarray, "d k"]

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.weight) or not self.weight.size:
            raise VidsimError(
                f"a linear transform has a mean of {len(self.mean)} numbers and a weight of shape {self.weight.shape}; "
                "expected (d,) and (d, k)"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.weight).all()):
            raise VidsimError("a linear transform holds numbers that are not finite; fit it again")

    def apply(self, embeddings: Embeddings) -> Embeddings:
        """Transform every embedding.

        Parameters
        ----------
        embeddings : Embeddings
            Of d dimensions, from the encoder and layer that the transform was fitted to.

        Returns
        -------
        Embeddings
            Of k dimensions, in float32 or the embeddings' own precision if that is higher.

        Raises
        ------
        VidsimError
            If they have another number of dimensions.
        """
        if embeddings.matrix.shape[1] != len(self.mean):
            raise VidsimError(
                f"embeddings have {embeddings.matrix.shape[1]} dimensions; expected {len(self.mean)}, like those "
                "that the linear transform was fitted to"
            )
        return Embeddings(embeddings.ids, (embeddings.matrix - self.mean) @ self.weight)

    def save(self, path: Path) -> None:
        """Write the transform as safetensors; the file is replaced whole or not at all.

        Parameters
        ----------
        path : Path
            File to write.

        Raises
        ------
        VidsimError
            If it cannot be written.
        """
        tensors = {"mean": self.mean, "weight": self.weight}
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            # the library writes memory as it lies, whatever the strides
            save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, partial)
            partial.replace(path)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise VidsimError(f"cannot write {os.fspath(path)!r}: {why}; what was there is unchanged") from error

    @staticmethod
    def load(path: Path) -> "LinearTransform":
        """Read a transform that `save` has written.

        Parameters
        ----------
        path : Path
            File to read.

        Returns
        -------
        LinearTransform
            Equal to the one saved.

        Raises
        ------
        VidsimError
            If the file cannot be read, or holds other tensors than float32 ``mean`` (d,) and ``weight`` (d, k).
        """
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise VidsimError(f"{os.fspath(path)!r} cannot be read as safetensors: {error}") from error
        missing, surplus = sorted({"mean", "weight"} - set(tensors)), sorted(set(tensors) - {"mean", "weight"})
        if missing or surplus:
            what = f"lacks tensor {missing[0]!r}" if missing else f"has a surplus tensor {surplus[0]!r}"
            raise VidsimError(f"{os.fspath(path)!r} {what}; expected 'mean' and 'weight' of a linear transform")
        for name, dims in (("mean", 1), ("weight", 2)):
            found = tensors[name]
            if found.ndim != dims or found.dtype != np.float32:
                raise VidsimError(
                    f"{os.fspath(path)!r}: tensor {name!r} is {found.dtype} of shape {found.shape}; expected float32 "
                    f"of {dims} dimension{'s' * (dims > 1)}"
                )
        return LinearTransform(tensors["mean"], tensors["weight"])


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


def fit_linear(
    embeddings: Embeddings,
    triplets: Triplets,
    *,
    penalty: float | Sequence[float] = PENALTIES,
    temperature: float = 0.4,
    centre: float = 0.75,
    rank: int | None = None,
    folds: int = 5,
    seed: int = 0,
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
    penalty : float or sequence of float
        Above 0, in nats per trial. Of several, `held_out` over folds of the stimuli chooses the one with the largest
        mean rho.
    temperature : float
        Above 0, in units of the cosine.
    centre : float
        Share of the mean embedding that is taken away first, 0 to 1. What is left of it keeps typical stimuli similar
        to all others, which odd-one-out choices show.
    rank : int, optional
        Work in that many leading principal axes of the embeddings alone: the weight is (d, rank), and near the
        projection on the axes instead of the identity. By default it is (d, d), and what stimuli do not span passes.
    folds : int
        Of the stimuli, 2 or more; needed where there are several penalties.
    seed : int
        Of the folds.

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
    >>> space = Embeddings(tuple("abcd"), np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]]))
    >>> trials = Triplets(space.ids, np.array([[0, 1, 2], [0, 1, 3], [2, 3, 0], [2, 3, 1]]))
    >>> transformed = fit_linear(space, trials, penalty=0.01).apply(space)
    >>> [round(float(s), 1) for s in cosine_rsm(space).similarities[0, 1:3]]
    [-0.6, 0.6]
    >>> [round(float(s), 1) for s in cosine_rsm(transformed).similarities[0, 1:3]]
    [1.0, -1.0]
    """
    _check(temperature, centre, rank)
    if not isinstance(penalty, float | int):
        curve = held_out(
            embeddings,
            triplets,
            penalty,
            temperature=temperature,
            centre=centre,
            rank=rank,
            folds=folds,
            seed=seed,
        )
        penalty = best_penalty(curve)
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
    found = _search(matrix @ axes, triplets.rows, float(penalty), temperature)
    weight = axes @ found if rank is not None else np.eye(len(axes)) + axes @ (found - np.eye(len(found))) @ axes.T
    return LinearTransform(shift.astype(np.float32), weight.astype(np.float32))


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
        As `fit_linear` gives it.
    """
    try:
        return fit_linear(embeddings, triplets)
    except VidsimError:
        return fit_linear(embeddings, triplets, penalty=PENALTY)


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
        As `fit_linear` takes them.
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
