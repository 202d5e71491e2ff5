import subprocess
import sys
from importlib import import_module

import pytest
import torch
import transformers

from vidsim.encoders import catalog
from vidsim.errors import VidsimError

PARAMETERS = {
    # counted from the published files: TimeSformer without its 400-way head; VideoMAE without head and fc_norm;
    # CLIP ViT-B/32's vision tower of 151,277,313 in all; ViT-B/16 of 86.6 M without head
    "timesformer-base": 121_258_752,
    "videomae-base-finetuned-kinetics": 86_225_664,
    "clip-vit-b-32": 87_456_000,
    "dino-vitb16": 85_798_656,
}
CONFIGS = {
    "timesformer-base": transformers.TimesformerConfig,
    "videomae-base-finetuned-kinetics": transformers.VideoMAEConfig,
    "clip-vit-b-32": transformers.CLIPVisionConfig,
    "dino-vitb16": transformers.ViTConfig,
}
LORA_AT_RANK_16 = {
    # rank * (in + out) a linear layer: 768 * 2 each, 768 + 2304 for TimeSformer's joint qkv; the paper's 1,769,472
    "timesformer-base": 12 * 2 * 16 * ((768 + 2304) + (768 + 768)),
    "videomae-base-finetuned-kinetics": 12 * 4 * 16 * 2 * 768,
    "clip-vit-b-32": 12 * 4 * 16 * 2 * 768,
    "dino-vitb16": 12 * 4 * 16 * 2 * 768,
}


@pytest.fixture(scope="module")
def full_size():
    """Build every architecture at its real size, without memory for the weights."""
    made = {}
    with torch.device("meta"):
        for name, config in CONFIGS.items():
            card = catalog.card(name)
            made[name] = getattr(transformers, card.architecture)(config(), **card.options.get("init", {}))
    return made


def test_every_row_with_transformers_weights_is_built_here():
    assert {row.name for row in catalog.CARDS.values() if row.family in {"video_transformer", "image"}} == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_cards_count_the_real_architectures_parameters(name, full_size):
    counted = sum(weight.numel() for weight in full_size[name].parameters())
    assert catalog.card(name).parameters == counted == PARAMETERS[name]


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_are_every_block_and_the_final_norm(name, full_size):
    card, model = catalog.card(name), full_size[name]
    modules = dict(model.named_modules())
    [blocks] = [path for path, module in modules.items() if isinstance(module, torch.nn.ModuleList)]
    expected = [f"{blocks}.{i}" for i in range(len(modules[blocks]))]
    expected += [path for path in ("layernorm", "post_layernorm") if path in modules]
    assert list(card.layers) == expected
    assert len(expected) in {12, 13}
    assert card.default_layer == expected[-1]
    assert card.width == model.config.hidden_size
    assert card.size == model.config.image_size
    if card.modality == "video":
        assert card.sampling.frames == model.config.num_frames


@pytest.mark.parametrize("name", CONFIGS)
def test_lora_targets_are_linear_layers_of_every_block(name, full_size):
    card = catalog.card(name)
    hit = {
        path: module
        for path, module in full_size[name].named_modules()
        if any(path.endswith(f".{target}") for target in card.lora_targets)  # as peft matches names
    }
    assert all(isinstance(module, torch.nn.Linear) for module in hit.values())
    for target in card.lora_targets:
        blocks = {path.removesuffix(target) for path in hit if path.endswith(f".{target}")}
        assert len(blocks) in {12, 24}, target
    assert sum(16 * (module.in_features + module.out_features) for module in hit.values()) == LORA_AT_RANK_16[name]


def test_frames_are_the_cards():
    frames = {name: row.sampling.frames for name, row in catalog.CARDS.items() if row.checkpoint and row.sampling}
    assert frames == {
        "timesformer-base": 8,
        "videomae-base-finetuned-kinetics": 16,
        "clip-vit-b-32": 7,
        "dino-vitb16": 7,
    }
    assert catalog.card("dino-vitb16").sampling.times(7.0).tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5]


@pytest.mark.parametrize("row", catalog.CARDS.values(), ids=lambda row: row.name)
def test_rows_are_complete(row):
    assert row.default_layer in row.layers
    assert len(set(row.layers)) == len(row.layers)
    assert row.source
    assert row.family in catalog.FAMILIES
    assert (row.sampling is None) == (row.modality == "text")
    if row.checkpoint:
        assert row.licence
        assert row.parameters > 0
        assert len(row.revision) == 40


@pytest.mark.parametrize("family", catalog.FAMILIES)
def test_families_have_their_class(family):
    name, version = catalog.FAMILIES[family]
    assert hasattr(import_module(f"vidsim.encoders.{family}"), name)
    assert version >= 1


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("timesformer-bas", "no encoder named 'timesformer-bas'; did you mean 'timesformer-base'?"),
        ("all-minilm-v2", "no encoder named 'all-minilm-v2'; did you mean 'all-MiniLM-L6-v2'?"),
        ("zzz", "no encoder named 'zzz'; there are timesformer-base, "),
    ],
)
def test_typos_get_the_nearest_name(typed, message):
    with pytest.raises(VidsimError) as told:
        catalog.card(typed)
    assert str(told.value).startswith(message)


def test_names_match_in_any_case_and_by_alias():
    assert catalog.card("TimeSformer-Base").name == "timesformer-base"
    assert catalog.card("VIDEOMAE").name == "videomae-base-finetuned-kinetics"
    assert set(catalog.ALIASES.values()) <= set(catalog.CARDS)
    assert not {name.lower() for name in catalog.ALIASES} & {name.lower() for name in catalog.CARDS}


def test_layers_come_back_once_and_in_order_of_depth():
    card = catalog.card("timesformer-base")
    assert catalog.select_layers(card) == card.layers
    chosen = catalog.select_layers(card, ["layernorm", "encoder.layer.3", "encoder.layer.3"])
    assert chosen == ("encoder.layer.3", "layernorm")
    message = r"timesformer-base has no layer 'encoder\.layers\.3'; did you mean 'encoder\.layer\.3'\?"
    with pytest.raises(VidsimError, match=message):
        catalog.select_layers(card, ["encoder.layers.3"])
    with pytest.raises(VidsimError, match="no layer was named"):
        catalog.select_layers(card, [])


@pytest.mark.parametrize("pooling", ["max", "none", ""])
def test_unknown_poolings_are_refused(pooling):
    with pytest.raises(VidsimError, match="expected one of cls, mean, flatten"):
        catalog.resolve("timesformer-base", pooling=pooling)


def test_sentence_encoders_have_one_pooling():
    with pytest.raises(VidsimError, match="has one pooling, 'mean'"):
        catalog.resolve("all-MiniLM-L6-v2", pooling="cls")


@pytest.mark.parametrize("device", ["cudaa", "cuda:7", "gpu", "mps:3", ""])
def test_a_wrong_device_lists_those_that_are_there(device):
    for check in (catalog.resolve_device, catalog.resolve_device_name):
        with pytest.raises(VidsimError, match=r"no device '.*' here; there is .*cpu \(or auto, which takes "):
            check(device)


def test_devices_that_are_there():
    assert catalog.resolve_device("cpu") == "cpu"
    there = "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert catalog.resolve_device("auto") == there
    assert catalog.resolve_device_name("auto") == "auto"


def test_the_catalog_imports_nothing_heavy():
    program = (
        "import sys, vidsim.encoders.catalog; print(sorted({'torch', 'transformers', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
