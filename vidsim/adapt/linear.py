"""A linear transform of frozen embeddings, and the file that keeps it."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

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
