"""Soft triplet loss: how likely people's choices are, if they keep the more similar pair more often."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vidsim.adapt.losses.distance import trial_distances
from vidsim.errors import VidsimError


def soft_triplet_loss(
    embeddings: Float[Tensor, "n d"], trials: Int[Tensor, "t 3"], temperature: float
) -> Float[Tensor, ""]:
    """Compute minus the mean log probability of the pair that stayed together, among the three pairs of a trial.

    Probabilities are the softmax of cosine similarity / temperature: the choice model of Zheng et al. (2019) and
    Muttenthaler et al. (2023), here on cosines. A triplet judged more than once counts as often, so that disagreement
    between people becomes a probability between 0 and 1.

    Parameters
    ----------
    embeddings : tensor of shape (n, d)
        One a stimulus.
    trials : tensor of shape (t, 3)
        Rows of a, b and the odd one.
    temperature : float
        In units of cosine, above 0; the lower, the surer.

    Returns
    -------
    tensor
        In nats; log 3 where all similarities are the same, 0 without trials.

    Raises
    ------
    VidsimError
        If the temperature is not above 0.

    Examples
    --------
    >>> round(soft_triplet_loss(torch.eye(3), torch.tensor([[0, 1, 2]]), temperature=0.1).exp().item(), 4)
    3.0
    """
    if not temperature > 0:
        raise VidsimError(f"temperature {temperature:g}: expected a number above 0")
    distances = trial_distances(embeddings, trials)
    if not len(trials):
        return distances.sum()
    return -torch.log_softmax(-distances / temperature, dim=1)[:, 0].mean()
