"""Precision: in which numbers a network is trained on a device."""

import torch

from vidsim.adapt.sections import Run


def precision(run: Run, device: str) -> str:
    """Choose the numbers of the forward and backward passes, as accelerate names them.

    Parameters
    ----------
    run : Run
        With ``precision``.
    device : str
        As torch names it.

    Returns
    -------
    str
        ``"bf16"`` or ``"no"`` (single precision).
    """
    wanted = run.precision
    if wanted == "auto":
        # a CPU multiplies bfloat16 more slowly than float32, unless it has units for it
        native = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
        wanted = "bfloat16" if native else "float32"
    return "bf16" if wanted == "bfloat16" else "no"
