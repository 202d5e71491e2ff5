"""Heads: small trained networks behind the layer of an encoder."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidsim.adapt.linear import LinearTransform


class Head(nn.Sequential):
    """Map embeddings to a narrower space: Linear, LayerNorm, ReLU, Dropout, as in the released code.

    Parameters
    ----------
    width : int
        Features of the base's layer.
    out : int
        Features of the head.
    dropout : float
        Share of features that are dropped in training.
    """

    def __init__(self, width: int, out: int, dropout: float = 0.3) -> None:
        super().__init__(nn.Linear(width, out), nn.LayerNorm(out), nn.ReLU(), nn.Dropout(dropout))


class LinearHead(nn.Module):
    """Take a mean away and apply a matrix: a fitted linear transform, that may be trained further.

    Parameters
    ----------
    mean : tensor of shape (d,)
        What is taken away.
    weight : tensor of shape (d, k)
        The matrix.
    """

    def __init__(self, mean: Float[Tensor, " d"], weight: Float[Tensor, "d k"]) -> None:
        super().__init__()
        self.mean, self.weight = nn.Parameter(mean), nn.Parameter(weight)

    @classmethod
    def of(cls, transform: LinearTransform) -> "LinearHead":
        """Make a head of a fitted transform.

        Parameters
        ----------
        transform : LinearTransform
            The transform.

        Returns
        -------
        LinearHead
            It gives what the transform gives.
        """
        mean, weight = (torch.tensor(value, dtype=torch.float32) for value in (transform.mean, transform.weight))
        return cls(mean, weight)

    def forward(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """Transform embeddings.

        Parameters
        ----------
        vectors : tensor of shape (n, d)
            Of the base's layer.

        Returns
        -------
        tensor of shape (n, k)
            Transformed.
        """
        return (vectors - self.mean) @ self.weight


def head_like(state: Mapping[str, Tensor]) -> nn.Module:
    """Make the head that some weights belong to, to be filled with them.

    Parameters
    ----------
    state : mapping of str to Tensor
        As a head's own names them.

    Returns
    -------
    Module
        With weights of that shape. Where names or shapes are odd, filling it says so.
    """
    if "weight" in state and state["weight"].ndim == 2:
        return LinearHead(torch.zeros(len(state["weight"])), torch.zeros(state["weight"].shape))
    first = state.get("0.weight")
    shape = first.shape if first is not None and first.ndim == 2 else torch.Size((1, 1))
    return Head(shape[-1], shape[0], 0.0)
