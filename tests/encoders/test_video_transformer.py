from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from transformers.activations import GELUActivation

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

NAMES = (
    *("timesformer-base", "videomae-base-finetuned-kinetics", "videomae-large-finetuned-kinetics"),
    *("vivit-b-16x2-kinetics400", "vjepa2-vitl-fpc64-256", "vjepa2-vitl-fpc16-256-ssv2"),
)
WITH_CLS = ("timesformer-base", "vivit-b-16x2-kinetics400")


def whole(_layer, features):
    return features


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_upstreams_hidden_states(name, publish, clips):
    made = publish(name)
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder), pooling="flatten"), device="cpu")
    batch = clips(made.card, 2)
    found = encoder.encode(batch, made.card.layers, whole)

    plain = made.plain(batch, output_hidden_states=True)
    expected = list(plain.hidden_states[1:])  # the first is the embedding of the patches
    if made.card.layers[-1].endswith("layernorm"):
        expected.append(plain.last_hidden_state)
    assert list(found) == list(made.card.layers)
    assert len(expected) == len(found)
    for states, vectors in zip(expected, found.values(), strict=True):
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, states.flatten(1).numpy(), rtol=0, atol=1e-5)
    assert np.std(found[made.card.layers[0]] - found[made.card.layers[1]]) > 0.1  # the blocks differ


@pytest.mark.parametrize("name", NAMES)
def test_pooling_is_a_slow_loop_over_tokens(name, publish, clips):
    made = publish(name)
    batch, layer = clips(made.card, 2), made.card.layers[0]
    tokens = made.plain(batch, output_hidden_states=True).hidden_states[1].numpy()
    has_cls = name in WITH_CLS
    frames = made.card.sampling.frames
    patches = (32 // 8) ** 2 * (frames if name == "timesformer-base" else frames // 2)
    assert tokens.shape[1] == patches + has_cls
    total = np.zeros((2, 32))
    for clip in range(2):
        for patch in range(has_cls, tokens.shape[1]):
            total[clip] += tokens[clip, patch]
    expected = {"mean": total / patches, **({"cls": tokens[:, 0]} if has_cls else {})}
    for rule, vectors in expected.items():
        encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder), pooling=rule), device="cpu")
        np.testing.assert_allclose(encoder.encode(batch, [layer], whole)[layer], vectors, rtol=0, atol=1e-5)


def test_the_predictor_of_vjepa_is_checked_and_left_out(publish, clips):
    made = publish("vjepa2-vitl-fpc16-256-ssv2")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    assert encoder.model.predictor is None
    assert not [name for name in encoder.model.state_dict() if name.startswith("predictor")]
    encoder.encode(clips(made.card, 1), made.card.layers, whole)

    state = {name: value for name, value in made.state.items() if name != "vjepa2.predictor.layernorm.weight"}
    save_file(state, made.folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(VidsimError, match=r"predictor\.layernorm\.weight is missing"):
        catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")


def test_parts_of_parts_are_left_out(publish, clips):
    made = publish("vjepa2-vitl-fpc16-256-ssv2")
    options = {**made.card.options, "unused": ("predictor.layernorm",)}
    card = replace(made.card, parameters=0, options=options)
    encoder = catalog.load(catalog.resolve(card, checkpoint=str(made.folder)), device="cpu")
    assert encoder.model.predictor.layernorm is None
    assert not [name for name in encoder.model.state_dict() if "predictor.layernorm" in name]
    encoder.encode(clips(card, 1), card.layers, whole)


def test_the_processor_of_vjepa_is_a_video_processor(publish):
    made = publish("vjepa2-vitl-fpc64-256")
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    assert resolved.identity["preprocess"]["shortest_edge"] == 36
    assert resolved.identity["preprocess"]["crop"] == [32, 32]
    (made.folder / "video_preprocessor_config.json").rename(made.folder / "preprocessor_config.json")
    with pytest.raises(VidsimError, match=r"no video_preprocessor_config\.json in"):
        catalog.resolve(made.card, checkpoint=str(made.folder))


def test_cards_pool_as_the_checkpoints_own_heads_do():
    for name in NAMES:
        assert catalog.card(name).pooling == ("cls" if name in WITH_CLS else "mean")
    for name in ("videomae", "vjepa2-vitl-fpc64-256"):
        with pytest.raises(VidsimError, match="has no CLS token"):
            catalog.resolve(name, pooling="cls")


def test_clips_do_not_depend_on_their_batch(publish, clips):
    made = publish("timesformer-base")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    batch = clips(made.card, 3)
    together = encoder.encode(batch, made.card.layers, whole)
    alone = [encoder.encode(clip[None], made.card.layers, whole) for clip in batch]
    for layer, vectors in together.items():
        np.testing.assert_allclose(vectors, np.concatenate([one[layer] for one in alone]), rtol=0, atol=1e-5)


def test_reduction_happens_on_every_layer_and_sees_pooled_features(publish, clips):
    made = publish("timesformer-base")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    seen = []

    def first_three(layer, features):
        seen.append((layer, tuple(features.shape)))
        return features[:, :3]

    found = encoder.encode(clips(made.card, 2), made.card.layers, first_three)
    assert seen == [(layer, (2, 32)) for layer in made.card.layers]
    assert {vectors.shape for vectors in found.values()} == {(2, 3)}


def test_gelu_takes_no_memory_of_its_own(publish):
    made = publish("timesformer-base")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    acts = [module for module in encoder.model.modules() if isinstance(module, GELUActivation)]
    assert len(acts) == 2  # one a block
    with torch.inference_mode():
        given = torch.ones(3)
        assert all(act(given) is given for act in acts)


def test_frames_are_prepared_as_the_processor_says(publish):
    made = publish("timesformer-base")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    frame = np.random.default_rng(0).integers(0, 256, (48, 80, 3), np.uint8)
    prepared = encoder.prepare(frame)
    assert prepared.shape == (3, 32, 32)
    assert prepared.dtype == torch.uint8


@pytest.mark.parametrize("frames", [7, 16])
def test_another_number_of_frames_is_refused_with_both(frames, publish, clips):
    made = publish("timesformer-base")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    batch = clips(made.card, 2).repeat(1, 2, 1, 1, 1)[:, :frames]
    with pytest.raises(VidsimError, match=f"takes 8 frames a clip, {frames} came"):
        encoder.encode(batch, made.card.layers, whole)


def test_frames_of_another_size_are_refused_with_both(publish, clips):
    made = publish("timesformer-base")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    with pytest.raises(VidsimError, match="frames of 32x32 pixels, 24x32 came"):
        encoder.encode(clips(made.card, 1)[..., :24, :], made.card.layers, whole)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("timesformer-base", {"num_frames": 16}, "expects frames 8, the checkpoint in .* has 16"),
        ("timesformer-base", {"image_size": 64}, "expects image size 32, the checkpoint in .* has 64"),
        ("timesformer-base", {"num_hidden_layers": 3}, "expects blocks 2, the checkpoint in .* has 3"),
        ("timesformer-base", {"intermediate_size": 48}, "expects parameters .*, the checkpoint in .* has"),
        ("vivit-b-16x2-kinetics400", {"num_frames": 16}, "expects frames 32, the checkpoint in .* has 16"),
        ("vjepa2-vitl-fpc64-256", {"frames_per_clip": 16}, "expects frames 64, the checkpoint in .* has 16"),
        ("vjepa2-vitl-fpc64-256", {"crop_size": 64}, "expects image size 32, the checkpoint in .* has 64"),
        ("dinov2-base", {"image_size": 32}, "expects image size 56, the checkpoint in .* has 32"),
        ("dinov3-vitb16", {"num_register_tokens": 0}, "expects parameters .*, the checkpoint in .* has"),
    ],
)
def test_a_checkpoint_that_is_not_the_cards_is_refused_with_both(name, changes, message, publish):
    right = publish(name)
    (right.folder).rename(right.folder.with_name("right"))
    other = publish(name, **changes)
    with pytest.raises(VidsimError, match=message):
        catalog.load(catalog.resolve(right.card, checkpoint=str(other.folder)), device="cpu")


@pytest.mark.parametrize("name", ["timesformer-base", "dinov3-vitb16"])
def test_another_width_is_refused_with_both(name, publish):
    made = publish(name)
    with pytest.raises(VidsimError, match=f"{name} expects width 999, the checkpoint in .* has 32"):
        catalog.load(catalog.resolve(replace(made.card, width=999), checkpoint=str(made.folder)), device="cpu")
    catalog.load(catalog.resolve(replace(made.card, width=0), checkpoint=str(made.folder)), device="cpu")


def test_a_class_without_such_frames_is_refused(tmp_path, publish):
    card = replace(publish("clip-vit-b-32").card, architecture="ResNetModel", width=0)
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic")
    transformers.ResNetModel(config).save_pretrained(tmp_path / "resnet")
    processor = (tmp_path / "clip-vit-b-32" / "preprocessor_config.json").read_text()
    (tmp_path / "resnet" / "preprocessor_config.json").write_text(processor)
    with pytest.raises(VidsimError, match=r"expects image size 32, the checkpoint in .* has None"):
        catalog.load(catalog.resolve(card, checkpoint=str(tmp_path / "resnet")), device="cpu")
