import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import CONTROLS, QWEN, TEMPLATE, write_qwen, write_xclip

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

CAPTION = "a dog runs, naïvely"


def whole(_layer, features):
    return features


def clip(seed, height=48, width=80):
    return list(np.random.default_rng(seed).integers(0, 256, (7, height, width, 3), np.uint8))


def prepared(encoder, frames):
    return torch.stack([encoder.prepare(frame) for frame in frames])


def loaded(made):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_qwen(tmp_path_factory.mktemp("qwen") / "checkpoint")


@pytest.fixture(scope="module")
def encoder(made):
    return loaded(made)


def plain(made, frames, caption):
    """Return the states of every layer by the upstream library alone, and the place of the first frame's token."""
    processor = transformers.Qwen2VLImageProcessorPil.from_pretrained(made.folder)
    seen = processor(frames, return_tensors="pt")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(made.folder / "tokenizer.json"))
    counts = seen["image_grid_thw"].prod(-1) // 4
    shown = "".join(f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>" for count in counts.tolist())
    ids = tokenizer(f"<|im_start|>user\n{shown}{caption or ''}<|im_end|>\n", return_tensors="pt")["input_ids"]
    of_frames = ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")
    blocks = []
    # upstream puts the normed states in place of the last block's
    hook = made.upstream.model.language_model.layers[2].register_forward_hook(lambda *seen: blocks.append(seen[2]))
    with torch.no_grad():
        output = made.upstream(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=of_frames.int(),
            output_hidden_states=True,
            **seen,
        )
    hook.remove()
    states = (*output.hidden_states[1:3], blocks[0], output.hidden_states[3])
    return states, int(of_frames[0].nonzero()[0])


@pytest.mark.parametrize("caption", [None, CAPTION, ""], ids=["frames alone", "caption", "empty caption"])
@pytest.mark.parametrize("size", [(48, 80), (100, 40)])
def test_layers_are_upstreams_mean_from_the_first_frame_on(caption, size, made, encoder):
    frames = clip(5, *size)
    captions = () if caption is None else (caption,)
    found = encoder.encode([(prepared(encoder, frames), captions)], made.card.layers, whole)
    states, first = plain(made, frames, caption)
    assert first == 7  # <|im_start|> u s e r \n <|vision_start|>
    assert list(found) == list(made.card.layers)
    for layer, tokens in zip(made.card.layers, states, strict=True):
        total = np.zeros(32)
        for token in tokens[0, first:].double().numpy():
            total += token
        assert found[layer].dtype == np.float32
        np.testing.assert_allclose(found[layer][0], total / (tokens.shape[1] - first), rtol=0, atol=1e-5)
    assert np.std(found[made.card.layers[0]] - found[made.card.layers[1]]) > 0.1  # the blocks differ


def test_tokens_before_the_first_frame_are_the_same_for_every_clip(made):
    states = [plain(made, clip(seed), caption) for seed, caption in ((1, "a dog"), (2, None))]
    for one, other in zip(states[0][0], states[1][0], strict=True):
        torch.testing.assert_close(one[:, :7], other[:, :7])
        assert (one[:, 7:20] - other[:, 7:20]).abs().max() > 0.1


def test_a_layer_is_the_blocks_output_before_the_vision_towers_features_are_added(made, encoder):
    model = encoder.model.model.language_model
    seen = {}
    hooks = [
        model.layers[0].register_forward_hook(lambda *said: seen.update(output=said[2])),
        model.layers[1].register_forward_pre_hook(lambda _, said: seen.update(next=said[0])),
    ]
    frames = prepared(encoder, clip(1))
    encoder.encode([(frames, (CAPTION,))], made.card.layers, whole)
    for hook in hooks:
        hook.remove()
    added = (seen["next"] - seen["output"])[0].abs().amax(-1) > 0
    np.testing.assert_array_equal(added, (encoder.prompt(frames, CAPTION) == encoder.frame_token)[0])


def test_several_captions_are_averaged_and_share_the_frames(made, encoder, monkeypatch):
    frames, layers = prepared(encoder, clip(1)), made.card.layers
    looks = []
    monkeypatch.setattr(
        encoder.model.model.visual, "forward", partial(_counted, encoder.model.model.visual.forward, looks)
    )
    both = encoder.encode([(frames, (CAPTION, "two people"))], layers, whole)
    assert len(looks) == 1
    alone = [encoder.encode([(frames, (caption,))], layers, whole) for caption in (CAPTION, "two people")]
    for layer in layers:
        np.testing.assert_allclose(both[layer], (alone[0][layer] + alone[1][layer]) / 2, rtol=0, atol=1e-5)
        assert np.abs(alone[0][layer] - alone[1][layer]).max() > 1e-3


def _counted(forward, looks, *args, **kwargs):
    looks.append(1)
    return forward(*args, **kwargs)


def test_clips_of_any_size_share_a_batch_and_do_not_depend_on_it(made, encoder):
    batch = [
        (prepared(encoder, clip(1)), (CAPTION,)),
        (prepared(encoder, clip(2, 100, 40)), ()),
        (prepared(encoder, clip(3, 64, 64)), ("one", "two")),
    ]
    together = encoder.encode(batch, made.card.layers, whole)
    for row, pair in enumerate(batch):
        alone = encoder.encode([pair], made.card.layers, whole)
        for layer in made.card.layers:
            np.testing.assert_allclose(together[layer][row], alone[layer][0], rtol=0, atol=1e-5)


def test_reduction_sees_every_wanted_layer_once(made, encoder):
    seen = []

    def first_three(layer, features):
        seen.append((layer, tuple(features.shape)))
        return features[:, :3]

    wanted = made.card.layers[1::2]
    found = encoder.encode([(prepared(encoder, clip(1)), ("a", "b"))] * 2, wanted, first_three)
    assert seen == [(layer, (2, 32)) for layer in wanted]
    assert {vectors.shape for vectors in found.values()} == {(2, 3)}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_caption_that_spells_a_control_token_stays_text(control, made, encoder):
    frames = prepared(encoder, clip(1))
    ids = encoder.prompt(frames, f"a {control} b")[0].tolist()
    usual = encoder.prompt(frames, "a b")[0].tolist()
    number = encoder.tokenizer.token_to_id(control)
    assert ids.count(number) == usual.count(number)
    assert encoder.tokenizer.decode(ids, skip_special_tokens=False).endswith(f"a {control} b<|im_end|>\n")
    found = encoder.encode([(frames, (f"a {control} b",))], made.card.layers, whole)
    assert all(np.isfinite(vectors).all() for vectors in found.values())


def test_shards_are_read_as_one_file_is(made, encoder, tmp_path):
    sharded = write_qwen(tmp_path / "shards", shards=3)
    assert not (sharded.folder / "model.safetensors").exists()
    batch = [(prepared(encoder, clip(1)), (CAPTION,))]
    one, three = (model.encode(batch, made.card.layers, whole) for model in (encoder, loaded(sharded)))
    for layer in made.card.layers:
        np.testing.assert_array_equal(one[layer], three[layer])


CANONICAL = [0.44578, 0.77043, 0.03672, -0.05211, 0.32177, 0.03301]
"""First features of the last layer, measured with transformers 5.23 and torch 2.13."""


def test_canonical_vector(made, tmp_path):
    """Pin the way from decoded frames and a caption to a vector: a drawn clip, weights from a formula."""
    fixed = write_qwen(tmp_path / "fixed")
    weights = {}
    for number, name in enumerate(sorted(made.state)):
        places = torch.arange(1, made.state[name].numel() + 1, dtype=torch.float64)
        mixed = (torch.sin(places * 12.9898 + number * 78.233) * 43758.5453).frac()
        weights[name] = (0.4 * mixed).reshape(made.state[name].shape).float() + (1 if "norm" in name else 0)
    save_file(weights, fixed.folder / "model.safetensors", metadata={"format": "pt"})
    t, y, x, colour = np.meshgrid(np.arange(7), np.arange(40), np.arange(72), np.arange(3), indexing="ij")
    drawn = np.rint(127.5 + 127.5 * np.sin((x + 2 * t) / 9 + colour) * np.cos((y - t) / 7)).astype(np.uint8)
    encoder = loaded(fixed)
    batch = [(prepared(encoder, drawn), ("a dog runs",)), (prepared(encoder, drawn), ())]
    found, alone = encoder.encode(batch, [fixed.card.default_layer], whole)[fixed.card.default_layer]
    np.testing.assert_allclose(found[:6], CANONICAL, rtol=1e-3, atol=1e-4)
    assert np.abs(found - alone).max() > 1e-3  # the caption matters


@pytest.fixture(scope="module")
def full_size():
    """Build the model at its real size, from its published config.json, without memory for the weights."""
    text = {
        # huggingface.co/Qwen/Qwen3-VL-2B-Instruct, config.json; repeated in OpenVINO GenAI's tests of its reader
        "attention_bias": False,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "max_position_embeddings": 262144,
        "num_attention_heads": 16,
        "num_hidden_layers": 28,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-6,
        "rope_theta": 5000000,
        "rope_scaling": {"mrope_interleaved": True, "mrope_section": [24, 20, 20], "rope_type": "default"},
        "tie_word_embeddings": True,
        "vocab_size": 151936,
    }
    vision = {
        "deepstack_visual_indexes": [5, 11, 17],
        "depth": 24,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1024,
        "in_channels": 3,
        "intermediate_size": 4096,
        "num_heads": 16,
        "num_position_embeddings": 2304,
        "out_hidden_size": 2048,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    config = transformers.Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)
    with torch.device("meta"):
        return transformers.Qwen3VLForConditionalGeneration(config)


def test_the_card_counts_the_published_parameters(full_size):
    def counted(part):
        return sum(weight.numel() for weight in part.parameters())

    # the hub's metadata of revision 89644892 and users' counts of its safetensors: 625 tensors, 2,127,532,032
    # parameters, of which 406,957,056 are the vision tower's
    assert catalog.card(QWEN).parameters == counted(full_size) == 2_127_532_032
    assert counted(full_size.model.visual) == 406_957_056
    assert counted(full_size.model.language_model) == 1_720_574_976


def test_weights_have_the_published_names(full_size):
    linear = ("{}.weight", "{}.bias")
    in_merger = [form.format(name) for name in ("norm", "linear_fc1", "linear_fc2") for form in linear]
    in_vision = ("norm1", "norm2", "attn.qkv", "attn.proj", "mlp.linear_fc1", "mlp.linear_fc2")
    in_text = (
        *(f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")),
        *(f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")),
        *("input_layernorm", "post_attention_layernorm"),
    )
    published = {
        *(f"model.language_model.layers.{i}.{name}.weight" for i in range(28) for name in in_text),
        *("model.language_model.embed_tokens.weight", "model.language_model.norm.weight"),
        *(f"model.visual.blocks.{i}.{form.format(name)}" for i in range(24) for name in in_vision for form in linear),
        *(f"model.visual.deepstack_merger_list.{i}.{name}" for i in range(3) for name in in_merger),
        *(f"model.visual.merger.{name}" for name in in_merger),
        *(form.format("model.visual.patch_embed.proj") for form in linear),
        "model.visual.pos_embed.weight",
    }
    assert len(published) == 625  # as many as users count in the file
    assert set(full_size.state_dict()) - published == {"lm_head.weight"}  # tied to the embedding, and not in the file
    assert published < set(full_size.state_dict())


def test_layers_are_every_block_of_the_language_stack_and_its_norm(full_size):
    card, modules = catalog.card(QWEN), dict(full_size.named_modules())
    blocks = len(modules["model.language_model.layers"])
    assert card.layers[:-1] == tuple(f"model.language_model.layers.{i}" for i in range(blocks))
    assert card.layers[-1] == card.default_layer == "model.language_model.norm"
    assert card.default_layer in modules
    assert card.width == full_size.config.text_config.hidden_size
    vision = full_size.config.vision_config
    assert card.options["patches"] == (vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size)
    assert card.sampling.times(7.0).tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]


def test_lora_targets_are_the_attention_of_the_language_stack(full_size):
    card = catalog.card(QWEN)
    hit = {
        path: module
        for path, module in full_size.named_modules()
        if any(path.endswith(f".{target}") for target in card.lora_targets)  # as peft matches names
    }
    assert len(hit) == 28 * 4
    assert all(path.startswith("model.language_model.layers.") for path in hit)
    assert all(isinstance(module, torch.nn.Linear) for module in hit.values())
    at_rank_16 = sum(16 * (module.in_features + module.out_features) for module in hit.values())
    assert at_rank_16 == 28 * 16 * 2 * ((2048 + 2048) + (2048 + 1024))  # 16 heads of 128, 8 for keys and values


def fails(made):
    with pytest.raises(VidsimError) as told:
        loaded(made)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_missing_and_surplus_weights_are_named(tmp_path):
    made = write_qwen(tmp_path / "qwen")
    state = load_file(made.folder / "model.safetensors")
    name = "model.language_model.layers.1.self_attn.q_norm.weight"
    save_file({k: v for k, v in state.items() if k != name}, made.folder / "model.safetensors", {"format": "pt"})
    assert f"{name} is missing" in fails(made)
    save_file({**state, "model.visual.novel": torch.ones(2)}, made.folder / "model.safetensors", {"format": "pt"})
    assert "model.visual.novel is left over" in fails(made)


def test_a_checkpoint_of_another_kind_of_model_is_refused(tmp_path):
    made, other = write_qwen(tmp_path / "qwen"), write_xclip(tmp_path / "xclip")
    with pytest.raises(VidsimError, match="class 'VideoMAEImageProcessor' is not known"):
        catalog.load(catalog.resolve(made.card, checkpoint=str(other.folder)), device="cpu")
    config = json.loads((made.folder / "config.json").read_text())
    (made.folder / "config.json").write_text(json.dumps({**config, "model_type": "qwen2_5_vl"}))
    assert "holds a model of type 'qwen2_5_vl'; expected 'qwen3_vl'" in fails(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 4}, "expects blocks 3, the checkpoint in .* has 4"),
        ({"intermediate_size": 64}, "expects parameters .*, the checkpoint in .* has"),
    ],
)
def test_a_checkpoint_of_another_size_is_refused_with_both(change, message, tmp_path):
    right, other = write_qwen(tmp_path / "right"), write_qwen(tmp_path / "other", **change)
    with pytest.raises(VidsimError, match=message):
        loaded(replace(other, card=right.card))


def test_a_processor_that_does_not_go_with_the_model_is_refused_with_both(tmp_path):
    made = write_qwen(tmp_path / "qwen")
    path = made.folder / "preprocessor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "patch_size": 14}))
    message = fails(made)
    assert "expects patches prepared (16, 2, 2), the checkpoint in" in message
    assert "has (14, 2, 2)" in message


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("tokenizer.json", "no tokenizer.json in"),
        ("chat_template.json", "no chat template in"),
        ("preprocessor_config.json", "no preprocessor_config.json in"),
    ],
)
def test_a_missing_file_is_named(file, message, tmp_path):
    made = write_qwen(tmp_path / "qwen")
    (made.folder / file).unlink()
    assert message in fails(made)


@pytest.mark.parametrize(
    "template",
    ["{{ messages[0].content[-1].text }}", TEMPLATE.replace("<|image_pad|>", "<|video_pad|>"), "no caption"],
)
def test_a_template_of_another_model_is_refused(template, tmp_path):
    made = write_qwen(tmp_path / "qwen")
    (made.folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    assert "does not show 7 frames" in fails(made)


def test_seven_frames_and_a_list_of_captions(made, encoder):
    frames = prepared(encoder, clip(1))
    with pytest.raises(VidsimError, match="takes one stimulus or more, none came"):
        encoder.encode([], made.card.layers, whole)
    with pytest.raises(VidsimError, match="takes 7 frames a clip, 6 came"):
        encoder.encode([(frames[:6], ())], made.card.layers, whole)
    with pytest.raises(VidsimError, match="takes a list of captions a clip, 'a dog' came"):
        encoder.encode([(frames, "a dog")], made.card.layers, whole)


def test_tokens_are_pooled_in_one_way(made):
    with pytest.raises(VidsimError, match="has one pooling, 'mean'"):
        catalog.resolve(made.card, checkpoint=str(made.folder), pooling="flatten")


def test_template_tokenizer_and_limits_of_size_are_part_of_the_identity(made, tmp_path):
    def identity(copy):
        return catalog.resolve(copy.card, checkpoint=str(copy.folder)).identity

    usual = identity(made)
    assert usual["preprocess"]["most"] == 8192
    assert usual["sampling"] == {"frames": 7, "fps": None, "windows": 1}
    for file, change in (
        ("chat_template.json", lambda text: text.replace("user", "people")),
        ("chat_template.json", lambda text: text.replace("vision_end", "vision_pad")),
        ("tokenizer.json", lambda text: text.replace('"NFC"', '"NFD"')),
        ("preprocessor_config.json", lambda text: text.replace("8192", "4096")),
    ):
        copy = write_qwen(tmp_path / str(len(list(tmp_path.iterdir()))))
        assert identity(copy) == usual
        text = (copy.folder / file).read_text()
        (copy.folder / file).write_text(change(text))
        if change(text) != text:
            assert identity(copy) != usual
