"""Feasible: what this machine lacks for a training, said in a line."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from vidsim.encoders.machine import able
from vidsim.errors import VidsimError

COMPILER = ("torch._dynamo.exc", "torch._inductor.exc")
"""Where the errors of torch.compile are from."""

LESS = (
    "set run.checkpointing = true, or lower batches.stimuli, batches.trials, batches.rsa_stimuli, "
    "adapter.rank or adapter.head"
)


@contextmanager
def feasible(device: torch.device) -> Generator[None]:
    """Train inside the ``with``.

    Parameters
    ----------
    device : device
        Where.

    Yields
    ------
    None
        Train here.

    Raises
    ------
    VidsimError
        If memory does not suffice, the device fails, or the model cannot be compiled.
    RuntimeError
        Any other, as it is.
    """
    try:
        with able(str(device), LESS):
            yield
    except RuntimeError as error:
        if type(error).__module__ not in COMPILER:
            raise
        why = next((line for line in str(error).splitlines() if line and not line.endswith(":")), type(error).__name__)
        raise VidsimError(
            f"the model cannot be compiled here ({why}); install what is missing, or set run.compile = false"
        ) from error
