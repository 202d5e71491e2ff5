"""An embedding fitted to odd-one-out trials by maximum likelihood, and the human RSM that it predicts."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import minimize

from vidsim.analysis.ordinal.likelihood import (
    Similarity,
    log_probabilities,
    negative_log_likelihood,
    pair_keys,
    pair_similarities,
)
from vidsim.check import at_least, one_of
from vidsim.data.simulate import expected_rsm
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets


@dataclass(frozen=True, eq=False)
class OrdinalEmbedding:
    """Hold an embedding fitted to trials.

    Parameters
    ----------
    embeddings : Embeddings
        One vector per judged stimulus; similarities between them are log-odds: the temperature is 1.
    similarity : {"dot", "distance"}
        Inner product, or minus the squared Euclidean distance.
    nonnegative : bool
        Whether coordinates were kept at 0 or above.
    l1, l2 : float
        Penalties on the sum of absolute and of squared coordinates, in nats per unit.
    trials : int
        How many it was fitted to.
    log_likelihood : float
        Mean over the trials it was fitted to, in nats; too good, other than that of trials held out.
    iterations : int
        Steps of the optimiser.
    converged : bool
        Whether the optimiser came to rest before its last step.
    """

    embeddings: Embeddings
    similarity: Similarity
    nonnegative: bool
    l1: float
    l2: float
    trials: int
    log_likelihood: float
    iterations: int
    converged: bool

    @property
    def rsm(self) -> RSM:
        """Return the similarities in log-odds: `simulate` draws from them with temperature 1."""
        similarities = pair_similarities(self.embeddings.matrix, self.similarity)
        return RSM(tuple(self.embeddings.ids), (similarities + similarities.T) / 2)

    def score(self, triplets: Triplets) -> tuple[float, float]:
        """Say how well trials are predicted.

        Parameters
        ----------
        triplets : Triplets
            Trials. One that shows a stimulus which the embedding does not have is predicted by chance.

        Returns
        -------
        float
            Mean log-likelihood, in nats; log(1/3) = -1.0986 is chance.
        float
            Three-way accuracy: the share of trials whose most similar pair stayed together, ties sharing the credit;
            chance is 1/3.

        Raises
        ------
        VidsimError
            If no trial shows three of the embedding's stimuli.
        """
        position = self.embeddings.position
        places = np.array([position.get(i, -1) for i in triplets.ids], np.int64)
        rows = places[triplets.rows]
        known = (rows >= 0).all(axis=1)
        if not known.any():
            raise VidsimError(
                f"none of {len(rows)} trials shows three of the {len(position)} stimuli that the embedding knows"
            )
        log_p = np.full((3, len(rows)), -np.log(3))
        log_p[:, known] = log_probabilities(self.rsm.similarities, pair_keys(rows[known], len(position)))
        best = log_p.max(axis=0)
        return float(log_p[0].mean()), float(((log_p[0] == best) / (log_p == best).sum(axis=0)).mean())


def fit(
    triplets: Triplets,
    dims: int,
    *,
    similarity: Similarity = "dot",
    nonnegative: bool = False,
    l1: float = 0.0,
    l2: float = 0.0,
    restarts: int = 1,
    max_iter: int = 2000,
    seed: int = 0,
) -> OrdinalEmbedding:
    """Fit an embedding to odd-one-out trials by penalised maximum likelihood (Zheng et al. 2019; Hebart et al. 2020).

    Of i, j, k the odd one is k with a probability proportional to exp(s(i, j)). What is minimised is the negative
    log-likelihood plus l1 sum(abs(x)) plus l2 sum(x ** 2), summed over trials and not averaged: the penalties are those
    of a prior and mean the same for any number of trials. With inner products, ``nonnegative`` and ``l1`` it is SPoSE,
    whose lambda is l1 times stimuli over trials; with distances it is stochastic triplet embedding (van der Maaten and
    Weinberger 2012) for three-way choices. Lapses are not modelled: they make similarities smaller.

    Parameters
    ----------
    triplets : Triplets
        Trials; stimuli that none of them shows are left out of the embedding.
    dims : int
        Dimensions, 1 or more.
    similarity : {"dot", "distance"}
        Inner product, or minus the squared Euclidean distance.
    nonnegative : bool
        Keep coordinates at 0 or above; inner products only.
    l1 : float
        Penalty on the sum of coordinates, 0 or more, in nats per unit: makes them sparse. ``nonnegative`` only.
    l2 : float
        Penalty on the sum of squares, 0 or more, in nats per unit: a normal prior with variance 1 / (2 l2).
    restarts : int
        Random starts, 1 or more; the best is kept.
    max_iter : int
        Steps of L-BFGS-B for each start, 1 or more.
    seed : int
        Same seed, same starts.

    Returns
    -------
    OrdinalEmbedding
        Dimensions in order of decreasing size; rotated to principal axes unless ``nonnegative``.

    Raises
    ------
    VidsimError
        If there is no trial, or an argument lies outside its range.

    Examples
    --------
    >>> trials = Triplets(("a", "b", "c", "d"), np.array([[0, 1, 2], [0, 1, 3], [2, 3, 0], [2, 3, 1]]))
    >>> found = fit(trials, 2, l2=0.1)
    >>> found.rsm.upper > 0
    array([ True, False, False, False, False,  True])
    """
    _check(triplets, dims, similarity, nonnegative, l1, l2, restarts, max_iter, seed)
    judged = np.unique(triplets.rows)
    rows = np.searchsorted(judged, triplets.rows)
    n, t = len(judged), len(rows)
    keys = pair_keys(rows, n)

    def objective(x: Float[ndarray, " nd"]) -> tuple[float, Float[ndarray, " nd"]]:
        matrix = x.reshape(n, dims)
        loss, gradient = negative_log_likelihood(matrix, keys, similarity)
        loss += l2 * float((x**2).sum()) + l1 * float(x.sum())
        return loss / t, ((gradient + 2 * l2 * matrix + l1) / t).ravel()

    best: Any = None
    for rng in np.random.default_rng(seed).spawn(restarts):
        start = rng.uniform(0, 0.6, n * dims) if nonnegative else rng.normal(0, 0.3, n * dims)
        result = minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0, None)] * len(start) if nonnegative else None,
            options={"maxiter": max_iter, "maxfun": 10 * max_iter, "maxcor": 20, "ftol": 1e-8, "gtol": 2e-3 / n},
        )
        best = result if best is None or result.fun < best.fun else best
    matrix = best.x.reshape(n, dims)
    loss, _ = negative_log_likelihood(matrix, keys, similarity)
    return OrdinalEmbedding(
        embeddings=Embeddings(tuple(triplets.ids[int(i)] for i in judged), _ordered(matrix, similarity, nonnegative)),
        similarity=similarity,
        nonnegative=nonnegative,
        l1=l1,
        l2=l2,
        trials=t,
        log_likelihood=-loss / t,
        iterations=int(best.nit),
        converged=bool(best.success),
    )


def denoised_rsm(embedding: OrdinalEmbedding) -> RSM:
    """Predict the human RSM that infinitely many trials would show.

    Parameters
    ----------
    embedding : OrdinalEmbedding
        Fitted to trials.

    Returns
    -------
    RSM
        For each pair the probability to stay together, averaged over every third stimulus: 0 to 1, the scale of the
        human RSM; complete, without counts.
    """
    return expected_rsm(embedding.rsm, temperature=1.0)


def _ordered(matrix: Float[ndarray, "n d"], similarity: Similarity, nonnegative: bool) -> Float[ndarray, "n d"]:
    """Choose, among the embeddings with equal similarities, one that does not depend on the start."""
    if nonnegative:
        return matrix[:, np.argsort(-matrix.sum(axis=0), kind="stable")]
    if similarity == "distance":
        matrix = matrix - matrix.mean(axis=0)
    left, sizes, _ = np.linalg.svd(matrix, full_matrices=False)
    rotated = np.zeros_like(matrix)
    rotated[:, : len(sizes)] = left * sizes
    largest = np.abs(rotated).argmax(axis=0)
    return rotated * np.where(rotated[largest, np.arange(matrix.shape[1])] < 0, -1.0, 1.0)


def _check(
    triplets: Triplets,
    dims: int,
    similarity: str,
    nonnegative: bool,
    l1: float,
    l2: float,
    restarts: int,
    max_iter: int,
    seed: int,
) -> None:
    if not len(triplets):
        raise VidsimError("there is no trial to fit an embedding to; expected at least 1 that is not a catch trial")
    at_least(1, dims=dims, restarts=restarts, max_iter=max_iter)
    at_least(0, seed=seed)
    for name, value in (("l1", l1), ("l2", l2)):
        if not 0 <= value < np.inf:
            raise VidsimError(f"{name} is {value:g}: expected 0 or more")
    one_of("similarity", similarity, get_args(Similarity))
    if nonnegative and similarity == "distance":
        raise VidsimError("nonnegative fits inner products only: distances do not change when all points move")
    if l1 and not nonnegative:
        raise VidsimError(f"l1 is {l1:g}, but it makes only nonnegative embeddings sparse; ask for these, or for l2")
