"""The objective: what a step of a recipe minimises, its parts told apart."""

import torch
from jaxtyping import Float
from torch import Tensor

from vidsim.adapt.batches import Step
from vidsim.adapt.losses import (
    beta_at,
    hybrid_loss,
    pair_distances,
    retention_loss,
    rsa_loss,
    soft_triplet_loss,
    triplet_loss,
)
from vidsim.adapt.recipe import Recipe


class Objective:
    """Compute the loss of a step.

    Parameters
    ----------
    recipe : Recipe
        Which loss, and its weights.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe

    def __call__(
        self,
        embeddings: Float[Tensor, "n d"],
        step: Step,
        epoch: int,
        kept: tuple[Float[Tensor, "m d"], Float[Tensor, "m e"]] | None = None,
    ) -> tuple[Float[Tensor, ""], dict[str, float]]:
        """Compute the loss of a step (Eqs. 3 to 5), and its parts.

        Parameters
        ----------
        embeddings : tensor of shape (n, d)
            Of the step's stimuli, then of its fixed ones.
        step : Step
            Judgments.
        epoch : int
            From 0 on; the weight of the RSA loss depends on it.
        kept : tuple of tensor, optional
            Embeddings of some stimuli by the model that is trained, and by the frozen one, for the retention term.

        Returns
        -------
        tuple of tensor and dict
            The loss, and the value of each term before it is weighted.
        """
        loss, epochs = self._recipe.loss, self._recipe.optimiser.epochs
        trials = torch.as_tensor(step.trials, device=embeddings.device)
        parts: dict[str, Tensor] = {}
        if loss.kind == "soft":
            parts["soft"] = soft_triplet_loss(embeddings, trials, loss.temperature)
        elif loss.kind != "rsa":
            parts["triplet"] = triplet_loss(embeddings, trials, margin=loss.margin, anchors=loss.anchors)
        if loss.kind in {"hybrid", "rsa"} and len(step.pairs):
            distances = pair_distances(embeddings, torch.as_tensor(step.pairs, device=embeddings.device))
            parts["rsa"] = rsa_loss(distances, torch.as_tensor(step.human, device=embeddings.device).float())
        if loss.kind == "hybrid":
            total = hybrid_loss(
                parts["triplet"], parts.get("rsa"), alpha=loss.alpha, beta=beta_at(epoch, epochs, *loss.beta)
            )
        else:
            total = next(iter(parts.values())) if parts else embeddings.sum() * 0
        if kept is not None and loss.retention:
            parts["retention"] = retention_loss(*kept, loss.retention_kind)
            total = total + loss.retention * parts["retention"]
        return total, {name: float(value.detach()) for name, value in parts.items()}
