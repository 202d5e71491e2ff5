import multiprocessing
import os
import socket
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from tiny_trainer import Quiet, material, recipe, trainer, unlabelled

from vidsim.adapt.material import Material
from vidsim.adapt.schedule import learning_rate
from vidsim.adapt.scores import METRICS
from vidsim.adapt.trained import Trained
from vidsim.errors import VidsimError

RECIPES = {
    "soft": recipe(batches={"sampler": "stimuli", "stimuli": 6, "steps": 5}),
    "hybrid over trials": recipe(
        loss={"kind": "hybrid"},
        batches={"sampler": "trials", "trials": 4, "rsa_steps": 4, "rsa_stimuli": 6, "rsa_gradients": 3},
    ),
    "retention": recipe(loss={"kind": "soft", "retention": 0.5, "retention_stimuli": 3}),
}


def stuff(name, card):
    whole = material(card)
    fit = Material(whole.fit, None, frames=whole.frames)
    return unlabelled(fit, card) if name == "retention" else fit


def train(rank, port, made, folder, results):
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    trained, curves = {}, {}
    for name, told in RECIPES.items():
        run = trainer(made, told, stuff=stuff(name, made.card))
        assert run.accelerator.num_processes == 2
        made_of = run.run(folder / "adapters" / name, folder / f"{name}.safetensors", name, Quiet())
        curves[name] = [row["losses"] for row in made_of.curve[1:]]
        trained[name] = {key: value.detach().numpy() for key, value in run.weights.items()}
    results.put(
        (rank, (trained, curves, patient(rank, made, folder), broken(rank, made, folder), apart(rank, made, folder)))
    )
    torch.distributed.destroy_process_group()


def patient(rank, made, folder):
    """Measure a little otherwise than the other process, as another processor would; return the epochs run."""
    sign = 1 if rank else -1  # by its own figures one would go on, the other stop
    values = iter(range(1, 9))

    def measured(*_):
        return dict.fromkeys(METRICS, 0.5 + sign * next(values) * 1e-9)

    with mock.patch("vidsim.adapt.trainer.scores", side_effect=measured):
        run = trainer(made, recipe(optimiser={"epochs": 4, "patience": 1}))
        made_of = run.run(folder / "patient", folder / "patient.safetensors", "patient", Quiet())
    return [row["epoch"] for row in made_of.curve]


def broken(rank, made, folder):
    """Meet a loss that is no number in the second process alone; return what each says, and whether it was quick."""
    run = trainer(made, RECIPES["soft"], stuff=stuff("soft", made.card))
    objective, steps = run._objective, iter(range(1000))

    def fails(vectors, *rest):
        loss, parts = objective(vectors, *rest)
        if rank == 1 and next(steps) == 3:
            return loss * float("nan"), {name: part * float("nan") for name, part in parts.items()}
        return loss, parts

    run._objective = fails
    try:
        run.run(folder / "broken", folder / "broken.safetensors", "broken", Quiet())
    except VidsimError as error:
        return str(error)
    return None


def apart(rank, made, folder):
    """Go on with a state that the second process has not; return what each says."""
    with pytest.raises(KeyboardInterrupt):
        trainer(made, RECIPES["soft"], stuff=stuff("soft", made.card)).run(
            folder / "apart", folder / "apart.safetensors", "apart", Quiet(plug=1)
        )
    own = folder / ("nowhere.safetensors" if rank else "apart.safetensors")
    try:
        trainer(made, RECIPES["soft"], stuff=stuff("soft", made.card)).run(folder / "apart", own, "apart", Quiet())
    except VidsimError as error:
        return str(error)
    return None


def one_process(name, made):
    """Take two steps at once: the mean of their gradients, as two processes have it."""
    told = RECIPES[name]
    run = trainer(made, told, stuff=stuff(name, made.card))
    model, settings, ids = Trained(run.tower, run.attached).train(), told.optimiser, run.material.fit.ids
    optimiser = torch.optim.AdamW(run.weights.values(), settings.learning_rate, weight_decay=settings.weight_decay)
    seen = {}
    for epoch in range(settings.epochs):
        rngs = [np.random.default_rng([run.seed, epoch, rank]) for rank in (0, 1)]
        steps = list(run.batches.epoch(epoch))
        steps = steps[len(steps) % 2 :]
        for number, pair in enumerate(zip(steps[::2], steps[1::2], strict=False)):
            losses = []
            for step, rng in zip(pair, rngs, strict=True):
                vectors = model([ids[i] for i in (*step.stimuli, *step.fixed)], rng)
                moving = len(step.stimuli)
                vectors = torch.cat([vectors[:moving], vectors[moving:].detach()])
                kept = run._retention and run._retention.of(step, vectors, lambda ids: model(ids, None), rng)
                loss, parts = run._objective(vectors, step, epoch, kept)
                losses.append(loss)
                for part, value in parts.items():
                    seen.setdefault((epoch, part), []).append(float(value))
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(settings, 2 * number + epoch * len(steps), settings.epochs * len(steps))
            optimiser.zero_grad()
            (sum(losses) / 2).backward()
            if settings.clip:
                torch.nn.utils.clip_grad_norm_(run.weights.values(), settings.clip)
            optimiser.step()
    means = {key: np.mean(values) for key, values in seen.items()}
    return {key: value.detach().numpy() for key, value in run.weights.items()}, means


@pytest.mark.slow
def test_two_processes_train_as_one_does_with_the_mean_of_their_gradients(publish, tmp_path):
    made = publish("timesformer-base")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    lean = type(made)(made.card, made.folder, None, {}, {})
    processes = [context.Process(target=train, args=(rank, port, lean, tmp_path, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    answers = dict(results.get(timeout=240) for _ in processes)
    for process in processes:
        process.join(60)
    assert sorted(answers) == [0, 1]
    for name, told in RECIPES.items():
        before = {
            key: value.detach().numpy().copy()
            for key, value in trainer(made, told, stuff=stuff(name, made.card)).weights.items()
        }
        expected, means = one_process(name, made)
        assert max(np.abs(expected[key] - before[key]).max() for key in expected) > 0.01
        for trained, curves, *_ in answers.values():
            told_of = {(epoch, part): value for epoch, row in enumerate(curves[name]) for part, value in row.items()}
            assert told_of == pytest.approx(means, abs=1e-4)
            for key, value in expected.items():
                np.testing.assert_allclose(trained[name][key], value, atol=2e-5, err_msg=f"{name}: {key}")
    assert sorted(path.name for path in Path(tmp_path, "adapters").iterdir()) == sorted(RECIPES)
    # the first process decides when to stop, by its own figures
    assert [answer[2] for answer in answers.values()] == [[0, 1], [0, 1]]
    assert (tmp_path / "patient").is_dir()
    first, second = (answers[rank][3] for rank in (0, 1))
    assert first == second
    assert first.startswith("the loss is nan in step 2 of epoch 2, with stimuli '")
    assert (tmp_path / "broken").is_dir()
    for rank in (0, 1):
        assert str(answers[rank][4]).startswith("processes have found different states of this run; put the artefact")
