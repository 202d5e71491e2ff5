import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vidsim.encoders import catalog
from vidsim.encoders.checkpoint import cache_folder, hash_config, hash_weights, weights_of
from vidsim.errors import VidsimError


def whole(_layer, features):
    return features


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Keep every cache of the test in its own folder."""
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "vidsim-cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "vidsim-cache"


def rewrite(made, change):
    state = load_file(made.folder / "model.safetensors")
    change(state)
    save_file(state, made.folder / "model.safetensors", metadata={"format": "pt"})


def pickled(made, state):
    (made.folder / "model.safetensors").unlink()
    torch.save(state, made.folder / "pytorch_model.bin")


def fails(made, error=VidsimError):
    with pytest.raises(error) as told:
        catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    message = str(told.value)
    assert "\n" not in message
    return message


QKV = "encoder.layer.1.attention.attention.qkv.weight"


def test_missing_weights_are_named(publish):
    made = publish("timesformer-base")
    rewrite(made, lambda state: state.pop(f"timesformer.{QKV}"))
    assert f"{QKV} is missing" in fails(made)


def test_surplus_weights_are_named(publish):
    made = publish("timesformer-base")
    rewrite(made, lambda state: state.update({"timesformer.encoder.layer.7.novel.weight": torch.zeros(2)}))
    assert "encoder.layer.7.novel.weight is left over" in fails(made)


def test_a_renamed_weight_is_told_twice(publish):
    made = publish("clip-vit-b-32")
    name = "vision_model.encoder.layers.0.mlp.fc1.bias"
    rewrite(made, lambda state: state.update({f"{name}_": state.pop(name)}))
    message = fails(made)
    assert "encoder.layers.0.mlp.fc1.bias is missing" in message
    assert "encoder.layers.0.mlp.fc1.bias_ is left over" in message


def test_weights_of_another_shape_are_refused_with_both(publish):
    made = publish("dino-vitb16")
    name = "encoder.layer.0.intermediate.dense.bias"
    rewrite(made, lambda state: state.update({name: torch.zeros(63)}))
    assert "layers.0.mlp.fc1.bias is 63, expected 64" in fails(made)


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_missing_files_are_named(missing, publish):
    made = publish("timesformer-base")
    (made.folder / missing).unlink()
    message = fails(made)
    assert missing in message
    assert str(made.folder) in message


def test_broken_files_are_named(publish):
    made = publish("timesformer-base")
    (made.folder / "config.json").write_text("{")
    assert "config.json' cannot be read as JSON" in fails(made)
    made.folder.rename(made.folder.with_name("broken"))
    again = publish("timesformer-base")
    weights = again.folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    assert f"'{weights}' cannot be read as safetensors: " in fails(again)


@pytest.mark.parametrize("content", ["[1]", "null", '"x"', "[" * 100_000])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors.index.json"])
def test_json_of_another_form_is_told(name, content, publish):
    made = publish("dino-vitb16")
    if name == "model.safetensors.index.json":
        (made.folder / "model.safetensors").unlink()
    (made.folder / name).write_text(content)
    assert f"{name}' " in (message := fails(made))
    assert message.endswith("download it again")
    assert len(message) < 300


@pytest.mark.parametrize(
    "places", [{}, {"weight_map": None}, {"weight_map": ["a"]}, {"weight_map": {"a": 1, "b": "c"}}]
)
def test_an_index_without_files_is_told(places, publish):
    made = publish("dino-vitb16")
    (made.folder / "model.safetensors").unlink()
    (made.folder / "model.safetensors.index.json").write_text(json.dumps(places))
    assert "model.safetensors.index.json' has no weight_map from weights to files; download it again" in fails(made)


@pytest.mark.parametrize("modules", [None, {}, {"path": ""}, ["a"], [1], [{"path": ""}, None]])
def test_modules_of_another_form_are_told(modules, publish):
    folder = publish("dino-vitb16").folder
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(VidsimError, match=r"modules\.json' holds .*; expected a list.*; download it again"):
        catalog.resolve("all-mpnet-base-v2", checkpoint=str(folder))


@pytest.mark.parametrize("name", ["timesformer-base", "clip-vit-b-32"])
def test_pickles_of_plain_tensors_are_converted_once(name, publish, clips, caches):
    made = publish(name)
    plain = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    pickled(made, dict(made.state))
    resolved = catalog.resolve(made.card, checkpoint=str(made.folder))
    encoder = catalog.load(resolved, device="cpu")
    found, expected = (one.encode(clips(made.card, 1), made.card.layers, whole) for one in (encoder, plain))
    for layer in made.card.layers:
        np.testing.assert_array_equal(found[layer], expected[layer])
    [converted] = (caches / "checkpoints").iterdir()
    before = (converted / "model.safetensors").stat().st_mtime_ns
    catalog.load(resolved, device="cpu")
    assert (converted / "model.safetensors").stat().st_mtime_ns == before
    assert not list(made.folder.glob("*.safetensors"))  # the user's folder is left as it is


def test_sharded_pickles_are_put_together(publish, clips):
    made = publish("timesformer-base")
    expected = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    (made.folder / "model.safetensors").unlink()
    shards = [f"pytorch_model-0000{i}-of-00002.bin" for i in (1, 2)]
    placed = {name: shards[i % 2] for i, name in enumerate(made.state)}
    for shard in shards:
        torch.save({name: made.state[name] for name, where in placed.items() if where == shard}, made.folder / shard)
    (made.folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    encoder = catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")
    batch, layer = clips(made.card, 1), made.card.layers[-1]
    np.testing.assert_array_equal(*(one.encode(batch, [layer], whole)[layer] for one in (encoder, expected)))
    (made.folder / shards[1]).unlink()
    assert f"names '{shards[1]}', which is not there" in fails(made)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_with_code_is_refused_and_not_run(publish, tmp_path):
    made = publish("timesformer-base")
    sign = tmp_path / "run"
    pickled(made, {**made.state, "bomb": Bomb(sign)})
    assert "is not a pickle of plain tensors" in fails(made)
    (made.folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(sign)))
    assert "is not a pickle of plain tensors" in fails(made)
    assert not sign.exists()
    pickled_more = {"model_state": dict(made.state), "epoch": 3}
    torch.save(pickled_more, made.folder / "pytorch_model.bin")
    assert "holds more than named tensors" in fails(made)


def test_hashes_are_sha256_and_follow_content(publish):
    made = publish("timesformer-base")
    expected = hashlib.sha256((made.folder / "model.safetensors").read_bytes()).hexdigest()
    assert hash_weights(made.folder) == expected
    assert weights_of(made.folder) == (made.folder / "model.safetensors",)
    before = hash_config(made.folder)
    config = json.loads((made.folder / "config.json").read_text())
    (made.folder / "config.json").write_text(
        json.dumps({**config, "transformers_version": "9", "id2label": {"0": "x"}})
    )
    assert hash_config(made.folder) == before
    (made.folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.5}))
    assert hash_config(made.folder) != before


@pytest.mark.parametrize(
    "name", ["special_tokens_map.json", "added_tokens.json", "sentence_roberta_config.json", "tokenizer_config.json"]
)
def test_files_that_change_tokens_are_part_of_the_identity(name, publish):
    folder = publish("dino-vitb16").folder
    hashes = [hash_config(folder)]
    for content in ('{"max_seq_length": 9}', '{"max_seq_length": 5}'):
        (folder / name).write_text(content)
        hashes.append(hash_config(folder))
    assert len(set(hashes)) == 3


def test_an_adapter_beside_the_weights_is_refused(publish):
    made = publish("dinov2-base")
    (made.folder / "adapter_config.json").write_text("{}")
    message = (
        f"'{made.folder / 'adapter_config.json'}': an adapter of PEFT lies beside the weights, and libraries add it"
    )
    assert fails(made).startswith(message)


def test_a_processor_of_another_spelling_is_the_same_identity(publish):
    made = publish("videomae-base-finetuned-kinetics")
    path = made.folder / "preprocessor_config.json"
    spellings = [
        {"feature_extractor_type": "VideoMAEFeatureExtractor", "size": 224},
        {"image_processor_type": "VideoMAEImageProcessor", "size": {"shortest_edge": 224}, "crop_size": 224},
        {"do_normalize": True, "do_resize": True, "size": 224, "resample": 2},  # the oldest files name no class
    ]
    identities = []
    for spelling in spellings:
        path.write_text(json.dumps(spelling))
        identities.append(catalog.resolve(made.card, checkpoint=str(made.folder)).identity)
    assert identities[0] == identities[1] == identities[2]


def test_identity_knows_what_matters(publish):
    made = publish("timesformer-base")
    base = catalog.resolve(made.card, checkpoint=str(made.folder)).identity
    mean = catalog.resolve(made.card, checkpoint=str(made.folder), pooling="mean").identity
    assert {key for key in base if base[key] != mean[key]} == {"pooling"}
    processor = json.loads((made.folder / "preprocessor_config.json").read_text())
    (made.folder / "preprocessor_config.json").write_text(json.dumps({**processor, "resample": 3}))
    other = catalog.resolve(made.card, checkpoint=str(made.folder)).identity
    assert {key for key in base if base[key] != other[key]} == {"preprocess"}
    rewrite(made, lambda state: state["classifier.bias"].add_(1))
    changed = catalog.resolve(replace(made.card), checkpoint=str(made.folder)).identity
    assert {key for key in other if other[key] != changed[key]} == {"weights"}


def test_an_unknown_home_folder_is_told(monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", "~nosuchuser/cache")
    with pytest.raises(VidsimError, match="'~nosuchuser/cache' begins with a home folder that is not known here"):
        cache_folder()
