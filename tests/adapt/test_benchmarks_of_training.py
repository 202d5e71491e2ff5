"""The benchmarks of training measure the trainer as it is."""

from importlib import import_module
from pathlib import Path

import pytest
from tiny_trainer import material, recipe, trainer

from vidsim.adapt.batches import Counts


@pytest.fixture
def made(publish, monkeypatch):
    """Return a trainer of a tiny TimeSformer that samples trials; benchmarks can be imported."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    told = recipe(loss={"kind": "hybrid"}, batches={"sampler": "trials", "trials": 4, "rsa_steps": 1, "rsa_stimuli": 6})
    base = publish("timesformer-base")
    return trainer(base, told, stuff=material(base.card))


def test_slices_of_an_epoch_are_trained_and_scored(made):
    train = import_module("train")
    whole = Counts.of(made.batches.epoch(0)).forwards
    steps = len(made.batches)
    made.batches = train.Slices(made.batches, 4)
    rows = train.run(made, steps // 4, None)
    assert len(rows) == steps // 4 > 1
    assert [forwards for *_, forwards in rows] == sorted({forwards for *_, forwards in rows})
    assert rows[-1][2] <= whole
    assert all(-1 <= rho <= 1 for _, rho, _ in rows)
    assert 0 < train.overhead(made, 3) < 1


def test_steps_of_each_size_are_measured(made):
    gpu_train = import_module("gpu_train")
    model, optimiser = made.accelerator.prepare(*made._ready())
    steps = len(made.batches)
    found = gpu_train.measure(made, model, optimiser, 2)
    assert (found.steps, len(made.batches)) == (steps, steps)
    assert found.epoch > found.step > 0
    assert found.clips in {len(step.stimuli) for step in made.batches.epoch(0)}
    assert "self_cpu_time_total" in gpu_train.profile_of(made, model, optimiser).lower().replace(" ", "_")
