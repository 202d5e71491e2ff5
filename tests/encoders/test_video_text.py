import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_models import XCLIP, write_qwen, write_xclip

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

TEXTS = ["a dog runs", "Dog", "two people talk about somebody who cannot hear them at all", "naïve"]


def whole(_layer, features):
    return features


def loaded(made, **options):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder), **options), device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_xclip(tmp_path_factory.mktemp("xclip") / "checkpoint")


@pytest.fixture(scope="module")
def encoder(made):
    return loaded(made)


@pytest.fixture(scope="module")
def frames():
    return np.random.default_rng(5).integers(0, 256, (2, 8, 40, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def batch(encoder, frames):
    return torch.stack([torch.stack([encoder.prepare(frame) for frame in clip]) for clip in frames])


@pytest.fixture(scope="module")
def pixels(made, frames):
    """Prepare the frames with the processor of the upstream library."""
    processor = transformers.VideoMAEImageProcessorPil.from_pretrained(made.folder)
    return processor([list(clip) for clip in frames], return_tensors="pt")["pixel_values"]


def upstream_tokens(made, pixels):
    """Run the video tower's modules one by one; return the tokens of every layer, and the model's own embedding."""
    model, tokens = made.upstream, []
    with torch.no_grad():
        states = model.vision_model.pre_layernorm(model.vision_model.embeddings(pixels.flatten(0, 1)))
        for block in model.vision_model.encoder.layers:
            states = block(states, None)
            tokens.append(states.unflatten(0, pixels.shape[:2]))
        normed = model.vision_model.post_layernorm(states[:, :1])
        tokens.append(normed.unflatten(0, pixels.shape[:2]))
        of_frames = model.visual_projection(normed[:, 0]).unflatten(0, pixels.shape[:2])
        tokens.append(model.mit.encoder.layers[0](of_frames + model.mit.position_embedding, None)[:, :, None])
        return tokens, model.get_video_features(pixel_values=pixels)


@pytest.mark.parametrize("rule", ["cls", "mean", "flatten"])
def test_layers_are_upstreams_averaged_over_the_frames(rule, made, batch, pixels):
    found = loaded(made, pooling=rule).encode(batch, made.card.layers, whole)
    assert list(found) == list(made.card.layers)
    tokens, output = upstream_tokens(made, pixels)
    torch.testing.assert_close(output.last_hidden_state, tokens[1].flatten(0, 1), rtol=0, atol=1e-5)  # the last block
    for layer, states in zip(made.card.layers[:-1], tokens, strict=True):
        parts = states.shape[2]
        expected = []
        for clip in states.double().numpy():
            if rule == "flatten":
                expected.append(clip.ravel())
                continue
            per_frame = [frame[0] if rule == "cls" or parts == 1 else frame[1:].mean(0) for frame in clip]
            expected.append(sum(per_frame) / 8)
        np.testing.assert_allclose(found[layer], expected, rtol=0, atol=1e-5)
        assert found[layer].dtype == np.float32


def test_hidden_states_are_upstreams(made, batch, pixels):
    found = loaded(made, pooling="flatten").encode(batch, made.card.layers[:2], whole)
    with torch.no_grad():
        states = made.upstream.vision_model(pixels.flatten(0, 1), output_hidden_states=True).hidden_states
    for vectors, tokens in zip(found.values(), states[1:], strict=True):
        np.testing.assert_allclose(vectors, tokens.reshape(2, -1).numpy(), rtol=0, atol=1e-5)


def test_the_last_layer_is_the_models_joint_embedding(made, encoder, batch, pixels):
    found = encoder.encode(batch, ["video_embeds"], whole)["video_embeds"]
    tokens = torch.tensor([[3, 9]])
    with torch.no_grad():
        whole_model = made.upstream(input_ids=tokens, pixel_values=pixels)
        features = made.upstream.get_video_features(pixel_values=pixels).pooler_output
    np.testing.assert_allclose(found, whole_model.video_embeds.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (features.norm(dim=1) - 1).abs().min() > 0.01  # upstream's own function does not normalise


def test_texts_are_upstreams_before_the_prompt_generator(made, encoder, batch, pixels):
    found = encoder.encode_text(TEXTS)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(made.folder / "tokenizer.json"), pad_token="<|endoftext|>"
    )
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=12, return_tensors="pt")
    tokens.pop("token_type_ids", None)
    with torch.no_grad():
        features = made.upstream.get_text_features(**tokens).pooler_output
        adapted = made.upstream(**tokens, pixel_values=pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, torch.nn.functional.normalize(features).numpy(), rtol=0, atol=1e-5)

    # the score of the whole model, from these two vectors and the step that is left out
    clips = encoder.encode(batch, ["video_embeds"], whole)["video_embeds"]
    without = clips @ found.T
    scale = made.upstream.logit_scale.exp().item()
    with torch.no_grad():
        patches = made.upstream.vision_model(pixels.flatten(0, 1)).last_hidden_state[:, 1:]
        seen = made.upstream.prompts_visual_layernorm(patches) @ made.upstream.prompts_visual_projection
        spoken = features.expand(2, -1, -1)
        spoken = spoken + made.upstream.prompts_generator(spoken, seen.unflatten(0, (2, 8)).mean(1))
    spoken = torch.nn.functional.normalize(spoken, dim=-1).numpy()
    np.testing.assert_allclose(
        np.einsum("bd,bkd->bk", clips, spoken) * scale, adapted.logits_per_video.numpy(), rtol=0, atol=1e-4
    )
    assert np.abs(without * scale - adapted.logits_per_video.numpy()).max() > 0.01


def test_a_text_does_not_depend_on_the_others(encoder):
    many = TEXTS * 20  # more than one pass
    together = encoder.encode_text(many)
    assert together.shape == (80, 24)
    for row, text in enumerate(TEXTS):
        alone = encoder.encode_text([text])[0]
        for place in range(row, 80, 4):
            np.testing.assert_allclose(together[place], alone, rtol=0, atol=1e-6)


def test_long_texts_are_cut_off_before_their_end_mark(encoder):
    words = "dog " * 30
    np.testing.assert_array_equal(encoder.encode_text([words]), encoder.encode_text([words + "and much more"]))


@pytest.mark.parametrize("texts", [[], "a dog", ["a dog", " "], [""]])
def test_texts_without_words_are_refused(texts, encoder):
    with pytest.raises(VidsimError, match="takes a list of texts with words in them"):
        encoder.encode_text(texts)


def test_clips_do_not_depend_on_their_batch(made, encoder, batch):
    together = encoder.encode(batch, made.card.layers, whole)
    alone = [encoder.encode(clip[None], made.card.layers, whole) for clip in batch]
    for layer, vectors in together.items():
        np.testing.assert_allclose(vectors, np.concatenate([one[layer] for one in alone]), rtol=0, atol=1e-5)


def test_reduction_sees_every_wanted_layer(made, encoder, batch):
    seen = []

    def first_three(layer, features):
        seen.append((layer, tuple(features.shape)))
        return features[:, :3]

    wanted = ("vision_model.encoder.layers.1", "mit.encoder.layers.0", "video_embeds")
    found = encoder.encode(batch, wanted, first_three)
    assert seen == [(wanted[0], (2, 32)), (wanted[1], (2, 24)), (wanted[2], (2, 24))]
    assert {vectors.shape for vectors in found.values()} == {(2, 3)}


CANONICAL = [-0.1562, -0.10213, 0.13937, 0.30803, -0.267, -0.0606]
CANONICAL_TEXT = [0.25665, 0.08843, -0.02441, -0.13024, -0.3323, -0.20212]
"""First features of the joint embeddings of a clip and a text, measured with transformers 5.23 and torch 2.13."""


def test_canonical_vectors(made, tmp_path):
    """Pin the way from decoded frames and from a text to a vector: a drawn clip, weights from a formula."""
    fixed = write_xclip(tmp_path / "fixed")
    weights = {}
    for number, name in enumerate(sorted(made.state)):
        places = torch.arange(1, made.state[name].numel() + 1, dtype=torch.float64)
        mixed = (torch.sin(places * 12.9898 + number * 78.233) * 43758.5453).frac()
        weights[name] = (0.4 * mixed).reshape(made.state[name].shape).float() + (1 if "norm" in name else 0)
    save_file(weights, fixed.folder / "model.safetensors", metadata={"format": "pt"})
    t, y, x, colour = np.meshgrid(np.arange(8), np.arange(40), np.arange(72), np.arange(3), indexing="ij")
    drawn = np.rint(127.5 + 127.5 * np.sin((x + 2 * t) / 9 + colour) * np.cos((y - t) / 7)).astype(np.uint8)
    encoder = loaded(fixed)
    clip = torch.stack([encoder.prepare(frame) for frame in drawn])
    batch = torch.stack([clip, torch.zeros_like(clip)])
    found, black = encoder.encode(batch, ["video_embeds"], whole)["video_embeds"]
    np.testing.assert_allclose(found[:6], CANONICAL, rtol=1e-3, atol=1e-4)
    assert np.abs(found - black).max() > 1e-3  # the clip matters
    np.testing.assert_allclose(encoder.encode_text(["a dog runs"])[0, :6], CANONICAL_TEXT, rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def full_size():
    """Build the model at its real size without memory for the weights; its config.json says what the class does."""
    config = transformers.XCLIPConfig(text_config={}, vision_config={})
    with torch.device("meta"):
        return transformers.XCLIPModel(config)


def test_the_card_counts_the_published_parameters(full_size):
    # as users of revision a2e27a78 count them; MTEB's card adds the position ids of its file
    counted = sum(weight.numel() for weight in full_size.parameters())
    assert catalog.card(XCLIP).parameters == counted == 196_585_729


def test_weights_have_the_published_names(full_size):
    """Names are those that the conversion from Microsoft's files gave them in 2022."""
    both = ("{}.weight", "{}.bias")
    attention = [form.format(name) for name in ("q_proj", "k_proj", "v_proj", "out_proj") for form in both]
    plain = ("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2")
    block = [*(f"self_attn.{name}" for name in attention), *(form.format(name) for name in plain for form in both)]
    message = [form.format(name) for name in ("message_fc", "message_ln") for form in both]
    message += [f"message_attn.{name}" for name in attention]
    prompt = [form.format(name) for name in ("cross_attn.proj", "norm1", "norm3", "mlp.0", "mlp.3") for form in both]
    prompt += [f"cross_attn.{name}.weight" for name in ("q_proj", "k_proj", "v_proj")]
    norms = ("text_model.final_layer_norm", "vision_model.pre_layernorm", "vision_model.post_layernorm")
    norms += ("prompts_visual_layernorm", "prompts_generator.layernorm")
    published = {
        *(f"text_model.embeddings.{name}_embedding.weight" for name in ("token", "position")),
        *(f"text_model.encoder.layers.{i}.{name}" for i in range(12) for name in block),
        "vision_model.embeddings.class_embedding",
        *(f"vision_model.embeddings.{name}_embedding.weight" for name in ("patch", "position")),
        *(f"vision_model.encoder.layers.{i}.{name}" for i in range(12) for name in (*block, *message)),
        *(f"mit.encoder.layers.0.{name}" for name in block),
        *(f"prompts_generator.decoder.{i}.{name}" for i in range(2) for name in prompt),
        *(form.format(name) for name in norms for form in both),
        *("visual_projection.weight", "text_projection.weight", "logit_scale", "mit.position_embedding"),
        *("prompts_visual_projection", "prompts_generator.alpha"),
    }
    assert set(full_size.state_dict()) == published
    assert len(published) == 591


def test_layers_are_the_video_tower(full_size):
    card, modules = catalog.card(XCLIP), dict(full_size.named_modules())
    blocks = [f"vision_model.encoder.layers.{i}" for i in range(len(modules["vision_model.encoder.layers"]))]
    integration = [f"mit.encoder.layers.{i}" for i in range(len(modules["mit.encoder.layers"]))]
    assert list(card.layers) == [*blocks, "vision_model.post_layernorm", *integration, "video_embeds"]
    assert set(card.layers[:-1]) <= set(modules)
    assert card.default_layer == "video_embeds"
    vision = full_size.config.vision_config
    assert (card.sampling.frames, card.size) == (vision.num_frames, vision.image_size)


def test_lora_targets_are_the_video_towers_attention_alone(full_size):
    card = catalog.card(XCLIP)
    hit = {
        path: module
        for path, module in full_size.named_modules()
        if any(path == target or path.endswith(f".{target}") for target in card.lora_targets)  # as peft matches names
    }
    assert len(hit) == len(card.lora_targets) == 12 * 2 * 4
    assert all(path.startswith("vision_model.encoder.layers.") for path in hit)
    assert all(isinstance(module, torch.nn.Linear) for module in hit.values())
    assert sum(16 * (module.in_features + module.out_features) for module in hit.values()) == 96 * 16 * 2 * 768


def fails(made):
    with pytest.raises(VidsimError) as told:
        loaded(made)
    assert "\n" not in str(told.value)
    return str(told.value)


def test_missing_and_surplus_weights_are_named(tmp_path):
    made = write_xclip(tmp_path / "xclip")
    state = load_file(made.folder / "model.safetensors")
    name = "vision_model.encoder.layers.1.message_fc.weight"
    save_file({k: v for k, v in state.items() if k != name}, made.folder / "model.safetensors", {"format": "pt"})
    assert f"{name} is missing" in fails(made)
    save_file({**state, "mit.novel": torch.ones(2)}, made.folder / "model.safetensors", {"format": "pt"})
    assert "mit.novel is left over" in fails(made)


def test_a_checkpoint_of_another_kind_of_model_is_refused(tmp_path):
    made, other = write_xclip(tmp_path / "xclip"), write_qwen(tmp_path / "qwen")
    with pytest.raises(VidsimError, match="class 'Qwen2VLImageProcessorFast' is not known"):
        catalog.resolve(made.card, checkpoint=str(other.folder)).identity  # noqa: B018
    config = json.loads((made.folder / "config.json").read_text())
    (made.folder / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    assert "holds a model of type 'clip'; expected 'xclip'" in fails(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_frames": 16}, "expects frames 8, the checkpoint in .* has 16"),
        ({"image_size": 64}, "expects image size 32, the checkpoint in .* has 64"),
        ({"num_hidden_layers": 3}, "expects blocks 3, the checkpoint in .* has 4"),
        ({"intermediate_size": 64}, "expects parameters .*, the checkpoint in .* has"),
    ],
)
def test_a_checkpoint_of_another_size_is_refused_with_both(change, message, tmp_path):
    right, other = write_xclip(tmp_path / "right"), write_xclip(tmp_path / "other", **change)
    if "image_size" in change:
        state = load_file(other.folder / "model.safetensors")
        state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
        save_file(state, other.folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(VidsimError, match=message):
        loaded(replace(other, card=right.card))


def test_clips_need_no_tokenizer_but_texts_do(tmp_path, batch):
    made = write_xclip(tmp_path / "xclip")
    (made.folder / "tokenizer.json").unlink()
    encoder = loaded(made)
    assert encoder.encode(batch, ["video_embeds"], whole)["video_embeds"].shape == (2, 24)
    with pytest.raises(VidsimError, match=r"no tokenizer\.json in"):
        encoder.encode_text(["a dog"])


def test_another_number_or_size_of_frames_is_refused(made, encoder, batch):
    with pytest.raises(VidsimError, match="takes 8 frames a clip, 7 came"):
        encoder.encode(batch[:, :7], made.card.layers, whole)
    with pytest.raises(VidsimError, match="frames of 32x32 pixels, 24x32 came"):
        encoder.encode(batch[..., :24, :], made.card.layers, whole)


def test_a_width_that_its_layers_have_not_is_refused(made):
    with pytest.raises(VidsimError, match=r"has width 999, its layer vision_model.* has 32; expected 0, as its layers"):
        loaded(replace(made, card=replace(made.card, width=999)))


def test_a_class_without_clips_is_refused(made, tmp_path):
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text = {**tiny, "vocab_size": 11, "max_position_embeddings": 7}
    vision = {**tiny, "image_size": 32, "patch_size": 16}
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))
    model.save_pretrained(tmp_path / "clip")
    processor = (made.folder / "preprocessor_config.json").read_text()
    (tmp_path / "clip" / "preprocessor_config.json").write_text(processor)
    card = replace(made.card, architecture="CLIPModel")
    with pytest.raises(VidsimError, match=r"expects frames 8, the checkpoint in .* has None"):
        catalog.load(catalog.resolve(card, checkpoint=str(tmp_path / "clip")), device="cpu")
