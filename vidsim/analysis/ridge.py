"""Ridge regression: from embeddings to ratings, each with the penalty that predicts best what the fit has not seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.errors import VidsimError

PENALTIES = np.logspace(-7, 4, 45)
"""Penalties tried, in units of the mean squared length of a centred embedding."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """Hold a ridge regression of a ratings on d features, fitted to n stimuli.

    Parameters
    ----------
    centre : array of shape (d,)
        Mean of the features.
    mean : array of shape (a,)
        Mean of the ratings.
    weights : array of shape (d, a)
        Of centred features.
    penalties : array of shape (a,)
        Chosen for each rating, in units of the mean squared length of a centred embedding.
    residuals : array of shape (n, a)
        What each stimulus was rated, less what a fit to all others predicts (leave-one-out).
    map : array of shape (d, k)
        From centred features to the k axes along which the stimuli vary.
    axes : array of shape (n, k)
        The stimuli on these axes, each of length 1.
    shrunk : array of shape (k, a)
        Squared length of each axis plus the penalty of each rating.
    """

    centre: Float[ndarray, " d"]
    mean: Float[ndarray, " a"]
    weights: Float[ndarray, "d a"]
    penalties: Float[ndarray, " a"]
    residuals: Float[ndarray, "n a"]
    map: Float[ndarray, "d k"]
    axes: Float[ndarray, "n k"]
    shrunk: Float[ndarray, "k a"]

    def predict(self, features: Float[ndarray, "m d"]) -> Float[ndarray, "m a"]:
        """Predict the ratings of other stimuli.

        Parameters
        ----------
        features : array of shape (m, d)
            Their features.

        Returns
        -------
        array of shape (m, a)
            On the scale of the ratings.
        """
        return (features - self.centre) @ self.weights + self.mean

    def pull(self, features: Float[ndarray, "m d"], wanted: Float[ndarray, "m a"]) -> Float[ndarray, "n a"]:
        """Tell how each fitted stimulus moves a weighted sum of predictions.

        A stimulus left out of the fit changes the prediction for x by minus h times its leave-one-out residual, where
        h is what its rating contributes to that prediction. This is exact for a given penalty.

        Parameters
        ----------
        features : array of shape (m, d)
            Of the stimuli predicted.
        wanted : array of shape (m, a)
            Their weights in the sum; they add up to 0, so that the mean rating does not matter.

        Returns
        -------
        array of shape (n, a)
            The sum of predictions, less what it would be without the stimulus.
        """
        along = self.map.T @ ((features - self.centre).T @ wanted)
        return self.residuals * (self.axes @ (along / self.shrunk))


def fit_ridge(
    features: Float[ndarray, "n d"], ratings: Float[ndarray, "n a"], penalties: Float[ndarray, " p"] = PENALTIES
) -> Ridge:
    """Fit a ridge regression, its penalty chosen for each rating by leave-one-out (Section 3.3.2).

    Least squares plus the penalty times the squared length of the weights; features are centred, and the constant is
    not penalized. The penalty has the smallest mean squared leave-one-out residual, found in closed form: a residual
    over one less the stimulus's own leverage (Allen 1974). One decomposition serves all ratings and penalties.

    Parameters
    ----------
    features : array of shape (n, d)
        Embeddings of n stimuli, 3 or more; any of n and d may be the larger.
    ratings : array of shape (n, a)
        Their ratings, all known.
    penalties : array of shape (p,)
        To choose from, above 0, in units of the mean squared length of a centred embedding: the choice is then the same
        whatever the scale of the embeddings. Of equally good ones the first is chosen.

    Returns
    -------
    Ridge
        The fit.

    Raises
    ------
    VidsimError
        If there are fewer than three stimuli, or their embeddings are all the same.

    Examples
    --------
    >>> x = np.arange(8.0)[:, None]
    >>> fit_ridge(x, 3 * x + 1).predict(np.array([[10.0]])).round(3)
    array([[31.]])
    """
    n = len(features)
    if n < 3:
        raise VidsimError(f"{n} stimuli cannot be fitted and left out in turn; expected 3 or more")
    centre, mean = features.mean(axis=0), ratings.mean(axis=0)
    x, y = features - centre, ratings - mean
    wide = x.shape[1] >= n
    squared, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    # the axes are the same from either side; those of no length are rounding errors
    kept = squared > max(squared[-1], 0) * max(x.shape) * np.finfo(np.float64).eps
    if not kept.any():
        raise VidsimError(f"the embeddings of all {n} stimuli to fit are the same; expected some that differ")
    squared, vectors = squared[kept], vectors[:, kept]
    axes = vectors if wide else x @ vectors / np.sqrt(squared)
    onto = x.T @ vectors if wide else vectors * np.sqrt(squared)
    along = axes.T @ y
    power = axes**2
    unit = squared.sum() / n
    chosen, best, residuals = np.zeros(y.shape[1], int), np.full(y.shape[1], np.inf), np.empty_like(y)
    for number, penalty in enumerate(penalties):
        kept_share = squared / (squared + penalty * unit)
        left_out = (y - axes @ (kept_share[:, None] * along)) / (1 - 1 / n - power @ kept_share)[:, None]
        error = (left_out**2).mean(axis=0)
        better = error < best
        chosen[better], best[better], residuals[:, better] = number, error[better], left_out[:, better]
    shrunk = squared[:, None] + penalties[chosen] * unit
    return Ridge(centre, mean, onto @ (along / shrunk), penalties[chosen], residuals, onto, axes, shrunk)


def rotated(features: Float[ndarray, "n d"]) -> Float[ndarray, "n k"]:
    """Rotate embeddings of more dimensions than stimuli into as many dimensions as stimuli.

    Inner products stay as they are, and so do all ridge regressions among these stimuli.

    Parameters
    ----------
    features : array of shape (n, d)
        Embeddings.

    Returns
    -------
    array of shape (n, min(n, d))
        In float64.
    """
    matrix = features.astype(np.float64)
    if matrix.shape[1] <= len(matrix):
        return matrix
    return np.transpose(np.asarray(np.linalg.qr(matrix.T, mode="r")))
