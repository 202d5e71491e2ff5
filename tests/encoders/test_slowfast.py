import torch
from plain_cnn import plain_slowfast
from zoo_files import drawn_state, small_card

from vidsim.encoders.activations import capture
from vidsim.encoders.video_cnn import build


def test_every_layer_of_both_pathways_equals_functions_of_the_state_dict():
    card = small_card("slowfast-r50")
    state = drawn_state(card)
    with torch.device("meta"):
        model = build(card)
    model.load_state_dict(state, assign=True)
    clip = torch.randn(1, 3, 32, 40, 72, generator=torch.Generator().manual_seed(5))
    seen = {}
    with torch.no_grad(), capture(model.eval(), card.layers, seen.__setitem__):
        model(clip)
    expected = plain_slowfast(state, clip, ((8, 1, 1), (32, 1, 1)))
    assert set(seen) == set(card.layers) <= set(expected)
    for layer, maps in seen.items():
        wanted = expected[layer]
        assert type(maps) is type(wanted)
        pairs = [(maps, wanted)] if isinstance(maps, torch.Tensor) else zip(maps, wanted, strict=True)
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))


def test_the_pathways_differ_in_frames_and_channels():
    card = small_card("slowfast-r50")
    with torch.device("meta"):
        model = build(card).eval()
        seen = {}
        with torch.no_grad(), capture(model, ["blocks.0", "blocks.3", "blocks.4", "blocks.5"], seen.__setitem__):
            model(torch.empty(1, 3, 32, 64, 64))
    both = {layer: maps if isinstance(maps, list) else [maps] for layer, maps in seen.items()}
    assert {layer: [tuple(of.shape[1:]) for of in maps] for layer, maps in both.items()} == {
        "blocks.0": [(16 + 4, 8, 16, 16), (2, 32, 16, 16)],
        "blocks.3": [(256 + 64, 8, 4, 4), (32, 32, 4, 4)],
        "blocks.4": [(512, 8, 2, 2), (64, 32, 2, 2)],  # no lateral connection behind the last stage
        "blocks.5": [(512 + 64, 1, 2, 2)],
    }
