"""Measure training on captions: the stimuli sampler against the paper's trials sampler, and what a step costs besides.

Same base (all-MiniLM-L6-v2), same judgments, same loss (the hybrid, Eq. 5), on one CPU, one after the other, each at a
learning rate of its own: a step of the stimuli sampler averages over a hundred times as many constraints and bears a
higher one. First the trials sampler runs, and is scored on the validation stimuli every so many steps; then the stimuli
sampler runs until it is as good as the other ever was, with several seeds. Prints the ratio of the times, of the
forward passes at equal constraints, and the share of a step outside forward, loss, backward and update.

    python benchmarks/train.py RELEASE --steps 3060

RELEASE is a folder in the layout of the Social-OOO release.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from vidsim.adapt.batches import Batches, Counts, Step, StimulusBatches
from vidsim.adapt.material import Material
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.recipe_file import read_recipe
from vidsim.adapt.scores import scores
from vidsim.adapt.trainer import Trainer
from vidsim.data.judgments.read import read
from vidsim.data.splits import validation_split
from vidsim.encoders import catalog

ENCODER = "all-MiniLM-L6-v2"
RECIPE = "all-minilm-l6-v2-hybrid-trials"


class Slices:
    """Go through a sampler's epochs in slices, so that scores come more often than once an epoch."""

    def __init__(self, batches: Batches, steps: int) -> None:
        self._batches, self._steps = batches, steps

    def __len__(self) -> int:
        return self._steps

    def epoch(self, number: int) -> Iterator[Step]:
        """Yield a slice."""
        whole = len(self._batches)
        first = number * self._steps
        return islice(self._batches.epoch(first // whole), first % whole, first % whole + self._steps)


class Clock:
    """Add up the seconds of a method."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Time a function whenever it is called."""

        def timed(*args: object, **options: object) -> object:
            start = time.perf_counter()
            try:
                return method(*args, **options)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


def at_rate(recipe: Recipe, rate: float) -> Recipe:
    return recipe.model_copy(update={"optimiser": recipe.optimiser.model_copy(update={"learning_rate": rate})})


def load(release: Path) -> Material:
    found = read(release)
    assert found.stimuli is not None
    training = {one.id: one for one in found.stimuli if one.split == "train"}
    fit, held = validation_split(list(training))
    trials = found.judgments.triplets
    return Material(
        trials.restrict(fit), trials.restrict(held), captions={name: one.captions for name, one in training.items()}
    )


def run(trainer: Trainer, slices: int, target: float | None) -> list[tuple[float, float, int]]:
    """Train slice by slice; return seconds, validation rho and forward passes after each."""
    validation = trainer.material.validation
    assert validation is not None
    human = validation.rsm()
    model, optimiser = trainer.accelerator.prepare(*trainer._ready())
    seconds, forwards, rows = 0.0, 0, []
    for number in range(slices):
        start = time.perf_counter()
        trainer._epoch(number, model, optimiser, Silent())
        seconds += time.perf_counter() - start
        forwards += Counts.of(trainer.batches.epoch(number)).forwards
        rho = scores(trainer.embed(validation.ids), validation, human)["rho"]
        rows.append((seconds, rho, forwards))
        print(f"  {seconds:7.1f} s, {forwards:7,} forward passes: validation rho {rho:.4f}", flush=True)
        if target is not None and rho >= target:
            break
    return rows


class Silent:
    """Watch without a word."""

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_: None


def overhead(trainer: Trainer, steps: int) -> float:
    """Measure the share of a step outside forward, loss, backward and update."""
    trainer.batches = Slices(trainer.batches, steps)
    clock = Clock()
    model, optimiser = trainer.accelerator.prepare(*trainer._ready())
    trainer._epoch(0, model, optimiser, Silent())
    model.forward = clock.around(model.forward)
    optimiser.step = clock.around(optimiser.step)
    optimiser.zero_grad = clock.around(optimiser.zero_grad)
    trainer.accelerator.backward = clock.around(trainer.accelerator.backward)
    trainer.accelerator.clip_grad_norm_ = clock.around(trainer.accelerator.clip_grad_norm_)
    trainer._objective = clock.around(trainer._objective)
    start = time.perf_counter()
    trainer._epoch(1, model, optimiser, Silent())
    whole = time.perf_counter() - start
    return 1 - clock.seconds / whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("release", type=Path)
    parser.add_argument("--steps", type=int, default=3060, help="of the trials sampler")
    parser.add_argument("--every", type=int, default=255, help="steps of the trials sampler between scores")
    parser.add_argument("--stimuli", type=int, default=32)
    parser.add_argument("--slices", type=int, default=40, help="of the stimuli sampler, 5 steps each, at most")
    parser.add_argument("--rates", type=float, nargs=2, default=(1e-4, 1e-3), help="learning rates, trials and stimuli")
    parser.add_argument("--seeds", type=int, default=3, help="of the stimuli sampler")
    options = parser.parse_args()
    material = load(options.release)
    base = catalog.resolve(ENCODER)
    recipe, fast_recipe = (at_rate(read_recipe(RECIPE), rate) for rate in options.rates)
    print(f"step overhead at batch 4: {overhead(Trainer(recipe, base, material, seed=0, device='cpu'), 40):.2%}")

    print(f"trials sampler, {options.steps:,} steps of 4 trials")
    trials = Trainer(recipe, base, material, seed=0, device="cpu")
    per_epoch = trials.batches.counts(0)
    trials.batches = Slices(trials.batches, options.every)
    slow = run(trials, options.steps // options.every, None)
    best = max(rho for _, rho, _ in slow)
    when = next(seconds for seconds, rho, _ in slow if rho == best)

    batches = recipe.batches.model_copy(update={"sampler": "stimuli", "stimuli": options.stimuli, "steps": 5})
    fast_recipe = fast_recipe.model_copy(update={"batches": batches})
    ends: list[tuple[float, float]] = []
    for seed in range(options.seeds):
        print(f"stimuli sampler, seed {seed}, {options.stimuli} stimuli a step, until rho is {best:.4f}")
        stimuli = Trainer(fast_recipe, base, material, seed=seed, device="cpu")
        ends.append(run(stimuli, options.slices, best)[-1][:2])

    sampler = StimulusBatches(material.fit, stimuli=options.stimuli, steps=200, seed=0)
    counts = sampler.counts(0)
    needed = counts.forwards * per_epoch.constraints / counts.constraints
    print(f"forward passes for {per_epoch.constraints:,} constraints: {per_epoch.forwards:,} against {needed:,.0f}")
    print(f"  trials / stimuli: forward passes {per_epoch.forwards / needed:.1f}x, ", end="")
    reached = sorted(seconds if rho >= best else float("inf") for seconds, rho in ends)
    middle = reached[len(reached) // 2]
    print(
        f"time to validation rho {best:.4f}: {when:.1f} s against {', '.join(f'{s:.1f}' for s in reached)} s over "
        f"seeds, {when / middle:.1f}x by the median"
    )


if __name__ == "__main__":
    main()
