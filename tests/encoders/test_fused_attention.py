"""TimeSformer's attention in one kernel: that of the transformers library, up to rounding."""

import pytest
import torch
import transformers
from transformers.models.timesformer.modeling_timesformer import TimesformerSelfAttention

from vidsim.encoders import fused_attention
from vidsim.encoders.fused_attention import PACKED, apart, fuse_attention, side_by_side


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


@pytest.mark.parametrize("together", [1, 2, 3, 6])
def test_sequences_side_by_side_attend_to_themselves_alone(together, monkeypatch):
    torch.manual_seed(0)
    sizes = {"image_size": 24, "patch_size": 8, "hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}
    model = transformers.TimesformerModel(transformers.TimesformerConfig(num_frames=4, intermediate_size=64, **sizes))
    given = torch.randn(2, 4, 3, 24, 24, requires_grad=True)
    weights = torch.randn(2, 37, 48)

    def run():
        found = model(given).last_hidden_state
        return found.detach(), torch.autograd.grad((found * weights).sum(), given)[0]

    plain, asked = run(), []

    def some(batch, tokens, device):
        asked.append((batch, tokens, device))
        return together

    monkeypatch.setattr(fused_attention, "side_by_side", some)
    fuse_attention(model)
    for one, other in zip(run(), plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    assert asked == [(18, 4, "cpu")] * 2  # over time in two layers; over space there is nothing to put side by side


def test_as_many_stand_side_by_side_as_divide_the_batch():
    for batch in range(1, 400):
        for tokens in (1, 4, 8, 16, 96, 128, 300):
            most = max(n for n in range(1, batch + 1) if batch % n == 0 and (n == 1 or n * tokens <= PACKED))
            assert side_by_side(batch, tokens, "cuda") == most
            assert side_by_side(batch, tokens, "cpu") == 1


def test_what_keeps_sequences_apart():
    mask = apart(3)
    assert mask is not None
    assert mask.shape == (126, 126)
    for row in range(126):
        for column in range(126):
            assert mask[row, column] == (0 if row // 3 == column // 3 else float("-inf"))
    assert apart(65) is None
