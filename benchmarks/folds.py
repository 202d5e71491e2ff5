"""Cross-validate a recipe over training clips, epoch by epoch, against the encoder as it is.

The folds, trials and measures are those of `benchmarks/linear.py`; the recipe is fitted to the trials wholly among four
fifths of the training clips, without validation clips of its own, and the other fifth is compared with people after
each epoch. Epoch 0 is what the recipe begins at: the linear transform, for those whose head is one. Test clips take no
part.

    python benchmarks/folds.py RELEASE --recipe all-minilm-l6-v2-hybrid
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from linear import METRICS, measure, show

from vidsim.adapt.material import Material
from vidsim.adapt.recipe_file import read_recipe
from vidsim.adapt.trainer import Trainer
from vidsim.data.judgments.read import read
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.triplets import Triplets


class Curve:
    """Measure what is held out when training begins and after each epoch."""

    def __init__(self, trainer: Trainer, held: list[str], trials: Triplets) -> None:
        self.rows: list[list[float]] = []
        self._trainer, self._held, self._trials = trainer, held, trials

    def begin(self, name: str, seed: int, epochs: int, steps: int, done: int) -> None:
        """Measure what training begins at."""
        self.rows.append(measure(self._trainer.embed(self._held), self._trials))

    def step(self, number: int, losses: Mapping[str, float]) -> None:
        """Watch without a word."""

    def epoch(self, row: Mapping[str, Any], best: int) -> None:
        """Measure what an epoch has led to."""
        self.rows.append(measure(self._trainer.embed(self._held), self._trials))
        print(f"    {' '.join(f'{value:.3f}' for value in self.rows[-1])}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each divides the clips anew")
    options = parser.parse_args()
    found = read(options.release)
    assert found.stimuli is not None
    assert found.judgments is not None
    captions = {one.id: one.captions for one in found.stimuli if one.split == "train"}
    ids, trials = list(captions), found.judgments.triplets.restrict(list(captions))
    recipe = read_recipe(options.recipe)
    resolved = catalog.resolve(recipe.encoder)
    base: list[list[float]] = []
    curves: list[list[list[float]]] = []
    for seed in options.seeds:
        fold = np.random.default_rng(seed).permutation(len(ids)) % options.folds
        for f in range(options.folds):
            known, held = ([ids[int(i)] for i in np.flatnonzero(part)] for part in (fold != f, fold == f))
            inside = trials.restrict(known)
            trainer = Trainer(
                recipe, resolved, Material(Triplets(inside.ids, inside.rows), None, captions=captions), seed=seed
            )
            base.append(measure(as_it_is(trainer, held), trials))
            curve = Curve(trainer, held, trials)
            print(f"seed {seed}, fold {f + 1}: {', '.join(METRICS)}", flush=True)
            with TemporaryDirectory() as folder:
                trainer.run(Path(folder, "adapter"), Path(folder, "state"), "fold", curve)
            curves.append(curve.rows)
    print(f"{len(base)} folds; gain over the encoder as it is +- standard error over {options.folds} folds")
    epochs = {f"epoch {epoch}": np.array(rows) for epoch, rows in enumerate(zip(*curves, strict=True))}
    show({"as it is": np.array(base)} | epochs, options.folds)


def as_it_is(trainer: Trainer, held: list[str]) -> Embeddings:
    """Embed by the encoder without its head, before anything is trained: LoRA's matrices begin at nothing."""
    return trainer.material.embed(trainer.encoder, None, trainer.layer, held)


if __name__ == "__main__":
    main()
