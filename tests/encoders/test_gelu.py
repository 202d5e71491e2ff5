"""GELU in place: the same values, where nothing is trained; its input is there for whoever hooks it or trains."""

import pytest
import torch
import transformers
from torch.nn.functional import gelu

from vidsim.encoders.activations import collect
from vidsim.encoders.gelu import gelu_in_place

LEAVES = ["encoder.layer.0.intermediate.dense", "encoder.layer.0.intermediate.intermediate_act_fn", "encoder.layer.1"]


@pytest.fixture
def model() -> transformers.TimesformerModel:
    torch.manual_seed(0)
    config = transformers.TimesformerConfig(
        hidden_size=12,
        num_attention_heads=2,
        intermediate_size=48,
        num_hidden_layers=2,
        image_size=16,
        patch_size=8,
        num_frames=2,
    )
    return transformers.TimesformerModel(config).eval()


def whole(model: transformers.TimesformerModel, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    found = collect(model, LEAVES, lambda: model(pixels), lambda _, output: output.flatten(1), lambda _, values: values)
    return {layer: torch.from_numpy(vectors) for layer, vectors in found.items()}


def test_embeddings_are_the_same_bit_for_bit_before_and_behind(model):
    pixels = torch.randn(2, 2, 3, 16, 16)
    expected = whole(model, pixels)
    gelu_in_place(model)
    found = whole(model, pixels)
    assert all(torch.equal(found[layer], expected[layer]) for layer in LEAVES)
    assert torch.equal(gelu(found[LEAVES[0]]), found[LEAVES[1]])


def test_input_is_overwritten_in_inference_mode_alone(model):
    gelu_in_place(model)
    act = model.encoder.layer[0].intermediate.intermediate_act_fn
    given = torch.randn(5)
    kept = given.clone()
    with torch.no_grad():
        assert torch.equal(act(given), gelu(kept))
    assert torch.equal(given, kept)
    with torch.inference_mode():
        assert act(given) is given
    assert torch.equal(given, gelu(kept))


def test_gradients_are_as_before(model):
    pixels = torch.randn(1, 2, 3, 16, 16)

    def gradients() -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(model(pixels).last_hidden_state.square().sum(), list(model.parameters()))

    expected = gradients()
    gelu_in_place(model)
    assert all(torch.equal(one, other) for one, other in zip(gradients(), expected, strict=True))


def test_an_approximation_that_a_checkpoint_asks_for_stays(model):
    act = transformers.activations.GELUActivation(use_gelu_python=True)
    model.encoder.layer[0].intermediate.intermediate_act_fn = act
    before = act.act
    gelu_in_place(model)
    assert act.act == before
