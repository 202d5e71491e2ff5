import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from vidsim.encoders.activations import capture, collect, find_modules, pool, pool_maps
from vidsim.errors import VidsimError


class Blocks(nn.Module):
    """Four blocks in a row, of which the last returns a tuple, and a module that never runs."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(4)])
        self.spare = nn.Linear(3, 3)
        self.tuple = Pair()
        self.ran = 0

    def forward(self, states):
        self.ran = 0
        for block in self.blocks:
            states = block(states)
            self.ran += 1
        return self.tuple(states)


class Pair(nn.Module):
    def forward(self, states):
        return states, None


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_are_those_of_the_modules_run_by_hand():
    model, batch = Blocks(), torch.randn(2, 3)
    seen = {}
    with torch.no_grad(), capture(model, ["blocks.1", "blocks.3", "tuple"], seen.__setitem__):
        model(batch)
    states = batch
    for i, block in enumerate(model.blocks):
        states = block(states)
        if i in {1, 3}:
            assert torch.equal(seen[f"blocks.{i}"], states)
    assert torch.equal(seen["tuple"], states)
    assert hooks(model) == 0


def test_the_pass_ends_at_the_deepest_wanted_layer_unless_told():
    model = Blocks()
    with capture(model, ["blocks.2", "blocks.0"], lambda *_: None):
        model(torch.randn(2, 3))
    assert model.ran == 2  # the count is raised behind the block, which was left
    with capture(model, ["blocks.2"], lambda *_: None, stop=False):
        model(torch.randn(2, 3))
    assert model.ran == 4


def test_hooks_go_when_the_sink_or_the_model_fails():
    model = Blocks()

    def broken(_layer, _output):
        raise RuntimeError("sink")

    with pytest.raises(RuntimeError, match="sink"), capture(model, ["blocks.0"], broken):
        model(torch.randn(2, 3))
    assert hooks(model) == 0
    with pytest.raises(RuntimeError), capture(model, ["blocks.0"], lambda *_: None):
        model(torch.randn(2, 5))
    assert hooks(model) == 0


def test_an_unknown_layer_is_refused_with_the_nearest():
    with pytest.raises(VidsimError, match=r"Blocks has no module 'block\.1'; did you mean 'blocks\.1'\?"):
        find_modules(Blocks(), ["block.1"])
    with pytest.raises(VidsimError, match="has no module ''"):
        find_modules(Blocks(), [""])


def test_a_layer_without_a_part_in_the_pass_is_told():
    model = Blocks()
    with pytest.raises(VidsimError, match="layer 'spare' has no part in the forward pass"):
        collect(model, ["blocks.0", "spare"], lambda: model(torch.randn(2, 3)), lambda _, x: x, lambda _, x: x)
    assert hooks(model) == 0


def test_no_token_map_outlives_its_hook():
    model, alive, most = Blocks(), [], []

    def features(_layer, tokens):
        alive.append(weakref.ref(tokens.untyped_storage()))
        gc.collect()
        most.append(sum(ref() is not None for ref in alive))
        return tokens[:, 0]  # a view

    layers = [f"blocks.{i}" for i in range(4)]
    found = collect(model, layers, lambda: model(torch.randn(2, 5, 3)), features, lambda _, x: x)
    assert max(most) <= 2  # a block's output, and its input, which is the output before
    assert all(vectors.base is None or vectors.base.nbytes == vectors.nbytes for vectors in found.values())
    assert {vectors.shape for vectors in found.values()} == {(2, 3)}


def test_collected_layers_are_float32_copies_in_the_order_asked_for():
    model, batch = Blocks(), torch.randn(2, 3)
    found = collect(model, ["blocks.3", "blocks.0"], lambda: model(batch), lambda _, x: x, lambda _, x: x.double())
    assert list(found) == ["blocks.3", "blocks.0"]
    assert all(vectors.dtype == np.float32 and vectors.flags.c_contiguous for vectors in found.values())
    np.testing.assert_allclose(found["blocks.0"], model.blocks[0](batch).detach().numpy(), rtol=1e-6)


def test_pooling_by_hand():
    tokens = torch.arange(24.0).view(2, 4, 3)
    assert torch.equal(pool(tokens, "cls", 1), tokens[:, 0])
    assert torch.equal(pool(tokens, "mean", 1), (tokens[:, 1] + tokens[:, 2] + tokens[:, 3]) / 3)
    assert torch.equal(pool(tokens, "mean", 0), (tokens[:, 0] + tokens[:, 1] + tokens[:, 2] + tokens[:, 3]) / 4)
    assert pool(tokens, "flatten", 1).tolist() == [list(range(12)), list(range(12, 24))]
    assert torch.equal(pool(tokens[:, 0], "mean", 1), tokens[:, 0])
    assert torch.equal(pool(tokens, "mean", 3), tokens[:, 3])
    for prefix in (4, 5):
        with pytest.raises(
            VidsimError, match=rf"options\.prefix_tokens of the card leaves out {prefix} tokens, .* has 4; "
        ):
            pool(tokens, "mean", prefix)
    for rule in ("cls", "none"):
        with pytest.raises(VidsimError, match="does not fit tokens"):
            pool(tokens, rule, 0)


class Pathways(nn.Module):
    def __init__(self):
        super().__init__()
        self.both = Both()

    def forward(self, maps):
        return self.both(maps)


class Both(nn.Module):
    def forward(self, maps):
        return [maps, maps[:, :1, :1] + 1]


def test_lists_are_handed_over_whole():
    maps, seen = torch.randn(2, 3, 4, 5, 6), {}
    model = Pathways()
    with capture(model, ["both"], seen.__setitem__):
        model(maps)
    assert [tuple(of.shape) for of in seen["both"]] == [(2, 3, 4, 5, 6), (2, 1, 1, 5, 6)]
    found = collect(model, ["both"], lambda: model(maps), lambda _, both: pool_maps(both, "mean"), lambda _, x: x)[
        "both"
    ]
    for clip in range(2):
        expected = [maps[clip, channel].double().mean() for channel in range(3)]
        expected.append(maps[clip, 0, 0].double().mean() + 1)
        np.testing.assert_allclose(found[clip], expected, rtol=0, atol=1e-6)


def test_maps_are_pooled_over_time_and_space_or_not_at_all():
    maps = torch.arange(2 * 3 * 2 * 2 * 2.0).view(2, 3, 2, 2, 2)
    assert pool_maps(maps, "flatten").tolist() == maps.reshape(2, 24).tolist()
    assert pool_maps(maps, "mean").tolist() == [[3.5, 11.5, 19.5], [27.5, 35.5, 43.5]]
    scores = torch.randn(2, 4)
    assert torch.equal(pool_maps(scores, "mean"), scores)
    with pytest.raises(VidsimError, match=r"pooling 'cls' does not fit maps of shape \(2, 3, 2, 2, 2\)"):
        pool_maps(maps, "cls")


def test_means_are_taken_in_single_precision_where_products_are_not():
    model, batch, seen = Blocks(), torch.randn(2, 5, 3), []
    with torch.autocast("cpu", torch.bfloat16):
        assert model.blocks[0](batch).dtype is torch.bfloat16
        collect(model, ["blocks.0"], lambda: model(batch), lambda _, x: seen.append(x.dtype) or x[:, 0], lambda _, x: x)
    assert seen == [torch.float32]


def test_what_the_user_has_asked_of_cudnn_stays():
    seen, own = [], torch.backends.cudnn

    def look(_layer, vectors):
        seen.append((own.deterministic, own.benchmark, own.allow_tf32))
        return vectors

    with own.flags(deterministic=True, benchmark=True, allow_tf32=True):
        model = Blocks()
        collect(model, ["blocks.0"], lambda: model(torch.randn(2, 3)), lambda _, x: x, look)
    assert seen == [(True, True, False)]
