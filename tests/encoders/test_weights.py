"""Damaged and odd checkpoints are refused in one line, whatever the libraries below make of them."""

import json
import random
import resource
from contextlib import suppress

import pytest
import torch

from vidsim.encoders import catalog
from vidsim.encoders.pickled import read_pickle
from vidsim.encoders.weights import load_strictly, refuse_other_model
from vidsim.errors import VidsimError


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fails(made):
    with pytest.raises(VidsimError) as told:
        catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    assert "\n" not in str(told.value)
    return str(told.value)


def damaged(whole):
    """Cut a file off, and turn single bits in its first bytes, which are the pickle's."""
    draw = random.Random(0)
    yield from (whole[:length] for length in range(0, len(whole), len(whole) // 80))
    for _ in range(200):
        content = bytearray(whole)
        content[draw.randrange(min(len(whole), 2000))] ^= 1 << draw.randrange(8)
        yield bytes(content)


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_pickles_are_refused(zipped, tmp_path):
    path = tmp_path / "X.pyth"
    state = {"model_state": {f"w{i}": torch.randn(40) for i in range(6)}}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    read = 0
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        with suppress(VidsimError):
            read_pickle(path, "model_state")  # a wrong bit of a number is not seen
            read += 1
    assert read < 180


def test_what_has_no_name_is_no_state_dict(publish):
    made = publish("dino-vitb16")
    (made.folder / "model.safetensors").unlink()
    torch.save({3: torch.zeros(2)}, made.folder / "pytorch_model.bin")
    assert "pytorch_model.bin' holds more than named tensors; expected a plain state dict" in fails(made)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": "32"}, "hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"patch_size": 0}, "by zero"),
        ({"hidden_act": "nope"}, "nope"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "GPTQ"),
        ({"_attn_implementation": "flash_attention_2"}, "FlashAttention2"),
    ],
)
def test_a_configuration_that_cannot_be_built_is_told(changes, said, publish):
    made = publish("dino-vitb16")
    path = made.folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    message = fails(made)
    assert message.startswith(f"'{made.folder}' cannot be loaded as ViTModel: ")
    assert message.endswith("; expected config.json and weights as published")
    assert said in message


def test_a_full_disk_is_told_with_a_way_out(publish, caches):
    made = publish("dino-vitb16")
    (made.folder / "model.safetensors").unlink()
    torch.save(dict(made.state), made.folder / "pytorch_model.bin")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        message = fails(made)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"cannot be converted to safetensors under '{caches / 'checkpoints'}'" in message
    assert message.endswith("set VIDSIM_CACHE to a folder with room")
    assert list((caches / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ("NoModel", "transformers has no model 'NoModel'; expected one such as VideoMAEModel"),
        ("VideoMAEVideoProcessor", "transformers cannot give VideoMAEVideoProcessor: .*Torchvision"),
        ("AutoTokenizer", "cannot be loaded as AutoTokenizer"),
        ("TimmWrapperModel", "cannot be loaded as TimmWrapperModel"),
    ],
)
def test_a_class_that_does_not_suit_is_told(architecture, said, publish):
    with pytest.raises(VidsimError, match=said) as told:
        load_strictly(architecture, publish("dino-vitb16").folder)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("architecture", ["AutoModel", "PreTrainedModel"])
def test_a_class_of_all_models_is_none_of_one(architecture, publish):
    with pytest.raises(VidsimError, match=f"^{architecture} of transformers is no class of one model"):
        refuse_other_model(architecture, publish("dino-vitb16").folder)
