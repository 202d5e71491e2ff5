"""Feasible: what this machine lacks for a training, said in a line."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from vidsim.errors import VidsimError

COMPILER = ("torch._dynamo.exc", "torch._inductor.exc")
"""Where the errors of torch.compile are from."""

LACKING = ("can't allocate memory", "not enough memory")
"""Words of torch's allocator on a CPU, whose errors have no class of their own."""

TOO_MUCH = (
    "out of memory on {}; set run.checkpointing = true, or lower batches.stimuli, batches.trials, batches.rsa_stimuli, "
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
        If memory does not suffice, or the model cannot be compiled.
    RuntimeError
        Any other, as it is.
    """
    try:
        yield
    except MemoryError as error:
        raise VidsimError(TOO_MUCH.format(device)) from error
    except RuntimeError as error:
        if any(_lacks_memory(one) for one in (error, error.__cause__)):
            raise VidsimError(TOO_MUCH.format(device)) from error
        if type(error).__module__ not in COMPILER:
            raise
        why = next((line for line in str(error).splitlines() if line and not line.endswith(":")), type(error).__name__)
        raise VidsimError(
            f"the model cannot be compiled here ({why}); install what is missing, or set run.compile = false"
        ) from error


def _lacks_memory(error: BaseException | None) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in LACKING)
