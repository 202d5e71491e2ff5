"""A vision-language model is trained by its clips and their captions, read in one pass."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from peft import PeftModel
from tiny_models import QWEN, write_qwen
from tiny_trainer import N, Quiet, recipe, trainer, trials

from vidsim.adapt.attached import attach
from vidsim.adapt.card import resolve_adapter
from vidsim.adapt.joint_tower import JointTower
from vidsim.adapt.material import Material
from vidsim.adapt.recipe import Unfit
from vidsim.encoders import catalog
from vidsim.report.train import model_card

WORDS = ("dog", "talk", "dance", "chess")
SIZES = ((48, 80), (64, 64), (100, 40))
LAYER = "model.language_model.norm"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_qwen(tmp_path_factory.mktemp("qwen") / "checkpoint")


@pytest.fixture(autouse=True)
def listed(made, monkeypatch):
    monkeypatch.setitem(catalog.CARDS, QWEN, made.card)


def loaded(made):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")


def material(made, unlabelled=0):
    """Make clips of three sizes, each of a colour of its own; every third has no caption, the others one or two."""
    prepare, rng = loaded(made).prepare, np.random.default_rng(3)
    names = [f"clip {i}" for i in range(N + unlabelled)]
    frames, captions = {}, {}
    for i, name in enumerate(names):
        noise = rng.integers(0, 56, (7, *SIZES[i % 3], 3)) + rng.integers(0, 200, 3)
        frames[name] = torch.stack([prepare(frame) for frame in noise.astype(np.uint8)])
        captions[name] = tuple(f"a {WORDS[(i + k) % 4]} {i}" for k in range(i % 3))
    groups = np.arange(N) % 2
    fit, held = trials(names[:8], groups[:8], 60, 1), trials(names[8:N], groups[8:], 20, 2)
    return Material(fit, held, captions=captions, frames=frames.__getitem__, unlabelled=tuple(names[N:]))


def pairs(stuff, ids):
    return [(stuff.frames(name), stuff.captions[name]) for name in ids]


def embedded(encoder, batch, layer=LAYER):
    return encoder.encode(batch, [layer], lambda _, features: features)[layer]


@pytest.mark.parametrize("layer", [LAYER, "model.language_model.layers.1"])
@pytest.mark.parametrize("training", [False, True])
def test_what_is_trained_is_what_is_extracted(layer, training, made):
    encoder, stuff = loaded(made), material(made)
    attach(encoder, rank=2, scaling=4, targets=made.card.lora_targets)
    ids = stuff.fit.ids[:4]
    encoder.model.train(training)
    vectors = JointTower(encoder, stuff.frames, stuff.captions, "draw", layer)(ids, None)
    expected = embedded(encoder, pairs(stuff, ids), layer)
    np.testing.assert_allclose(vectors.detach().numpy(), expected, rtol=0, atol=1e-5)
    vectors.square().sum().backward()
    reached = {name.split(".lora_")[0] for name, w in encoder.model.named_parameters() if w.grad is not None}
    blocks = 3 if layer == LAYER else 2
    assert len(reached) == 4 * blocks  # q, k, v and o of each block that the layer is behind


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
def test_gradients_are_those_of_the_upstream_library(made):
    """Compare LoRA's gradients with those of PEFT around the plain model, fed by the upstream processor."""
    encoder, rng = loaded(made), np.random.default_rng(8)
    attached = attach(encoder, rank=2, scaling=4, targets=made.card.lora_targets)
    weights = attached.trainable()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in weights.values():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    images = list(rng.integers(0, 256, (7, 48, 80, 3), np.uint8))
    frames = torch.stack([encoder.prepare(image) for image in images])
    tower = JointTower(encoder, {"clip": frames}.__getitem__, {"clip": ("a dog runs",)}, "draw", LAYER)
    goal = torch.randn(32, generator=generator)
    (tower(["clip"], np.random.default_rng(0))[0] @ goal).backward()

    upstream = transformers.Qwen3VLForConditionalGeneration.from_pretrained(made.folder, dtype=torch.float32)
    plain = PeftModel(upstream, attached.config)
    own = {name.replace(".default", ""): value for name, value in plain.named_parameters() if "lora_" in name}
    assert own.keys() == weights.keys()
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])
    seen = transformers.Qwen2VLImageProcessorPil.from_pretrained(made.folder)(images, return_tensors="pt")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(made.folder / "tokenizer.json"))
    counts = (seen["image_grid_thw"].prod(-1) // 4).tolist()
    shown = "".join(f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>" for count in counts)
    ids = tokenizer(f"<|im_start|>user\n{shown}a dog runs<|im_end|>\n", return_tensors="pt")["input_ids"]
    of_frames = ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")
    states = plain(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=of_frames.int(),
        output_hidden_states=True,
        **seen,
    ).hidden_states[-1]
    (states[0, int(of_frames[0].nonzero()[0]) :].mean(0) @ goal).backward()
    assert max(float(value.grad.abs().max()) for value in own.values()) > 1e-3
    for name, value in own.items():
        torch.testing.assert_close(weights[name].grad, value.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rule", "expected"), [("mean", {(0, 1)}), ("first", {(0,)}), ("draw", {(0,), (1,)})])
def test_a_step_shows_captions_by_the_rule(rule, expected, made):
    encoder, stuff = loaded(made), material(made)
    tower = JointTower(encoder, stuff.frames, stuff.captions, rule, LAYER)
    bare, _, two = stuff.fit.ids[:3]
    found, rng = set(), np.random.default_rng(0)
    for _ in range(12):
        with torch.no_grad():
            alone, vector = tower([bare, two], rng).numpy()
        np.testing.assert_allclose(alone, embedded(encoder, [(stuff.frames(bare), ())])[0], rtol=0, atol=1e-5)
        for places in ((0,), (1,), (0, 1)):
            said = tuple(stuff.captions[two][place] for place in places)
            if np.abs(embedded(encoder, [(stuff.frames(two), said)])[0] - vector).max() < 1e-5:
                found.add(places)
    assert found == expected


def test_halves_give_nearly_the_same_in_single_precision(made):
    encoder, stuff = loaded(made), material(made)
    attach(encoder, rank=2, scaling=4, targets=made.card.lora_targets)
    tower, ids = JointTower(encoder, stuff.frames, stuff.captions, "draw", LAYER), stuff.fit.ids[:3]
    exact = tower(ids, None)
    with torch.autocast("cpu", torch.bfloat16):
        vectors = tower(ids, None)
    assert vectors.dtype == torch.float32
    vectors.square().sum().backward()
    difference = (vectors - exact).norm() / exact.norm()
    assert 0 < float(difference.detach()) < 0.05


def test_it_learns_and_comes_back_to_the_bit(made, tmp_path):
    told = recipe(
        QWEN,
        optimiser={"learning_rate": 0.02, "epochs": 8},
        loss={"kind": "soft", "temperature": 0.1, "retention": 0.1, "retention_stimuli": 2},
        run={"precision": "float32", "validation": 0},
    )
    stuff = material(made, unlabelled=3)
    run, watcher = trainer(made, told, stuff=replace(stuff, validation=None)), Quiet()
    folder = tmp_path / "adapters" / "mine"
    manifest = run.run(folder, tmp_path / "state", "mine", watcher)
    soft = [row["soft"] for row in watcher.losses]
    assert np.mean(soft[-4:]) < 0.8 * np.mean(soft[:4])
    assert (manifest.layer, manifest.base["encoder"]) == (LAYER, QWEN)
    encoder = catalog.load(resolve_adapter(folder, checkpoint=str(made.folder)), device="cpu")
    batch = pairs(stuff, stuff.fit.ids)
    expected = run.embed(stuff.fit.ids).matrix
    np.testing.assert_array_equal(np.concatenate([embedded(encoder, [pair]) for pair in batch]), expected)
    assert np.abs(embedded(loaded(made), batch) - expected).max() > 1e-2
    other = embedded(encoder, [(batch[1][0], ("two people talk",))])
    assert np.abs(other - embedded(encoder, [batch[1]])).max() > 1e-3  # the captions are read still


def test_interrupted_or_not_it_ends_the_same(made, tmp_path):
    told = recipe(
        QWEN,
        adapter={"rank": 2, "dropout": 0.1},
        optimiser={"learning_rate": 0.01, "epochs": 3},
        batches={"sampler": "stimuli", "stimuli": 5, "steps": 2},
    )
    whole = trainer(made, told, stuff=material(made)).run(tmp_path / "whole", tmp_path / "state", "mine", Quiet())
    with pytest.raises(KeyboardInterrupt):
        trainer(made, told, stuff=material(made)).run(tmp_path / "cut", tmp_path / "cut.state", "mine", Quiet(plug=2))
    again = trainer(made, told, stuff=material(made)).run(tmp_path / "cut", tmp_path / "cut.state", "mine", Quiet())
    assert again.files == whole.files  # hashes of the weights
    assert [row["losses"] for row in again.curve] == [row["losses"] for row in whole.curve]


@pytest.mark.parametrize(
    ("targets", "ends"),
    [
        ("all-linear", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        (["qkv", "q_proj"], {"qkv", "q_proj"}),
    ],
)
def test_targets_of_both_towers_learn_with_and_without_checkpointing(targets, ends, made, tmp_path):
    losses = []
    for name, more in (("plain", {}), ("saved", {"checkpointing": True})):
        watcher = Quiet()
        told = recipe(
            QWEN,
            adapter={"rank": 1, "targets": targets},
            optimiser={"epochs": 2, "learning_rate": 0.01},
            run={"precision": "float32", **more},
        )
        run = trainer(made, told, stuff=replace(material(made), validation=None))
        before = {key: value.detach().clone() for key, value in run.weights.items()}
        run.run(tmp_path / "adapters" / name, tmp_path / "state", name, watcher)
        losses.append([row["soft"] for row in watcher.losses])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    learned = {key.split(".lora_")[0] for key, value in run.weights.items() if not torch.equal(value, before[key])}
    assert learned == {key.split(".lora_")[0] for key in run.weights}
    assert {name.split(".")[-1] for name in learned} == ends


def test_what_would_answer_is_no_target(made):
    with pytest.raises(Unfit, match=r"no 'lm_head' of Qwen.* has a part in its layer '.*norm', which is tra"):
        trainer(made, recipe(QWEN, adapter={"rank": 2, "targets": ["lm_head"]}), stuff=material(made))


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("head", [0, 5])
def test_the_card_says_how_it_is_loaded_without_vidsim(head, made, tmp_path, monkeypatch):
    told = recipe(QWEN, adapter={"rank": 2, "head": head}, optimiser={"epochs": 1})
    run = trainer(made, told, stuff=material(made))
    folder = tmp_path / "adapters" / "mine"
    manifest = run.run(folder, tmp_path / "state", "mine", Quiet())
    assert manifest.head == head
    text = model_card(manifest)
    assert "vidsim index stimuli.csv --encoder mine" in text
    assert f"from the first frame's on, of `{LAYER}`, for a user's turn in the base's chat template: 7 stills" in text
    assert "embeddings of videos with their captions for comparison with human judgments" in text
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    code = re.sub(r', revision="\w+"', "", code).replace(f'"{made.card.checkpoint}"', repr(str(made.folder)))
    monkeypatch.chdir(folder)
    scope = {}
    exec(code, scope)
    encoder = catalog.load(resolve_adapter(folder, checkpoint=str(made.folder)), device="cpu")
    stuff = run.material
    batch = pairs(stuff, stuff.fit.ids[:2])
    expected = embedded(encoder, batch, encoder.card.default_layer)
    plain = loaded(made)
    plain.model = scope["model"].get_base_model()
    vectors = torch.from_numpy(embedded(plain, batch))
    vectors = scope["head"](vectors.to(next(plain.model.parameters()).dtype)) if head else vectors
    np.testing.assert_allclose(vectors.numpy(), expected, rtol=0, atol=1e-5)
