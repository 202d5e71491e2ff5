"""Cosine distance (Eq. 2), which all losses share."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def single(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Raise halves to float32; float32 and float64 stay as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def unit(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Scale embeddings to length 1; a zero vector stays zero, with a finite gradient.

    Parameters
    ----------
    embeddings : tensor of shape (n, d)
        In any floating-point precision.

    Returns
    -------
    tensor of shape (n, d)
        In float32, or float64 if the embeddings are.
    """
    embeddings = single(embeddings)
    lengths = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    return embeddings / torch.where(lengths > 0, lengths, 1)


def cosine_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Compute the cosine distance of each of some embeddings to each of others (Eq. 2).

    Parameters
    ----------
    x : tensor of shape (n, d)
        Embeddings; a zero vector has distance 1 to all.
    y : tensor of shape (m, d)
        Others.

    Returns
    -------
    tensor of shape (n, m)
        1 - cos, from 0 to 2; in float32 even under autocast, or float64 if the embeddings are.

    Examples
    --------
    >>> cosine_distances(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.4000, 1.0000]])
    """
    with torch.autocast(x.device.type, enabled=False):  # it would multiply in half precision
        return 1 - unit(x) @ unit(y).T


def pair_distances(x: Float[Tensor, "n d"], pairs: Int[Tensor, "p 2"]) -> Float[Tensor, " p"]:
    """Compute the cosine distances of some pairs of embeddings (Eq. 2).

    All distances are computed and the pairs picked out: a step has more pairs than embeddings.

    Parameters
    ----------
    x : tensor of shape (n, d)
        Embeddings.
    pairs : tensor of shape (p, 2)
        Rows of the two.

    Returns
    -------
    tensor of shape (p,)
        From 0 to 2.

    Examples
    --------
    >>> pair_distances(torch.eye(3), torch.tensor([[0, 0], [0, 2]]))
    tensor([0., 1.])
    """
    return cosine_distances(x, x)[pairs[:, 0], pairs[:, 1]]


def trial_distances(embeddings: Float[Tensor, "n d"], trials: Int[Tensor, "t 3"]) -> Float[Tensor, "t 3"]:
    """Compute the cosine distances of the three pairs of each trial (Eq. 2).

    Parameters
    ----------
    embeddings : tensor of shape (n, d)
        One a stimulus.
    trials : tensor of shape (t, 3)
        Rows of a, b and the odd one.

    Returns
    -------
    tensor of shape (t, 3)
        d(a, b), d(a, odd) and d(b, odd).

    Examples
    --------
    >>> trial_distances(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([[0, 1, 2]]))
    tensor([[0., 1., 1.]])
    """
    a, b, odd = trials.unbind(1)  # indexed by a list, a GPU would make the step wait
    return cosine_distances(embeddings, embeddings)[torch.stack([a, a, b], 1), torch.stack([b, odd, odd], 1)]
