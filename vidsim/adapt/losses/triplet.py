"""Triplet loss (Eq. 3): what stayed together should be closer than what was odd, by a margin."""

from jaxtyping import Float, Int
from torch import Tensor

from vidsim.adapt.losses.distance import trial_distances
from vidsim.errors import VidsimError

ANCHORS = ("first", "both")
"""Which of the two that stayed together is compared with the odd one."""


def triplet_loss(
    embeddings: Float[Tensor, "n d"], trials: Int[Tensor, "t 3"], margin: float = 0.2, anchors: str = "first"
) -> Float[Tensor, ""]:
    """Compute the mean of max(0, d(a, b) - d(a, odd) + margin) over all trials, violated or not (Eq. 3).

    Parameters
    ----------
    embeddings : tensor of shape (n, d)
        One a stimulus.
    trials : tensor of shape (t, 3)
        Rows of a, b and the odd one.
    margin : float
        In units of cosine distance, which runs from 0 to 2; at least 0.
    anchors : {"first", "both"}
        ``"first"`` takes a for the anchor, as the paper does; ``"both"`` averages over a and b, so that the order in
        which a source lists the two does not matter.

    Returns
    -------
    tensor
        From 0 to 2 + margin; 0 without trials.

    Raises
    ------
    VidsimError
        If the anchors are unknown, or the margin is below 0.

    Examples
    --------
    >>> import torch
    >>> triplet_loss(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]), torch.tensor([[0, 1, 2], [2, 1, 0]]))
    tensor(0.4000)
    """
    if anchors not in ANCHORS:
        raise VidsimError(f"no anchors {anchors!r}: expected 'first' or 'both'")
    if not margin >= 0:
        raise VidsimError(f"margin {margin:g}: expected a number of at least 0")
    distances = trial_distances(embeddings, trials)
    if not len(trials):
        return distances.sum()
    odd = distances[:, 1:2] if anchors == "first" else distances[:, 1:]
    return (distances[:, :1] - odd + margin).clamp(min=0).mean()
