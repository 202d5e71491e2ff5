"""Trained: what is trained, in one module."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from vidsim.adapt.attached import Attached
from vidsim.adapt.tower import Tower


class Trained(nn.Module):
    """Hold what is trained in one module, as accelerate wants it: the network, the head, and how they are run."""

    def __init__(self, tower: Tower, attached: Attached) -> None:
        super().__init__()
        self.trunk = attached.trunk
        self.head = attached.head
        self._tower = tower

    def forward(self, ids: Sequence[str], rng: np.random.Generator | None) -> Float[Tensor, "n d"]:
        """Embed stimuli.

        Parameters
        ----------
        ids : sequence of str
            Stimuli.
        rng : Generator, optional
            Draws what is random.

        Returns
        -------
        tensor of shape (n, d)
            What the losses compare.
        """
        vectors = self._tower(ids, rng)
        return vectors if self.head is None else self.head(vectors)
