"""Compiled training: the same steps as without, in a process of its own, where annotations are not checked."""

import multiprocessing
import os

import numpy as np
import torch
from tiny_trainer import Quiet, recipe, trainer
from torch import nn

from vidsim.errors import VidsimError


def epoch(made, told):
    """Train an epoch; return the losses, the weights, and how many blocks are compiled."""
    one, watcher = trainer(made, told), Quiet()
    one._epoch(0, *one.accelerator.prepare(*one._ready()), watcher)
    blocks = [one.encoder.model.get_submodule(name) for name in made.card.layers if name[-1].isdigit()]
    weights = {name: value.detach().numpy() for name, value in one.weights.items()}
    return [step["soft"] for step in watcher.losses], weights, sum(b._compiled_call_impl is not None for b in blocks)


def failing(*_):
    raise OSError("no compiler")


def refused(made, folder):
    try:
        trainer(made, recipe(run={"compile": True})).run(folder / "made", folder / "state", "mine", Quiet())
    except VidsimError as error:
        return str(error)


def both(made, results):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    with_code = nn.Module.compile
    # traced and derived, as ever; the code that comes of it is the library's, and takes a compiler and minutes
    nn.Module.compile = lambda block: with_code(block, backend="aot_eager")
    ways = [epoch(made, recipe(run={"precision": "float32", "compile": way})) for way in (False, True)]
    nn.Module.compile = lambda block: with_code(block, backend=failing)
    results.put((*ways, refused(made, made.folder)))


def test_compiled_steps_are_the_plain_ones(publish):
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    made = publish("timesformer-base")
    process = spawn.Process(target=both, args=(type(made)(made.card, made.folder, None, {}, {}), results))
    process.start()
    (losses, weights, none), (found, others, compiled), message = results.get(timeout=300)
    process.join()
    assert (none, compiled) == (0, 2)
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    for name, value in weights.items():
        np.testing.assert_allclose(others[name], value, rtol=0, atol=2e-3)
    assert message.startswith("the model cannot be compiled here (")
    assert message.endswith("no compiler); install what is missing, or set run.compile = false")
