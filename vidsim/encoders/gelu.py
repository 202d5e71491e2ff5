"""GELU in place: while embeddings are extracted, a block's widest tensor is not held twice."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers.activations import GELUActivation


def gelu_in_place(model: nn.Module) -> None:
    """Have GELU overwrite its input wherever nothing can want that any more: in inference mode.

    Same values, bit for bit. Hooks on the layer before have copied what they keep by then.

    Parameters
    ----------
    model : Module
        A model of the transformers library, which is changed.
    """
    for module in model.modules():
        if isinstance(module, GELUActivation) and module.act is gelu:
            module.act = _gelu  # pyright: ignore[reportAttributeAccessIssue]


def _gelu(values: Tensor) -> Tensor:
    # the compiler cannot follow the question, and would cut every block in two here
    if torch.compiler.is_compiling() or not torch.is_inference_mode_enabled():
        return gelu(values)
    return torch.ops.aten.gelu_(values)
