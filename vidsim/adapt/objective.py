"""The objective: what a step of a recipe minimises, its parts told apart."""

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
from vidsim.encoders.transfer import to_device


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
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
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
            The loss, and each term before it is weighted, without gradient; on the device, for reading makes it wait.
        """
        loss, epochs = self._recipe.loss, self._recipe.optimiser.epochs
        device = embeddings.device
        trials = to_device(step.trials, device)
        parts: dict[str, Tensor] = {}
        if loss.kind == "soft":
            parts["soft"] = soft_triplet_loss(embeddings, trials, loss.temperature)
        elif loss.kind != "rsa":
            parts["triplet"] = triplet_loss(embeddings, trials, margin=loss.margin, anchors=loss.anchors)
        if loss.kind in {"hybrid", "rsa"} and len(step.pairs):
            distances = pair_distances(embeddings, to_device(step.pairs, device))
            parts["rsa"] = rsa_loss(distances, to_device(step.human, device).float())
        if loss.kind == "hybrid":
            total = hybrid_loss(
                parts["triplet"], parts.get("rsa"), alpha=loss.alpha, beta=beta_at(epoch, epochs, *loss.beta)
            )
        else:
            total = next(iter(parts.values())) if parts else embeddings.sum() * 0
        if kept is not None and loss.retention:
            parts["retention"] = retention_loss(*kept, loss.retention_kind)
            total = total + loss.retention * parts["retention"]
        return total, {name: value.detach() for name, value in parts.items()}
