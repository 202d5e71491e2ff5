import pytest
import torch
from plain_cnn import plain_x3d
from zoo_files import drawn_state, small_card

from vidsim.encoders.activations import capture
from vidsim.encoders.video_cnn import build


@pytest.mark.parametrize("name", ["x3d-xs", "x3d-s"])
def test_every_layer_equals_functions_of_the_state_dict(name):
    card = small_card(name)
    frames, state = card.sampling.frames, drawn_state(card)
    with torch.device("meta"):
        model = build(card)
    model.load_state_dict(state, assign=True)
    # the head slides over 2 x 3 places
    clip = torch.randn(1, 3, frames, 40, 72, generator=torch.Generator().manual_seed(5))
    seen = {}
    with torch.no_grad(), capture(model.eval(), card.layers, seen.__setitem__):
        model(clip)
    expected = plain_x3d(state, clip, (frames, 1, 1))
    assert set(seen) == set(card.layers) <= set(expected)
    for layer, maps in seen.items():
        torch.testing.assert_close(maps, expected[layer], rtol=0, atol=1e-5 * float(expected[layer].abs().max()))


def test_excitation_is_in_every_other_block_and_the_first_stage_narrows_without_norm():
    state = drawn_state(small_card("x3d-xs"))
    excited = {key.split(".branch2")[0] for key in state if "norm_b.1.block" in key}
    blocks = {key.split(".branch2")[0] for key in state if ".branch2." in key}
    assert excited == {block for block in blocks if int(block[-1]) % 2 == 0}
    assert "blocks.1.res_blocks.0.branch1_conv.weight" in state
    assert "blocks.1.res_blocks.0.branch1_norm.weight" not in state
    assert "blocks.2.res_blocks.0.branch1_norm.weight" in state
