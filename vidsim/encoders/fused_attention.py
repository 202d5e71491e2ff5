"""TimeSformer's attention in one kernel: the transformers library computes and keeps the whole map of weights."""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.timesformer.modeling_timesformer import TimesformerLayer, TimesformerSelfAttention

PACKED = 128
"""Tokens that a GPU's kernel takes at once: of eight, as attention over time has them, most of that would be empty."""


def fuse_attention(model: nn.Module) -> None:
    """Have TimeSformer's attention computed by torch's own function; where its weights are asked for, as before.

    Same arithmetic up to rounding, without a map of weights in memory. Other architectures of the library do so
    themselves. On a GPU the short sequences over time attend side by side, each to itself.

    Parameters
    ----------
    model : Module
        A TimeSformer, which is changed; of any other nothing is.
    """
    for module in model.modules():
        if isinstance(module, TimesformerSelfAttention):
            module.forward = MethodType(_attend, module)  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(module, TimesformerLayer) and hasattr(module, "temporal_attention"):
            over_time: nn.Module = module.temporal_attention.attention
            over_time.register_buffer("apart", apart(module.config.num_frames), persistent=False)


def apart(tokens: int) -> Tensor | None:
    """Return what keeps sequences apart that stand side by side: it is added to the similarities of their tokens.

    Parameters
    ----------
    tokens : int
        Length of a sequence.

    Returns
    -------
    tensor of shape (n, n), or None
        For queries in rows and keys in columns: 0 within a sequence, minus infinity between two; for as many as have
        `PACKED` tokens at most. None where two would have more.
    """
    together = PACKED // tokens
    if together < 2:
        return None
    return torch.block_diag(*torch.ones(together, tokens, tokens)).log()


def _attend(self: Any, hidden_states: Tensor, output_attentions: bool = False) -> tuple[Tensor, ...]:
    if output_attentions or self.attn_drop._forward_hooks:  # that is where the weights can be seen
        return TimesformerSelfAttention.forward(self, hidden_states, output_attentions)
    batch, tokens, width = hidden_states.shape
    mask = getattr(self, "apart", None)
    rows = tokens if mask is None else side_by_side(batch, tokens, hidden_states.device.type) * tokens
    qkv = self.qkv(hidden_states).view(-1, rows, 3, self.num_heads, width // self.num_heads)
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
    mask = mask[:rows, :rows] if mask is not None and rows > tokens else None
    dropout = self.attn_drop.p if self.training else 0.0
    context = scaled_dot_product_attention(query, key, value, mask, dropout_p=dropout, scale=self.scale)
    return (context.transpose(1, 2).reshape(batch, tokens, width),)


def side_by_side(batch: int, tokens: int, device: str) -> int:
    """Return how many sequences of a batch attend side by side.

    Parameters
    ----------
    batch, tokens : int
        Sequences, and the length of each.
    device : str
        Type of the device.

    Returns
    -------
    int
        On a GPU the most that divide the batch and have `PACKED` tokens at most; elsewhere 1, as it would be slower.
    """
    most = PACKED // tokens if device == "cuda" else 1
    return next(count for count in range(max(most, 1), 0, -1) if batch % count == 0)
