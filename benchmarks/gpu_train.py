"""Measure fine-tuning TimeSformer-base on a GPU by both samplers, without decoding, and project the paper's 50 epochs.

The model has the geometry of the published one and random weights. The peak is that of a bf16 product of two matrices
of 8,192 x 8,192 random numbers, in the same run. Operations are counted by torch, a multiplication with its addition
as two; those that checkpointing repeats do not count.

    python benchmarks/gpu_train.py RELEASE
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoints import timesformer
from device import begin, options, timed, wait
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode
from train import Silent, load

from vidsim.adapt.batches import Step
from vidsim.adapt.recipe import Recipe
from vidsim.adapt.recipe_file import read_recipe
from vidsim.adapt.trainer import Trainer
from vidsim.encoders import catalog

WAYS = ("plain", "checkpointing", "compiled")


class Chosen:
    """Some steps in place of an epoch's."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps

    def __len__(self) -> int:
        return len(self._steps)

    def epoch(self, _number: int) -> Iterator[Step]:
        """Yield them."""
        return iter(self._steps)


@dataclass
class Measured:
    """Hold what was measured: of the usual step, and of an epoch."""

    clips: int
    step: float
    steps: int
    epoch: float
    validation: float
    memory: int

    @property
    def hours(self) -> float:
        """Return what 50 epochs would take."""
        return 50 * (self.epoch + self.validation) / 3600


def variant(recipe: Recipe, *, checkpointing: bool, compiled: bool) -> Recipe:
    run = recipe.run.model_copy(update={"checkpointing": checkpointing, "compile": compiled})
    return recipe.model_copy(update={"run": run})


def made(recipe: Recipe, base: Any, material: Any, device: str) -> tuple[Trainer, Any, Any]:
    trainer = Trainer(recipe, base, material, seed=0, device=device)
    model, optimiser = trainer.accelerator.prepare(*trainer._ready())
    trainer.graph()
    return trainer, model, optimiser


def run(trainer: Trainer, model: Any, optimiser: Any, steps: Sequence[Step]) -> float:
    """Make some steps; return the seconds that they took."""
    whole, trainer.batches = trainer.batches, Chosen(steps)
    wait(trainer.accelerator.device.type)
    start = time.perf_counter()
    trainer._epoch(0, model, optimiser, Silent())
    wait(trainer.accelerator.device.type)
    trainer.batches = whole
    return time.perf_counter() - start


def operations_of_a_clip(recipe: Recipe, base: Any, material: Any, device: str) -> int:
    """Count the operations of a step, forward and backward, for each of its clips."""
    trainer, model, optimiser = made(recipe, base, material, device)
    first = next(iter(trainer.batches.epoch(0)))
    with FlopCounterMode(display=False) as counter:
        run(trainer, model, optimiser, [first])
    return counter.get_total_flops() // len(first.stimuli)


def measure(trainer: Trainer, model: Any, optimiser: Any, number: int) -> Measured:
    """Measure steps of each size that an epoch has, after as many that do not count, and a validation."""
    alike: dict[tuple[int, int], list[Step]] = {}
    for step in trainer.batches.epoch(0):
        alike.setdefault((len(step.stimuli), len(step.fixed)), []).append(step)
    seconds: dict[tuple[int, int], float] = {}
    for size, steps in alike.items():
        some = list(islice(cycle(steps), min(number, 3 * len(steps))))
        run(trainer, model, optimiser, some)
        seconds[size] = run(trainer, model, optimiser, some) / len(some)
    usual = max(alike, key=lambda size: len(alike[size]))
    held = trainer.material.validation
    assert held is not None
    device = trainer.accelerator.device.type
    return Measured(
        clips=usual[0],
        step=seconds[usual],
        steps=len(trainer.batches),
        epoch=sum(len(steps) * seconds[size] for size, steps in alike.items()),
        validation=timed(lambda: trainer.embed(held.ids), device, warm=1, seconds=0),
        memory=torch.cuda.max_memory_reserved() if device != "cpu" else 0,
    )


class Losses(Silent):
    """Keep the losses of each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def step(self, _number: int, losses: Mapping[str, float]) -> None:
        """Keep them."""
        self.seen += losses.values()


def differ(recipe: Recipe, base: Any, material: Any, device: str) -> float:
    """Return by how much of the largest the losses of the same steps differ, compiled and plain, without dropout."""
    none = {"dropout": 0.0, "head_dropout": 0.0}
    still = recipe.model_copy(update={"adapter": recipe.adapter.model_copy(update=none)})
    found: list[list[float]] = []
    for compiled in (False, True):
        trainer, model, optimiser = made(variant(still, checkpointing=False, compiled=compiled), base, material, device)
        trainer.batches = Chosen(list(islice(trainer.batches.epoch(0), 8)))
        losses = Losses()
        trainer._epoch(0, model, optimiser, losses)
        found.append(losses.seen)
    plain, others = np.array(found)
    return float(abs(others - plain).max() / abs(plain).max())


def profile_of(trainer: Trainer, model: Any, optimiser: Any) -> str:
    """Profile four steps, after four that do not count."""
    steps = list(islice(trainer.batches.epoch(0), 4))
    run(trainer, model, optimiser, steps)
    with profile() as found:
        run(trainer, model, optimiser, steps)
    return found.key_averages().table(sort_by=f"self_{trainer.accelerator.device.type}_time_total", row_limit=25)


def training(
    release: Path, device: str, peak: float, number: int, names: list[str], ways: list[str], profiled: bool
) -> None:
    material = load(release)
    rng = np.random.default_rng(0)
    assert material.validation is not None
    ids = [*material.fit.ids, *material.validation.ids]
    frames = {name: torch.from_numpy(rng.integers(0, 256, (8, 3, 224, 224), np.uint8)) for name in ids}
    material = replace(material, captions=None, frames=frames.__getitem__)
    with tempfile.TemporaryDirectory() as folder:
        base = catalog.resolve("timesformer-base", checkpoint=str(timesformer(Path(folder) / "base")))
        for name in names:
            recipe = read_recipe(name)
            plain = variant(recipe, checkpointing=False, compiled=False)
            operations = operations_of_a_clip(plain, base, material, device)
            for way in ways:
                gc.collect()
                if device != "cpu":
                    torch.cuda.empty_cache()
                    torch.cuda.reset_peak_memory_stats()
                start = time.perf_counter()
                one = variant(recipe, checkpointing=way == "checkpointing", compiled=way == "compiled")
                trainer, model, optimiser = made(one, base, material, device)
                ready = time.perf_counter() - start
                found = measure(trainer, model, optimiser, number)
                share = operations * found.clips / found.step / peak
                print(
                    f"{name}, {way}: {found.clips / found.step:,.0f} clips/s, {found.step * 1000:.1f} ms a step of "
                    f"{found.clips}, {share:.1%} of the peak, {found.memory / 1e9:.1f} GB; epoch of {found.steps:,} "
                    f"steps {found.epoch:.1f} s and validation {found.validation:.2f} s; 50 epochs {found.hours:.2f} h "
                    f"({found.hours * 60:.1f} min), ready after {ready:.0f} s",
                    flush=True,
                )
                if profiled:
                    print(profile_of(trainer, model, optimiser))
                del trainer, model, optimiser
            if "compiled" in ways:
                print(
                    f"  losses of eight steps, compiled and plain: within {differ(recipe, base, material, device):.1e}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("release", type=Path)
    parser.add_argument("--steps", type=int, default=60, help="of each size, at most")
    parser.add_argument("--recipes", nargs="+", default=["timesformer-base-hybrid", "timesformer-base-hybrid-stimuli"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--profile", action="store_true", help="print where the time of four steps goes")
    options(parser)
    told = parser.parse_args()
    peak = begin(parser, told)
    training(told.release, told.device, peak, told.steps, told.recipes, told.ways, told.profile)


if __name__ == "__main__":
    main()
