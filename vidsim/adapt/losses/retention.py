"""Retention loss: what the base model knew is to be kept."""

import torch
from jaxtyping import Float
from torch import Tensor

from vidsim.adapt.losses.distance import cosine_distances
from vidsim.errors import VidsimError

KINDS = ("embeddings", "similarities")
"""What is to stay as it was: each embedding's direction, or the similarity of each pair."""


def retention_loss(
    new: Float[Tensor, "n d"], base: Float[Tensor, "n e"], kind: str = "embeddings"
) -> Float[Tensor, ""]:
    """Compute how far embeddings have moved from those of the frozen base model.

    ``"embeddings"`` is the mean cosine distance of an embedding to what it was. ``"similarities"`` is the mean squared
    change of the cosine similarity over all pairs, as in relational distillation (Park et al. 2019): embeddings may
    turn together, and their width may change.

    Parameters
    ----------
    new : tensor of shape (n, d)
        Embeddings of the model that is trained.
    base : tensor of shape (n, e)
        Of the base model, same stimuli; no gradient flows into them. e is d for ``"embeddings"``.
    kind : {"embeddings", "similarities"}
        What is to stay.

    Returns
    -------
    tensor
        From 0 to 2, or from 0 to 4; 0 without stimuli, or without pairs of them.

    Raises
    ------
    VidsimError
        If the kind is unknown, the numbers of stimuli differ, or the widths do where they must not.

    Examples
    --------
    >>> quarter = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    >>> base = torch.eye(2)
    >>> retention_loss(quarter @ base, base), retention_loss(quarter @ base, base, kind="similarities")
    (tensor(1.), tensor(0.))
    """
    if kind not in KINDS:
        raise VidsimError(f"no retention of {kind!r}: expected 'embeddings' or 'similarities'")
    if len(new) != len(base):
        raise VidsimError(f"{len(new)} embeddings cannot stay as {len(base)} were; expected those of the same stimuli")
    base = base.detach()
    if kind == "embeddings":
        if new.shape[1] != base.shape[1]:
            raise VidsimError(
                f"embeddings of {new.shape[1]} features cannot stay as they were with {base.shape[1]}: choose the "
                "retention of similarities"
            )
        changes = cosine_distances(new, base).diagonal()
    else:
        rows, columns = torch.triu_indices(len(new), len(new), 1, device=new.device)
        moved = cosine_distances(new, new) - cosine_distances(base, base)
        changes = moved[rows, columns].square()
    return changes.mean() if len(changes) else changes.sum()
