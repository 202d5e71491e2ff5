"""RSA loss (Eq. 4): distances of a model should rise and fall with those of people."""

from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from vidsim.adapt.losses.distance import single
from vidsim.errors import VidsimError

ROUNDING = 8
"""Distances whose standard deviation is below this many units of rounding are taken for all the same."""


def rsa_loss(model: Float[Tensor, " p"], human: Float[Tensor, " p"]) -> Float[Tensor, ""]:
    """Compute minus the Pearson correlation of z-scored distances over judged pairs (Eq. 4).

    Both are standardised by the population's standard deviation, so that the least loss is -1: where the model's
    distances are the human ones times a positive number, plus another. Where the model's distances are all the same,
    up to rounding, the correlation is undefined: the loss is 0, and so is its gradient.

    Parameters
    ----------
    model : tensor of shape (p,)
        Cosine distances.
    human : tensor of shape (p,)
        1 - the share of trials in which the pair stayed together; never NaN.

    Returns
    -------
    tensor
        From -1 to 1.

    Raises
    ------
    VidsimError
        If there are fewer than two pairs, the numbers of distances differ, or the human distances are NaN, infinite or
        all the same; on a GPU the loss is NaN then.

    Examples
    --------
    >>> human = torch.tensor([0.0, 0.5, 1.0])
    >>> round(rsa_loss(0.3 * human + 0.2, human).item(), 6), rsa_loss(torch.ones(3), human).item()
    (-1.0, 0.0)
    """
    if len(model) != len(human):
        raise VidsimError(f"{len(model)} distances of a model and {len(human)} of people: expected the same pairs")
    if len(human) < 2:
        raise VidsimError(f"{len(human)} judged pairs: expected 2 or more to correlate distances over")
    low, high = human.aminmax()
    if human.device.type == "cpu" and not 0 < float(high - low) < inf:  # a GPU would make the step wait for the answer
        raise VidsimError(
            f"the human distances of {len(human)} pairs go from {float(low):g} to {float(high):g}; expected some that "
            "differ and none that is NaN or infinite: a correlation is undefined"
        )
    model, human = single(model), single(human)
    standard = (human - human.mean()) / human.std(correction=0)
    centred = model - model.mean()
    variance = centred.square().mean()
    least = ROUNDING * torch.finfo(model.dtype).eps * model.detach().abs().max().clamp(min=1)
    flat = variance <= least**2
    scaled = centred / torch.where(flat, 1, variance).sqrt()
    return torch.where(flat, 0, -(scaled * standard).mean())
