"""A network that can be built and yet not run is told in one line; what it lacks of memory is not its checkpoint's."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import write_qwen, write_xclip

from vidsim.adapt.frame_tower import FrameTower
from vidsim.encoders import catalog
from vidsim.errors import VidsimError


def whole(_layer, features):
    return features


def load(card, folder):
    return catalog.load(catalog.resolve(card, checkpoint=str(folder)), device="cpu")


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_heads_that_do_not_divide_the_width(publish, clips):
    made = publish("timesformer-base")
    rewrite(made.folder / "config.json", num_attention_heads=5)
    encoder = load(made.card, made.folder)
    with pytest.raises(VidsimError) as told:
        encoder.encode(clips(made.card, 1), made.card.layers, whole)
    assert f"timesformer-base cannot run with the checkpoint in '{made.folder}': shape '[" in str(told.value)
    assert "; expected config.json as published" in str(told.value)
    assert "\n" not in str(told.value)


def test_training_says_the_same(publish, clips):
    made = publish("timesformer-base")
    rewrite(made.folder / "config.json", num_attention_heads=5)
    tower = FrameTower(load(made.card, made.folder), lambda _: clips(made.card, 1)[0], made.card.default_layer)
    with pytest.raises(VidsimError, match=r"^timesformer-base cannot run with the checkpoint in '.*': shape '\["):
        tower(["a"], None)


@pytest.mark.parametrize(
    ("write", "part", "key"),
    [
        (write_xclip, "vision_config", "num_attention_heads"),
        (write_xclip, "text_config", "num_attention_heads"),
        (write_qwen, "vision_config", "num_heads"),
    ],
)
def test_towers_for_text(write, part, key, tmp_path):
    made = write(tmp_path / "checkpoint")
    config = json.loads((made.folder / "config.json").read_text())
    rewrite(made.folder / "config.json", **{part: {**config[part], key: 5}})
    encoder = load(made.card, made.folder)
    frames = np.random.default_rng(0).integers(0, 256, (made.card.sampling.frames, 48, 80, 3), np.uint8)
    clip = torch.stack([encoder.prepare(frame) for frame in frames])

    def run():
        if write is write_qwen:
            encoder.encode([(clip, ("a dog",))], made.card.layers, whole)
        elif part == "text_config":
            encoder.encode(clip[None], made.card.layers, whole)
            encoder.encode_text(["a dog"])
        else:
            encoder.encode(clip[None], made.card.layers, whole)

    with pytest.raises(VidsimError) as told:
        run()
    assert f"{made.card.name} cannot run with the checkpoint in '{made.folder}': shape '[" in str(told.value)
    assert str(told.value).endswith("; expected config.json as published")


def test_a_size_that_the_network_does_not_take(publish, clips):
    made = publish("dino-vitb16")
    rewrite(made.folder / "preprocessor_config.json", size=64)
    card = replace(made.card, size=64, options={**made.card.options, "trained_size": 32})
    with pytest.raises(
        VidsimError, match=r"model \(32\*32\); expected config\.json as published, and size and options"
    ):
        load(card, made.folder).encode(clips(card, 1), card.layers, whole)
    forward = {"interpolate_pos_encoding": True}
    encoder = load(replace(card, options={**card.options, "forward": forward}), made.folder)
    assert encoder.encode(clips(card, 1), card.layers, whole)["layernorm"].shape == (1, 32)


@pytest.mark.parametrize("key", ["pixel_values", "foo"])
def test_arguments_beside_the_frames_are_the_models(key, publish):
    made = publish("dino-vitb16")
    card = replace(made.card, options={**made.card.options, "forward": {key: 1}})
    with pytest.raises(VidsimError) as told:
        load(card, made.folder)
    assert (
        f"dino-vitb16 has options.forward.{key} in its card, which ViTModel does not take beside its frames; "
        in str(told.value)
    )
    assert "expected one of bool_masked_pos, interpolate_pos_encoding, attention_mask" in str(told.value)


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
        torch._dynamo.exc.TorchRuntimeError("of the compiler"),
        VidsimError("of a hook"),
    ],
)
def test_what_is_not_the_checkpoints_fault_stays_what_it_is(raised, publish, clips):
    made = publish("dino-vitb16")

    def fail(_layer, _features):
        raise raised

    with pytest.raises(type(raised)) as told:
        load(made.card, made.folder).encode(clips(made.card, 1), made.card.layers, fail)
    assert told.value is raised


def test_a_network_that_has_run_is_not_blamed(publish, clips):
    made = publish("dino-vitb16")
    encoder = load(made.card, made.folder)
    raised = RuntimeError("later")

    def fail(_layer, _features):
        raise raised

    encoder.encode(clips(made.card, 1), made.card.layers, whole)
    with pytest.raises(RuntimeError) as told:
        encoder.encode(clips(made.card, 1), made.card.layers, fail)
    assert told.value is raised
