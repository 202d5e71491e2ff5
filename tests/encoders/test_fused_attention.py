"""TimeSformer's attention in one kernel: that of the transformers library, up to rounding."""

import pytest
import torch
import transformers
from transformers.models.timesformer.modeling_timesformer import TimesformerSelfAttention

from vidsim.encoders.fused_attention import fuse_attention


@pytest.fixture
def attention() -> TimesformerSelfAttention:
    torch.manual_seed(0)
    config = transformers.TimesformerConfig(
        hidden_size=48, num_attention_heads=4, qkv_bias=True, attention_probs_dropout_prob=0.4
    )
    return TimesformerSelfAttention(config).eval()


def test_outputs_and_gradients_are_the_librarys(attention):
    given = torch.randn(3, 11, 48, requires_grad=True)
    (expected,) = attention(given)
    weights = torch.randn_like(expected)
    expected_gradients = torch.autograd.grad((expected * weights).sum(), [given, *attention.parameters()])
    fuse_attention(attention)
    (found,) = attention(given)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), [given, *attention.parameters()]), expected_gradients, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_weights_are_there_for_who_asks(attention):
    given = torch.randn(2, 5, 48)
    expected, weights = attention(given, output_attentions=True)
    fuse_attention(attention)
    for one, other in zip(attention(given, output_attentions=True), (expected, weights), strict=True):
        assert torch.equal(one, other)
    seen: list[torch.Tensor] = []
    handle = attention.attn_drop.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    attention(given)
    handle.remove()
    assert torch.equal(seen[0], weights)
    attention(given)
    assert len(seen) == 1


def test_weights_are_dropped_in_training_alone(attention):
    fuse_attention(attention)
    given = torch.randn(2, 5, 48)
    (first,), (again,) = attention(given), attention(given)
    assert torch.equal(first, again)
    attention.train()
    (one,), (other,) = attention(given), attention(given)
    assert not torch.allclose(one, other)
