import numpy as np
import pytest
import torch
from tiny_adapters import merged, write_adapter
from tiny_cards import CNN, WHOLE, write
from torch import nn
from transformers import TimesformerConfig
from transformers.models.timesformer.modeling_timesformer import TimesformerLayer

from vidsim.adapt.card import resolve_adapter
from vidsim.analysis.rollout import divided_block
from vidsim.encoders import catalog
from vidsim.encoders.attention import attention_of, refuse_without_attention
from vidsim.errors import VidsimError
from vidsim.report.rollout import heat_maps

NAMES = (
    *("timesformer-base", "videomae-base-finetuned-kinetics", "vivit-b-16x2-kinetics400"),
    *("vjepa2-vitl-fpc16-256-ssv2", "clip-vit-b-32", "dino-vitb16", "dinov2-base", "dinov3-vitb16"),
    "siglip2-base-patch16-224",
)


def loaded(made):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")


def upstream_attention(made, batch):
    """Return what the upstream model itself says, (layers, s, heads, n, n)."""
    made.upstream.set_attn_implementation("eager")
    found = made.plain(batch[0] if made.card.modality == "image" else batch, output_attentions=True)
    return torch.stack(found.attentions)


@pytest.mark.parametrize("name", NAMES)
def test_spatial_attention_is_upstreams(name, publish, clips):
    made = publish(name)
    encoder, batch = loaded(made), clips(made.card, 1)
    before = encoder.encode(batch, made.card.layers, lambda _, x: x)
    found = attention_of(encoder, batch[0])
    expected = upstream_attention(made, batch).mean(2).numpy()
    assert expected.shape[0] == len(found.spatial) == 2
    np.testing.assert_allclose(found.spatial, expected, atol=1e-5)
    np.testing.assert_allclose(np.sum(found.spatial, axis=-1), 1, atol=1e-5)
    assert np.std(expected[0] - expected[1]) > 0.03 * expected.mean()  # the blocks differ
    steps, rows, columns = found.grid
    assert (rows, columns) == ((2, 2) if name == "clip-vit-b-32" else (4, 4))
    card = made.card
    in_two = {"videomae-base-finetuned-kinetics", "vivit-b-16x2-kinetics400", "vjepa2-vitl-fpc16-256-ssv2"}
    assert steps == (1 if card.modality == "image" else card.sampling.frames // (2 if name in in_two else 1))
    within = rows * columns + (1 if name == "timesformer-base" else 0)
    joint = found.prefix + steps * rows * columns
    assert found.spatial[0].shape[-1] == (within if name == "timesformer-base" else joint)
    # the encoder is as it was
    after = encoder.encode(batch, made.card.layers, lambda _, x: x)
    for layer, vectors in before.items():
        np.testing.assert_array_equal(vectors, after[layer])
    assert not any(module._forward_hooks for module in encoder.model.modules())


@pytest.mark.parametrize("name", ["timesformer-base", "videomae-base-finetuned-kinetics", "clip-vit-b-32"])
def test_attention_inside_an_adapter_is_that_of_its_base_with_its_weights_merged(
    name, publish, clips, tmp_path, monkeypatch
):
    made = publish(name)
    monkeypatch.setitem(catalog.CARDS, name, made.card)
    folder, _ = write_adapter(tmp_path / "root", "mine", made)
    batch = clips(made.card, 1)[0]
    found = attention_of(catalog.load(resolve_adapter(folder), device="cpu").base, batch)
    expected, pristine = attention_of(merged(made, folder), batch), attention_of(loaded(made), batch)
    np.testing.assert_allclose(found.spatial, expected.spatial, atol=1e-5)
    np.testing.assert_allclose(found.temporal, expected.temporal, atol=1e-5)
    assert np.abs(found.spatial[-1] - pristine.spatial[-1]).max() > 1e-3
    assert bool(found.temporal) == (name == "timesformer-base")


def test_temporal_attention_is_recomputed(publish, clips):
    made = publish("timesformer-base")
    batch = clips(made.card, 1)
    found = attention_of(loaded(made), batch[0])
    with torch.no_grad():
        states = made.upstream(pixel_values=made.normalised(batch), output_hidden_states=True).hidden_states
        for number, layer in enumerate(made.upstream.encoder.layer):
            tokens = layer.temporal_layernorm(states[number][0, 1:].reshape(16, 8, 32))
            query, key, _ = layer.temporal_attention.attention.qkv(tokens).chunk(3, dim=-1)
            total = np.zeros((16, 8, 8))
            for head in range(4):
                part = slice(8 * head, 8 * head + 8)
                scores = query[..., part] @ key[..., part].transpose(1, 2) / 8**0.5
                total += scores.softmax(-1).numpy()
            np.testing.assert_allclose(found.temporal[number], total / 4, atol=1e-5)


def test_divided_block_is_upstreams_block_with_values_passed_through():
    """Let upstream's block move one-hot tokens, with norms taken out, values and outputs the identity, and no MLP.

    There a residual connection adds, while rollout takes halves: CLS passes one residual connection and patches two.
    """
    frames, places = 3, 4
    tokens = 1 + frames * places
    config = TimesformerConfig(
        hidden_size=tokens, num_attention_heads=1, num_frames=frames, image_size=4, patch_size=2, qkv_bias=False,
        intermediate_size=2, num_hidden_layers=1,
    )  # fmt: skip
    block = TimesformerLayer(config, 0).eval()
    identity = torch.eye(tokens)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in block.parameters():
            weight.zero_()
        for attention in (block.attention, block.temporal_attention):
            attention.attention.qkv.weight[: 2 * tokens] = 3 * torch.randn(2 * tokens, tokens, generator=generator)
            attention.attention.qkv.weight[2 * tokens :] = identity
            attention.output.dense.weight.copy_(identity)
        block.temporal_dense.weight.copy_(identity)
    block.layernorm_before = block.layernorm_after = block.temporal_layernorm = nn.Identity()
    seen = []
    hook = block.temporal_attention.attention.attn_drop.register_forward_hook(lambda *a: seen.append(a[2]))
    with torch.no_grad():
        moved, spatial = block(identity[None], output_attentions=True)
    hook.remove()
    expected = moved[0].double().numpy()  # rows: outputs, columns: one-hot inputs
    expected[:, 0] /= 2
    expected[:, 1:] /= 4
    # upstream goes through the patches place by place
    order = [0, *(1 + place * frames + frame for frame in range(frames) for place in range(places))]
    found = divided_block(seen[0][:, 0].numpy(), spatial[:, 0].numpy())
    np.testing.assert_allclose(found, expected[np.ix_(order, order)], atol=1e-6)
    assert found.std() > 0.05


def plant(made):
    """Hand-set the weights: every token attends to patches that are brighter than others, in all heads and blocks."""
    from safetensors.torch import save_file

    state = {name: torch.zeros_like(value) for name, value in made.state.items()}
    for name, value in made.state.items():
        if "norm" in name.lower() and name.endswith("weight"):
            state[name] += 1
        if "patch_embed" in name and name.endswith("weight"):
            state[name][0] = 1 / value[0].numel()
        if name.endswith("position_ids"):
            state[name] = value
    # rotary positions turn the first features of a head; these are turned slowly (DINOv3) or not at all (V-JEPA)
    place = {"dinov3-vitb16": 3, "vjepa2-vitl-fpc16-256-ssv2": 6}.get(made.card.name, 0)
    heads = [8 * head + place for head in range(4)]
    for name in (name for name in state if not name.startswith(("text_model", "vjepa2.predictor", "pooler"))):
        if name.endswith(("query.bias", "q_bias", "q_proj.bias")):
            state[name][heads] = 4
        if name.endswith(("key.weight", "k_proj.weight")):
            state[name][heads, 0] = 4
        if name.endswith("qkv.bias"):
            state[name][heads] = 4
        if name.endswith("qkv.weight"):
            state[name][[32 + row for row in heads], 0] = 4
    save_file(state, made.folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", NAMES)
def test_planted_attention_lights_up_its_patch(name, publish):
    made = publish(name)
    plant(made)
    encoder = loaded(made)
    frames, size = made.card.sampling.frames, made.card.size
    patch = 16 if name == "clip-vit-b-32" else 8
    clip = torch.zeros(frames, 3, size, size, dtype=torch.uint8)
    clip[4:6, :, patch : 2 * patch, :patch] = 255  # second row, first column
    maps = heat_maps(attention_of(encoder, clip), mean=encoder.resolved.pooling != "cls")
    steps, side = len(maps), size // patch
    assert maps.shape == (steps, side, side)
    step = 4 * steps // frames
    lit = np.unravel_index(maps[step].argmax(), (side, side))
    assert lit == (1, 0)
    assert maps[step, 1, 0] > 3 * np.delete(maps[step].ravel(), side).max()
    if made.card.modality == "video":
        assert maps[step, 1, 0] > 2 * maps[0].max()
    else:
        # an even frame is attended to evenly, but for DINOv3's positions, which were planted along x
        even = np.broadcast_to(maps[0, 0] if name == "dinov3-vitb16" else 1, maps[0].shape)
        np.testing.assert_allclose(maps[0], even, atol=1e-5)


def test_who_has_no_attention_is_refused():
    for name in ("motion-energy", "all-MiniLM-L6-v2"):
        with pytest.raises(
            VidsimError, match="has no attention over patches of frames; expected one of timesformer-base"
        ):
            refuse_without_attention(catalog.card(name))


def test_own_encoders_with_attention_are_offered(cards):
    write(cards, WHOLE)
    with pytest.raises(VidsimError, match=r"; expected one of timesformer-base, .*, my-videomae$"):
        refuse_without_attention(catalog.card("motion-energy"))
    write(cards, CNN)
    with pytest.raises(VidsimError, match=r", siglip2-[^ ]+$"):
        refuse_without_attention(catalog.card("motion-energy"))


def test_attention_over_too_many_frames_is_refused():
    message = (
        r"vjepa2-vitl-fpc64-256 attends over 64 frames at once, .* \(at most 16\); expected one of timesformer-base"
    )
    with pytest.raises(VidsimError, match=message) as told:
        refuse_without_attention(catalog.card("vjepa2-vitl-fpc64-256"))
    assert "vjepa2-vitl-fpc16-256-ssv2" in str(told.value).partition("expected")[2]
    assert "fpc64" not in str(told.value).partition("expected")[2]


def test_frames_must_fit(publish, clips):
    made = publish("timesformer-base")
    with pytest.raises(VidsimError, match="takes 8 frames a clip, 7 came"):
        attention_of(loaded(made), clips(made.card, 1)[0, :7])
