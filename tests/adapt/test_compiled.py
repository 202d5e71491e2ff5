"""Compiled training: the same steps, and those of the usual size recorded where a GPU computes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_trainer import Quiet, material, recipe, trainer

from vidsim.adapt import tower as towers


def losses(made, told):
    one, watcher = trainer(made, told), Quiet()
    one._epoch(0, *one.accelerator.prepare(*one._ready()), watcher)
    return [list(step.values()) for step in watcher.losses], {
        name: value.detach().clone() for name, value in one.weights.items()
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch itself imports
def test_compiled_steps_are_the_plain_ones(publish):
    made = publish("timesformer-base")
    plain, weights = losses(made, recipe())
    found, others = losses(made, recipe(run={"precision": "float32", "compile": True}))
    np.testing.assert_allclose(found, plain, rtol=1e-4)
    for name, value in weights.items():
        torch.testing.assert_close(others[name], value, rtol=0.02, atol=2e-4)
