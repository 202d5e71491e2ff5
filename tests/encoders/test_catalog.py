import re
import subprocess
import sys
from importlib import import_module

import pytest
import torch
import transformers

from vidsim.encoders import catalog
from vidsim.encoders.base import Sampling
from vidsim.errors import VidsimError
from vidsim.report.paper import table2

PARAMETERS = {
    # counted from the published files: TimeSformer without its 400-way head; VideoMAE without head and fc_norm;
    # CLIP ViT-B/32's vision tower of 151,277,313 in all; ViT-B/16 of 86.6 M without head
    "timesformer-base": 121_258_752,
    "videomae-base-finetuned-kinetics": 86_225_664,
    "clip-vit-b-32": 87_456_000,
    "dino-vitb16": 85_798_656,
    # as users of the hub's files count them: DINOv2-B (86.58 M) and DINOv3-B (211 tensors) whole
    "dinov2-base": 86_580_480,
    "dinov3-vitb16": 85_660_416,
    # parts of what WHOLE counts
    "videomae-large-finetuned-kinetics": 303_858_688,
    "vivit-b-16x2-kinetics400": 88_646_400,
    "vjepa2-vitl-fpc64-256": 303_885_312,
    "vjepa2-vitl-fpc16-256-ssv2": 303_885_312,
    "clip-vit-b-16": 85_799_424,
    "siglip2-base-patch16-224": 92_884_224,
}
LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
CONFIGS = {
    # the values of the published config.json, where they are not those of the class
    "timesformer-base": transformers.TimesformerConfig(),
    "videomae-base-finetuned-kinetics": transformers.VideoMAEConfig(),
    # as in the models that others fine-tuned from it
    "videomae-large-finetuned-kinetics": transformers.VideoMAEConfig(**LARGE, norm_pix_loss=True),
    "vivit-b-16x2-kinetics400": transformers.VivitConfig(num_frames=32, tubelet_size=[2, 16, 16]),
    "vjepa2-vitl-fpc64-256": transformers.VJEPA2Config(frames_per_clip=64, crop_size=256),
    # its file was not found: the frames and the size of its name, the rest of fpc64
    "vjepa2-vitl-fpc16-256-ssv2": transformers.VJEPA2Config(frames_per_clip=16, crop_size=256),
    "clip-vit-b-32": transformers.CLIPVisionConfig(),
    "clip-vit-b-16": transformers.CLIPVisionConfig(patch_size=16),
    "dino-vitb16": transformers.ViTConfig(),
    "dinov2-base": transformers.Dinov2Config(image_size=518, patch_size=14),
    # as in its ViT-S, with the width of a ViT-B
    "dinov3-vitb16": transformers.DINOv3ViTConfig(
        hidden_size=768, intermediate_size=3072, num_attention_heads=12, num_register_tokens=4
    ),
    # its config.json says no more than the sizes of the vocabulary and the image
    "siglip2-base-patch16-224": transformers.SiglipVisionConfig(),
}
WHOLE = {
    # what is in the published file, of which the card loads a part: class, parameters and where they were counted
    "videomae-large-finetuned-kinetics": ("VideoMAEForVideoClassification", 304_270_736),  # the hub: 304 M, 1.22 GB
    "vivit-b-16x2-kinetics400": ("VivitForVideoClassification", 88_954_000),  # the hub: 356 MB in float32
    "vjepa2-vitl-fpc64-256": ("VJEPA2Model", 325_971_328),  # a port of the file: 326.0 M
    "clip-vit-b-16": ("CLIPModel", 149_620_737),  # MTEB's card of revision 57c21647
    "siglip2-base-patch16-224": ("SiglipModel", 375_187_970),  # MTEB's card of revision 75de2d55
}
LORA_AT_RANK_16 = {
    # rank * (in + out) a linear layer: 768 * 2 each, 768 + 2304 for TimeSformer's joint qkv; the paper's 1,769,472
    **dict.fromkeys(CONFIGS, 12 * 4 * 16 * 2 * 768),
    "timesformer-base": 12 * 2 * 16 * ((768 + 2304) + (768 + 768)),
    "videomae-large-finetuned-kinetics": 24 * 4 * 16 * 2 * 1024,
    "vjepa2-vitl-fpc64-256": 24 * 4 * 16 * 2 * 1024,
    "vjepa2-vitl-fpc16-256-ssv2": 24 * 4 * 16 * 2 * 1024,
}
NORMS = ("layernorm", "post_layernorm", "norm", "encoder.layernorm", "head")
"""What stands behind the blocks, in the order of the pass."""


@pytest.fixture(scope="module")
def full_size():
    """Build every architecture at its real size, without memory for the weights."""
    made = {}
    with torch.device("meta"):
        for name, config in CONFIGS.items():
            card = catalog.card(name)
            model = getattr(transformers, card.architecture)(config, **card.options.get("init", {}))
            for part in card.options.get("unused", ()):
                delattr(model, part)
            made[name] = model
    return made


def test_every_row_with_transformers_weights_is_built_here():
    assert {row.name for row in catalog.CARDS.values() if row.family in {"video_transformer", "image"}} == set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_cards_count_the_real_architectures_parameters(name, full_size):
    counted = sum(weight.numel() for weight in full_size[name].parameters())
    assert catalog.card(name).parameters == counted == PARAMETERS[name]


@pytest.mark.parametrize("name", WHOLE)
def test_the_published_file_holds_this_part_and_the_named_heads(name, full_size):
    architecture, published = WHOLE[name]
    config = CONFIGS[name]
    if architecture == "CLIPModel":
        config = transformers.CLIPConfig(vision_config=config.to_dict())
    if architecture == "SiglipModel":
        config = transformers.SiglipConfig(text_config={"vocab_size": 256_000}, vision_config=config.to_dict())
    config.num_labels = 400  # of Kinetics
    with torch.device("meta"):
        whole = getattr(transformers, architecture)(config)
    assert sum(weight.numel() for weight in whole.parameters()) == published
    card, part = catalog.card(name), set(full_size[name].state_dict())
    own = tuple(f"{tower}." for tower in ("videomae", "vivit", "vision_model"))
    left = {key for key in whole.state_dict() if not key.startswith(own) and key not in part}
    outside = (*card.options["heads"], *(f"{unused}." for unused in card.options.get("unused", ())))
    assert left
    assert {key for key in left if not key.startswith(outside)} == set()
    assert all(any(key.startswith(head) for key in left) for head in outside)
    inside = {key.split(".", 1)[1] if key.startswith(own) else key for key in set(whole.state_dict()) - left}
    assert inside == part


@pytest.mark.parametrize(
    ("name", "tensors"),
    # a strict loader of the encoder's part of V-JEPA 2 counts 388; a user of DINOv3's file 211
    [("vjepa2-vitl-fpc64-256", 388), ("dinov3-vitb16", 211)],
)
def test_state_dicts_have_as_many_tensors_as_published(name, tensors, full_size):
    assert len(full_size[name].state_dict()) == tensors


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_are_every_block_and_the_final_norm(name, full_size):
    card, model = catalog.card(name), full_size[name]
    modules = dict(model.named_modules())
    [blocks] = [path for path, module in modules.items() if isinstance(module, torch.nn.ModuleList)]
    expected = [f"{blocks}.{i}" for i in range(len(modules[blocks]))]
    expected += [path for path in NORMS if path in modules]
    assert list(card.layers) == expected
    assert len(modules[blocks]) == (24 if "large" in name or "vitl" in name else 12)
    assert card.default_layer == expected[-1]
    assert card.width == model.config.hidden_size
    size = "crop_size" if "vjepa2" in name else "image_size"
    assert getattr(model.config, size) == card.options.get("trained_size", card.size)
    if card.modality == "video":
        frames = "frames_per_clip" if "vjepa2" in name else "num_frames"
        assert card.sampling.frames == getattr(model.config, frames)


@pytest.mark.parametrize("name", CONFIGS)
def test_prefix_tokens_are_what_is_no_patch(name, full_size):
    card, model = catalog.card(name), full_size[name]
    shape = (3, card.size, card.size)
    shape = (1, card.sampling.frames, *shape) if card.modality == "video" else (1, *shape)
    tubelet = getattr(model.config, "tubelet_size", 1)
    tubelet, patch = (tubelet, model.config.patch_size) if isinstance(tubelet, int) else tubelet[:2]
    steps = card.sampling.frames // tubelet if card.modality == "video" else 1
    with torch.device("meta"), torch.no_grad():
        embeddings = model.encoder.embeddings if "vjepa2" in name else model.embeddings
        pixels = torch.empty(shape)
        found = embeddings(pixels, None) if "videomae" in name else embeddings(pixels)
    assert found.shape[1] == steps * (card.size // patch) ** 2 + card.options["prefix_tokens"]


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


def test_commits_are_pinned():
    files = {card.name for card in catalog.CARDS.values() if card.checkpoint is None or "://" in card.checkpoint}
    assert {card.name for card in catalog.CARDS.values() if card.revision is None} == files


def test_frames_are_the_cards():
    frames = {name: catalog.card(name).sampling.frames for name in CONFIGS}
    assert frames == {
        **{name: 7 for name in CONFIGS if catalog.card(name).family == "image"},
        "timesformer-base": 8,
        "videomae-base-finetuned-kinetics": 16,
        "videomae-large-finetuned-kinetics": 16,
        "vivit-b-16x2-kinetics400": 32,
        "vjepa2-vitl-fpc64-256": 64,
        "vjepa2-vitl-fpc16-256-ssv2": 16,
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
        assert row.revision is None or re.fullmatch("[0-9a-f]{40}", row.revision)


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


@pytest.mark.parametrize("alias", catalog.ALIASES)
def test_an_alias_is_another_name_of_one_row(alias):
    assert alias == alias.lower()
    assert catalog.card(alias.upper()) is catalog.CARDS[catalog.ALIASES[alias]]
    assert alias not in {name.lower() for name in catalog.CARDS}


def test_the_papers_image_model_has_its_short_name():
    # the text names B/16; the numbers of its table are B/32's
    assert catalog.card("clip").checkpoint == "openai/clip-vit-base-patch32"
    assert "clip-vit-b-32" in " ".join(table2())


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


def test_several_windows_need_a_rate():
    with pytest.raises(VidsimError, match="2 windows have no rate; expected fps"):
        Sampling(frames=8, windows=2)


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
