"""A video-text model is trained by its clips, and is searched by words as before."""

import re

import numpy as np
import pytest
import torch
from tiny_models import XCLIP, write_xclip
from tiny_trainer import Quiet, material, recipe, trainer

from vidsim.adapt.attached import attach
from vidsim.adapt.card import resolve_adapter
from vidsim.adapt.material import Material
from vidsim.adapt.network import Network
from vidsim.adapt.recipe import Unfit
from vidsim.encoders import catalog
from vidsim.extract.spec import FeatureSpec
from vidsim.extract.text import embed_text, takes_text
from vidsim.report.train import model_card

TEXTS = ["a dog runs", "two people talk"]


@pytest.fixture
def made(tmp_path, monkeypatch):
    made = write_xclip(tmp_path / "xclip")
    monkeypatch.setitem(catalog.CARDS, XCLIP, made.card)
    return made


def loaded(made):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")


def draw(made, clips=3):
    shape = (clips, made.card.sampling.frames, 3, made.card.size, made.card.size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("layer", ["video_embeds", "vision_model.encoder.layers.0", "mit.encoder.layers.0"])
@pytest.mark.parametrize("training", [False, True])
def test_what_is_trained_is_what_is_extracted(layer, training, made):
    encoder, batch = loaded(made), draw(made)
    attach(encoder, rank=2, scaling=4, targets=made.card.lora_targets)
    expected = encoder.encode(batch, [layer], lambda _, features: features)[layer]
    network = Network(encoder, layer).train(training)
    vectors = network(encoder.preprocess.normalise(batch))
    np.testing.assert_allclose(vectors.detach().numpy(), expected, rtol=0, atol=1e-6)
    vectors.square().sum().backward()
    reached = {name.split(".lora_")[0] for name, w in encoder.model.named_parameters() if w.grad is not None}
    within = made.card.lora_targets if "layers.0" not in layer or layer.startswith("mit") else (layer,)
    assert len(reached) == sum(name.startswith(tuple(within)) for name in made.card.lora_targets)
    if layer == "video_embeds":
        np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, rtol=1e-6)


def test_clips_learn_and_texts_stay(made, tmp_path):
    told = recipe(
        XCLIP,
        optimiser={"learning_rate": 0.02, "epochs": 12},
        loss={"kind": "soft", "temperature": 0.1, "retention": 0.1},
        run={"precision": "float32", "validation": 0},
    )
    stuff = material(made.card)
    run, watcher = trainer(made, told, stuff=Material(stuff.fit, None, frames=stuff.frames)), Quiet()
    pristine = loaded(made).encode_text(TEXTS)
    folder = tmp_path / "adapters" / "mine"
    manifest = run.run(folder, tmp_path / "state", "mine", watcher)
    soft = [row["soft"] for row in watcher.losses]
    assert np.mean(soft[-4:]) < 0.8 * np.mean(soft[:4])
    assert manifest.layer == "video_embeds"
    expected = run.embed(run.material.fit.ids).matrix
    resolved = resolve_adapter(folder, checkpoint=str(made.folder))
    encoder = catalog.load(resolved, device="cpu")
    batch = torch.stack([run.material.frames(name) for name in run.material.fit.ids])
    rows = [encoder.encode(row[None], ["video_embeds"], lambda _, x: x)["video_embeds"][0] for row in batch]
    np.testing.assert_array_equal(rows, expected)
    assert np.abs(loaded(made).encode(batch, ["video_embeds"], lambda _, x: x)["video_embeds"] - rows).max() > 1e-3
    np.testing.assert_array_equal(encoder.encode_text(TEXTS), pristine)
    found = [embed_text(text, resolved, FeatureSpec(), "video_embeds", "cpu") for text in TEXTS]
    np.testing.assert_allclose(found, pristine, rtol=0, atol=1e-6)


def test_a_head_has_no_place_for_texts(made, tmp_path):
    run = trainer(made, recipe(XCLIP, adapter={"rank": 2, "head": 5}, optimiser={"epochs": 1}))
    assert run.attached.head[0].in_features == 24
    run.run(tmp_path / "adapters" / "mine", tmp_path / "state", "mine", Quiet())
    card = resolve_adapter(tmp_path / "adapters" / "mine", checkpoint=str(made.folder)).card
    assert card.default_layer == "head"
    assert not takes_text(card, "head")
    assert takes_text(card, "video_embeds")


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["visual_projection", "fc1"]])
def test_targets_are_of_what_clips_pass_through(targets, made):
    run = trainer(made, recipe(XCLIP, adapter={"rank": 2, "targets": targets}))
    model, optimiser = run._ready()
    run._step(next(run.batches.epoch(0)), 0, model, optimiser, np.random.default_rng(0))
    assert all(weight.grad is not None for weight in run.weights.values())
    named = {name.split(".lora_")[0].removeprefix("base_model.model.") for name in run.weights}
    assert {name.split(".")[-1] for name in named} == set(targets)
    assert {name.split(".")[0] for name in named} <= {"vision_model", "mit", "visual_projection"}


@pytest.mark.parametrize("target", ["text_model.encoder.layers.0.self_attn.q_proj", "text_projection"])
def test_targets_that_no_clip_passes_through_are_refused(target, made):
    said = (
        rf"^no '{target}' of xclip.* has a part in its layer 'video_embeds', which is trained; mend adapter\.targets$"
    )
    with pytest.raises(Unfit, match=said):
        trainer(made, recipe(XCLIP, adapter={"rank": 2, "targets": [target]}))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("head", [0, 5])
def test_the_card_says_how_clips_and_texts_are_embedded(head, made, tmp_path, monkeypatch):
    run = trainer(made, recipe(XCLIP, adapter={"rank": 2, "head": head}, optimiser={"epochs": 1}))
    folder = tmp_path / "adapters" / "mine"
    text = model_card(run.run(folder, tmp_path / "state", "mine", Quiet()))
    assert "The embedding is the `pooler_output` of `get_video_features`, at unit length." in text
    assert ('vidsim search --encoder mine --text "two people talk"' in text) is (head == 0)
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    code = re.sub(r', revision="\w+"', "", code).replace(f'"{made.card.checkpoint}"', repr(str(made.folder)))
    monkeypatch.chdir(folder)
    scope = {}
    exec(code, scope)
    batch = draw(made)
    with torch.no_grad():
        found = scope["model"].get_video_features(pixel_values=loaded(made).preprocess.normalise(batch))
        vectors = torch.nn.functional.normalize(found.pooler_output, dim=1)
        vectors = scope["head"](vectors) if head else vectors
    encoder = catalog.load(resolve_adapter(folder, checkpoint=str(made.folder)), device="cpu")
    layer = encoder.card.default_layer
    expected = encoder.encode(batch, [layer], lambda _, features: features)[layer]
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=0, atol=1e-5)


def test_gradient_checkpointing_and_all_linear_layers(made, tmp_path):
    told = {"adapter": {"rank": 1, "targets": "all-linear"}, "optimiser": {"epochs": 2, "learning_rate": 0.01}}
    losses = []
    for name, more in (("plain", {}), ("saved", {"checkpointing": True})):
        watcher = Quiet()
        run = trainer(made, recipe(XCLIP, **told, run={"precision": "float32", **more}))
        run.run(tmp_path / "adapters" / name, tmp_path / "state", name, watcher)
        losses.append([row["soft"] for row in watcher.losses])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    learned = {name.split(".lora_")[0] for name in run.attached.trainable()}
    assert any(".mit.encoder.layers.0.mlp" in name for name in learned)
    assert not any("text_model" in name or "prompts" in name for name in learned)
