"""TimeSformer's attention in one kernel: the transformers library computes and keeps the whole map of weights."""

from types import MethodType
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.timesformer.modeling_timesformer import TimesformerSelfAttention


def fuse_attention(model: nn.Module) -> None:
    """Have TimeSformer's attention computed by torch's own function; where its weights are asked for, as before.

    Same arithmetic up to rounding, without a map of weights in memory. Other architectures of the library do so
    themselves.

    Parameters
    ----------
    model : Module
        A TimeSformer, which is changed; of any other nothing is.
    """
    for module in model.modules():
        if isinstance(module, TimesformerSelfAttention):
            module.forward = MethodType(_attend, module)  # pyright: ignore[reportAttributeAccessIssue]


def _attend(self: Any, hidden_states: Tensor, output_attentions: bool = False) -> tuple[Tensor, ...]:
    if output_attentions or self.attn_drop._forward_hooks:  # that is where the weights can be seen
        return TimesformerSelfAttention.forward(self, hidden_states, output_attentions)
    batch, tokens, width = hidden_states.shape
    qkv = self.qkv(hidden_states).view(batch, tokens, 3, self.num_heads, width // self.num_heads)
    query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
    dropout = self.attn_drop.p if self.training else 0.0
    context = scaled_dot_product_attention(query, key, value, dropout_p=dropout, scale=self.scale)
    return (context.transpose(1, 2).reshape(batch, tokens, width),)
