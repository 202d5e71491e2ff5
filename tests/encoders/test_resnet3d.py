import pytest
import torch
from plain_cnn import plain_resnet
from zoo_files import drawn_state, small_card

from vidsim.encoders.activations import capture
from vidsim.encoders.video_cnn import build

NAMES = ("slow-r50", "i3d-r50", "c2d-r50")
HALVED = ("i3d-r50", "c2d-r50")


def loaded(card, state):
    with torch.device("meta"):
        model = build(card)
    model.load_state_dict(state, assign=True)
    return model.eval()


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_equals_functions_of_the_state_dict(name):
    card = small_card(name)
    state = drawn_state(card)
    model = loaded(card, state)
    clip = torch.randn(1, 3, 8, 40, 72, generator=torch.Generator().manual_seed(5))  # the head slides over 2 x 3 places
    seen = {}
    with torch.no_grad(), capture(model, card.layers, seen.__setitem__):
        model(clip)
    frames = 4 if name in HALVED else 8
    expected = plain_resnet(state, clip, (frames, 1, 1), halved=name in HALVED)
    assert set(seen) <= set(expected)
    assert len(seen) == len(card.layers) > 8
    for layer, maps in seen.items():
        torch.testing.assert_close(maps, expected[layer], rtol=0, atol=1e-5 * float(expected[layer].abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_the_stages_end_where_their_last_block_does(name):
    card = small_card(name)
    model = loaded(card, drawn_state(card))
    modules = dict(model.named_modules())
    last = [f"{path}.{len(module) - 1}" for path, module in modules.items() if path.endswith("res_blocks")]
    seen = {}
    with torch.no_grad(), capture(model, [*last, *(path.split(".res")[0] for path in last)], seen.__setitem__):
        model(torch.randn(1, 3, 8, 32, 32))
    assert len(last) == 4
    for path in last:
        assert torch.equal(seen[path], seen[path.split(".res")[0]])


def test_i3d_looks_through_time_in_every_other_block_and_c2d_never():
    kernels = {}
    for name in NAMES:
        state = drawn_state(small_card(name))
        kernels[name] = {k: v.shape[2] for k, v in state.items() if k.endswith(("conv_a.weight", "0.conv.weight"))}
    assert set(kernels["c2d-r50"].values()) == {1}
    assert list(kernels["slow-r50"].values()) == [1, 1, 1, 1, 3, 3, 3, 3]  # 1, 2, 3 and 1 blocks behind the stem
    assert list(kernels["i3d-r50"].values()) == [5, 3, 3, 1, 3, 1, 3, 1]
