"""The machine: errors for lack of memory, or of the device, which are no file's fault."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from vidsim.errors import VidsimError

LACKING = ("can't allocate memory", "not enough memory", "alloc_failed", "out of memory")
"""Words of torch's allocators, whose errors have no class of their own everywhere; in lower case."""

FAILING = ("CUDA error", "HIP error", "CUDA driver error", "cuDNN error", "CUDNN_", "CUBLAS_", "NCCL error")
"""How errors of a GPU and its libraries begin."""

FEWER = "free some of it, or use fewer --workers"
"""What to do where memory does not suffice for the clips that are decoded at a time."""


def lacks_memory(error: BaseException | None) -> bool:
    """Tell whether an error is for lack of memory.

    Parameters
    ----------
    error : BaseException, optional
        The error.

    Returns
    -------
    bool
        False for none.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in LACKING)


def of_machine(error: BaseException) -> bool:
    """Tell whether an error is for lack of memory or a GPU's own, such as of a torch that was not built for it.

    Parameters
    ----------
    error : BaseException
        The error.

    Returns
    -------
    bool
        False for any other, which may be a file's fault.
    """
    return lacks_memory(error) or _fails(error)


@contextmanager
def able(device: str, mend: str) -> Generator[None]:
    """Say in one line what a machine lacks for what is done within this.

    Parameters
    ----------
    device : str
        Device as torch names it.
    mend : str
        What to do where memory does not suffice.

    Yields
    ------
    None
        Do it here.

    Raises
    ------
    VidsimError
        If memory does not suffice, or the device fails.
    RuntimeError
        Any other, as it is.
    """
    try:
        yield
    except MemoryError as error:
        raise VidsimError(f"out of memory on {device}; {mend}") from error
    except RuntimeError as error:
        if lacks_memory(error) or lacks_memory(error.__cause__):
            raise VidsimError(f"out of memory on {device}; {mend}") from error
        if _fails(error):
            raise VidsimError(
                f"{device} fails: {str(error).strip().splitlines()[0]}; expected a torch that is built for it and its "
                "driver; --device cpu does without"
            ) from error
        raise


def _fails(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and str(error).lstrip().startswith(FAILING)
