"""Hybrid loss (Eq. 5): local constraints by triplets, and at some steps global ones by RSA."""

from jaxtyping import Float
from torch import Tensor

from vidsim.errors import VidsimError


def hybrid_loss(
    triplet: Float[Tensor, ""], rsa: Float[Tensor, ""] | None, *, alpha: float = 0.7, beta: float
) -> Float[Tensor, ""]:
    """Weigh the triplet loss and, at an RSA step, the RSA loss (Eq. 5).

    Parameters
    ----------
    triplet : tensor
        Loss of the step's trials.
    rsa : tensor, optional
        Loss of its pairs; None where it is no RSA step.
    alpha : float
        Weight of the triplet loss, 0 or more.
    beta : float
        Weight of the RSA loss, 0 or more; `beta_at` ramps it.

    Returns
    -------
    tensor
        alpha * triplet + beta * rsa.

    Examples
    --------
    >>> import torch
    >>> hybrid_loss(torch.tensor(0.2), torch.tensor(-0.5), beta=0.3), hybrid_loss(torch.tensor(0.2), None, beta=0.3)
    (tensor(-0.0100), tensor(0.1400))
    """
    return alpha * triplet if rsa is None else alpha * triplet + beta * rsa


def beta_at(epoch: int, epochs: int, first: float = 0.3, last: float = 0.7) -> float:
    """Return the weight of the RSA loss in an epoch: a linear ramp (Section 3.3.1).

    Parameters
    ----------
    epoch : int
        From 0 to epochs - 1.
    epochs : int
        How many there are, 1 or more.
    first, last : float
        Weight in the first epoch and in the last; of a single epoch the first.

    Returns
    -------
    float
        The weight.

    Raises
    ------
    VidsimError
        If there is no such epoch.

    Examples
    --------
    >>> [round(beta_at(epoch, 5), 3) for epoch in range(5)]
    [0.3, 0.4, 0.5, 0.6, 0.7]
    """
    if not 0 <= epoch < epochs:
        raise VidsimError(f"no epoch {epoch} of {epochs}: expected 0 to {epochs - 1}")
    share = epoch / (epochs - 1) if epochs > 1 else 0.0
    return (1 - share) * first + share * last
