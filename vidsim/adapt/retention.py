"""Retention: which stimuli a step holds where the frozen model had them, and where that was."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from vidsim.adapt.batches import Step
from vidsim.adapt.material import Material
from vidsim.adapt.recipe import Recipe
from vidsim.encoders.transfer import to_device


class Retention:
    """Give embeddings of some stimuli by the model that is trained, and by the frozen one.

    The frozen one sees all captions of a stimulus. So does the other, or the term would draw each caption to the mean
    of its stimulus's.

    Parameters
    ----------
    recipe : Recipe
        How many stimuli a step, and whether captions are drawn.
    material : Material
        Stimuli that nobody judged; the step's own where there are none.
    frozen : callable
        Takes ids; returns their embeddings before anything is trained, of shape (n, d).
    """

    def __init__(
        self, recipe: Recipe, material: Material, frozen: Callable[[Sequence[str]], Float[Tensor, "n d"]]
    ) -> None:
        self._drawn = recipe.loss.retention_stimuli if material.unlabelled else 0
        self._kept: Sequence[str] = material.unlabelled or material.fit.ids
        captions = material.captions or {}
        single = all(len(captions.get(name, ())) < 2 for name in self._kept)
        self._whole = single or recipe.run.captions == "mean"  # a step has seen all that there is of each
        self._base = frozen(self._kept)

    def of(
        self,
        step: Step,
        vectors: Float[Tensor, "n d"],
        embed: Callable[[Sequence[str]], Float[Tensor, "m d"]],
        rng: np.random.Generator,
    ) -> tuple[Float[Tensor, "k d"], Float[Tensor, "k e"]]:
        """Embed what a step is to keep.

        Parameters
        ----------
        step : Step
            The step.
        vectors : tensor of shape (n, d)
            Of its stimuli, then of its fixed ones.
        embed : callable
            Takes ids; embeds them as they are where nothing is trained, with gradients.
        rng : Generator
            Draws stimuli.

        Returns
        -------
        tuple of tensor
            By the model that is trained, and by the frozen one.
        """
        if self._drawn:
            rows = rng.choice(len(self._kept), min(self._drawn, len(self._kept)), replace=False)
        elif self._whole:
            return vectors, self._rows(np.concatenate([step.stimuli, step.fixed]))
        else:
            rows = np.unique(step.stimuli)
        return embed([self._kept[int(row)] for row in rows]), self._rows(rows)

    def _rows(self, rows: Int[ndarray, " k"]) -> Float[Tensor, "k d"]:
        return self._base[to_device(rows, self._base.device)]
