"""Compiled training: the same steps as without, in a process of its own, where annotations are not checked."""

import multiprocessing
import os
import traceback

import numpy as np
import torch
from tiny_trainer import Quiet, recipe, trainer
from torch import nn
from torch._dynamo.backends.debugging import aot_eager
from torch._dynamo.utils import counters

from vidsim.errors import VidsimError

COMPILED = []


def traced(graph, examples):
    """Trace and derive, as ever; the code that comes of it is the library's, and takes a compiler and minutes."""
    COMPILED.append(graph)
    return aot_eager(graph, examples)


def failing(*_):
    raise OSError("no compiler")


def compile_by(backend, way=nn.Module.compile):
    nn.Module.compile = lambda block: way(block, backend=backend)


def epoch(made, told):
    """Train an epoch; return the losses, the weights, and how many graphs were compiled until then."""
    one, watcher = trainer(made, told), Quiet()
    one._epoch(0, *one.accelerator.prepare(*one._ready()), watcher)
    weights = {name: value.detach().numpy() for name, value in one.weights.items()}
    return [step["soft"] for step in watcher.losses], weights, len(COMPILED)


def whole(made, told, folder):
    """Train an epoch, measure and leave the adapter; return how many graphs that compiled."""
    torch.compiler.reset()
    before = len(COMPILED)
    trainer(made, told).run(folder / "whole", folder / "state", "whole", Quiet())
    return len(COMPILED) - before


def refused(made, folder):
    try:
        trainer(made, recipe(run={"compile": True})).run(folder / "made", folder / "state", "mine", Quiet())
    except VidsimError as error:
        return str(error)


def both(made, results):
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    try:
        compile_by(traced)
        ways = [epoch(made, recipe(run={"precision": "float32", "compile": way})) for way in (False, True)]
        breaks = dict(counters["graph_break"])
        told = recipe(optimiser={"epochs": 1}, run={"precision": "float32", "compile": True})
        graphs = whole(made, told, made.folder)
        compile_by(failing)
        results.put((*ways, breaks, graphs, refused(made, made.folder)))
    except Exception:
        results.put(traceback.format_exc())
        raise


def test_compiled_steps_are_the_plain_ones(publish):
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    made = publish("timesformer-base")
    process = spawn.Process(target=both, args=(type(made)(made.card, made.folder, None, {}, {}), results))
    process.start()
    answer = results.get(timeout=300)
    process.join()
    assert isinstance(answer, tuple), answer
    (losses, weights, none), (found, others, compiled), breaks, graphs, message = answer
    assert none == 0
    assert compiled > 0
    assert breaks == {}  # a block that is cut in pieces is fused in pieces
    assert graphs == compiled  # nothing is compiled for a few stimuli at the end
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    for name, value in weights.items():
        np.testing.assert_allclose(others[name], value, rtol=0, atol=2e-3)
    assert message.startswith("the model cannot be compiled here (")
    assert message.endswith("no compiler); install what is missing, or set run.compile = false")
