"""Predictions: of stimuli that no fit has seen, from one way to deal stimuli to folds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Predictions:
    """Hold predictions from one way to deal n stimuli to folds, for those attributes that the same are rated for.

    Parameters
    ----------
    columns : array of shape (c,)
        Numbers of the attributes.
    fold : array of shape (n,)
        That each stimulus is predicted in; -1 where it is not.
    predicted, rated : array of shape (n, c)
        Predictions and ratings, of mean 0 and standard deviation 1 in each fold; 0 where not predicted.
    """

    columns: Int[ndarray, " c"]
    fold: Int[ndarray, " n"]
    predicted: Float[ndarray, "n c"]
    rated: Float[ndarray, "n c"]

    def correlate(self, times: Float[ndarray, "r n"]) -> Float[ndarray, "r c"]:
        """Correlate predictions with ratings within folds, as if each stimulus stood there so many times.

        Parameters
        ----------
        times : array of shape (r, n)
            How often each stimulus stands in each of r resamples, 0 or more.

        Returns
        -------
        array of shape (r, c)
            Pearson's r over all folds, about the means of each; NaN where predictions or ratings do not differ.

        Examples
        --------
        >>> p, y = np.array([[-1.0], [1.0], [-1.0], [1.0]]), np.array([[-1.0], [1.0], [1.0], [-1.0]])
        >>> predictions = Predictions(np.array([0]), np.array([0, 0, 1, 1]), p, y)
        >>> predictions.correlate(np.array([[1.0, 1, 1, 1], [2, 2, 1, 0], [1, 0, 1, 0]]))
        array([[ 0.],
               [ 1.],
               [nan]])
        """
        covariance, predicted, rated = np.zeros((3, len(times), len(self.columns)))
        for k in range(self.fold.max() + 1):
            rows = self.fold == k
            p, y, weights = self.predicted[rows], self.rated[rows], times[:, rows]
            total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
            sum_p, sum_y = weights @ p, weights @ y
            covariance += weights @ (p * y) - sum_p * sum_y / total
            predicted += weights @ p**2 - sum_p**2 / total
            rated += weights @ y**2 - sum_y**2 / total
        return ratio(covariance, np.sqrt(np.maximum(predicted, 0) * np.maximum(rated, 0)))


def ratio(above: Float[ndarray, "..."], below: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """Divide; NaN where there is nothing to divide by.

    Parameters
    ----------
    above, below : array
        What is divided, and by what: 0 or more, of the same shape or one that is broadcast to it.

    Returns
    -------
    array
        Their ratio, of the shape of ``above``.

    Examples
    --------
    >>> ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0]))
    array([0.5, nan])
    """
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
