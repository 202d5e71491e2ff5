"""A linear transform of frozen embeddings."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError


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
