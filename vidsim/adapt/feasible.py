"""Feasible: what this machine lacks for a training, said in a line."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from vidsim.errors import VidsimError

COMPILER = ("torch._dynamo.exc", "torch._inductor.exc")
"""Where the errors of torch.compile are from."""


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
        If memory does not suffice, or the model cannot be compiled.
    RuntimeError
        Any other, as it is.
    """
    try:
        yield
    except RuntimeError as error:
        if any(isinstance(one, torch.OutOfMemoryError) for one in (error, error.__cause__)):
            raise VidsimError(
                f"out of memory on {device}; set run.checkpointing = true, or lower batches.stimuli, batches.trials or "
                "batches.rsa_stimuli"
            ) from error
        if type(error).__module__ not in COMPILER:
            raise
        why = next((line for line in str(error).splitlines() if line and not line.endswith(":")), type(error).__name__)
        raise VidsimError(
            f"the model cannot be compiled here ({why}); install what is missing, or set run.compile = false"
        ) from error
