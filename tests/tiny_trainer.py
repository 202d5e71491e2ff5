"""Training on a tiny encoder that sees: recipes, clips of two groups, and who watches."""

from dataclasses import replace

import numpy as np
import torch

from vidsim.adapt.material import Material
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.trainer import Trainer
from vidsim.encoders import catalog
from vidsim.triplets import Triplets

N = 12


class Quiet:
    """Watch without a word; may pull the plug after an epoch."""

    def __init__(self, plug=None):
        self.rows, self.losses, self.plug, self.done = [], [], plug, None
        self.epochs = None

    def begin(self, name, seed, epochs, steps, done):
        self.done, self.epochs = done, epochs

    def step(self, number, losses):
        self.losses.append(losses)

    def epoch(self, row, best):
        self.rows.append(row)
        if row["epoch"] == self.plug:
            raise KeyboardInterrupt


def recipe(encoder="timesformer-base", **sections):
    given = {
        "adapter": {"rank": 2},
        "loss": {"kind": "soft", "temperature": 0.1},
        "batches": {"sampler": "stimuli", "stimuli": 6, "steps": 4},
        "optimiser": {"learning_rate": 0.01, "epochs": 5},
        "run": {"precision": "float32"},
    }
    return Recipe.model_validate({"encoder": encoder, **given, **sections})


def trials(ids, groups, count, seed):
    """Judge like people who see two groups: the odd one is of the other group."""
    rng, rows = np.random.default_rng(seed), []
    while len(rows) < count:
        three = rng.choice(len(ids), 3, replace=False)
        kinds = groups[three]
        if len(set(kinds.tolist())) == 2:
            odd = three[[(kinds == kind).sum() == 1 for kind in kinds].index(True)]
            rows.append([*(item for item in three if item != odd), odd])
    return Triplets(tuple(ids), np.array(rows))


def material(card, count=60):
    """Make noisy clips, each of a colour of its own; nothing but training can tell the groups."""
    generator = torch.Generator().manual_seed(3)
    shape = (card.sampling.frames, 3, card.size, card.size)
    frames = {
        f"clip {i}": (
            torch.rand((1, 3, 1, 1), generator=generator) * 200 + torch.rand(shape, generator=generator) * 55
        ).to(torch.uint8)
        for i in range(N)
    }
    names = list(frames)
    groups = np.arange(N) % 2
    return Material(
        trials(names[:8], groups[:8], count, 1), trials(names[8:], groups[8:], 20, 2), frames=frames.__getitem__
    )


def unlabelled(stuff, card, count=5):
    """Add grey clips that nobody judged."""
    generator = torch.Generator().manual_seed(4)
    shape = (card.sampling.frames, 3, card.size, card.size)
    more = {f"grey {i}": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator) for i in range(count)}
    return replace(
        stuff, unlabelled=tuple(more), frames=lambda name: more[name] if name in more else stuff.frames(name)
    )


def trainer(made, told, seed=0, stuff=None):
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    return Trainer(told, resolved, stuff or material(made.card), seed=seed, device="cpu")
