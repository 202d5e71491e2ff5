"""Weights that would be taken for others, or rounded to nothing, are refused, and copies in the cache are verified."""

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from zoo_files import write_zoo_file

from vidsim.encoders import catalog, pickled
from vidsim.encoders.pickled import read_pickle
from vidsim.errors import VidsimError

NAME = "encoder.layer.1.intermediate.dense.bias"
INDEX = "model.safetensors.index.json"


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(pickled, "CONVERTED", {})
    return tmp_path / "cache"


@pytest.fixture
def made(publish):
    return publish("dino-vitb16")


def load(made):
    return catalog.load(catalog.resolve(made.card, checkpoint=str(made.folder)), device="cpu")


def fails(made):
    with pytest.raises(VidsimError) as told:
        load(made)
    assert "\n" not in str(told.value)
    return str(told.value)


def rewrite(made, change):
    path = made.folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def pickle(made, state):
    (made.folder / "model.safetensors").unlink(missing_ok=True)
    torch.save(state, made.folder / "pytorch_model.bin")


def shard(made):
    """Turn the weights into two shards; return their names and the index."""
    state = load_file(made.folder / "model.safetensors")
    (made.folder / "model.safetensors").unlink()
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    placed = {name: names[i % 2] for i, name in enumerate(sorted(state))}
    for file in names:
        part = {name: state[name] for name, where in placed.items() if where == file}
        save_file(part, made.folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": placed}
    (made.folder / INDEX).write_text(json.dumps(index))
    return names, index


# names of the zoo


@pytest.mark.parametrize("suffix", [".pyth", ".safetensors"])
def test_a_file_that_is_published_as_another_models_is_refused(suffix, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-m")
    other = made.path.rename(tmp_path / f"X3D_XS{suffix}")
    with pytest.raises(VidsimError) as told:
        catalog.resolve(made.card, checkpoint=str(other))
    assert str(told.value) == (
        f"'{other}' is by its name the checkpoint of x3d-xs; --checkpoint of x3d-m expects X3D_M.pyth: rename the file "
        "if it really is x3d-m's, or give -e x3d-xs"
    )
    renamed = other.rename(tmp_path / f"mine{suffix}")
    assert catalog.resolve(made.card, checkpoint=str(renamed)).folder == renamed
    own = renamed.rename(tmp_path / f"X3D_M{suffix}")
    assert catalog.resolve(made.card, checkpoint=str(own)).folder == own


# numbers


@pytest.mark.parametrize(
    ("dtype", "said"),
    [(torch.int8, "I8"), (torch.int32, "I32"), (torch.float8_e4m3fn, "F8_E4M3"), (torch.bool, "BOOL")],
)
def test_rounded_weights_are_refused(dtype, said, made):
    rewrite(made, lambda state: {**state, NAME: state[NAME].to(dtype)})
    assert fails(made) == (
        f"'{made.folder / 'model.safetensors'}' holds {NAME} as {said}; expected BF16, F16, F32, F64: weights that "
        "were rounded or quantised cannot be used; download them in floating point"
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_taken(dtype, made):
    before = load(made).model.state_dict()
    rewrite(made, lambda state: {name: value.to(dtype) for name, value in state.items()})
    after = load(made).model.state_dict()
    assert all(torch.equal(value, before[name].to(dtype).float()) for name, value in after.items())
    assert before.keys() == after.keys()


def test_rounded_weights_of_shards_and_pickles_are_refused_by_file(made, caches):
    rewrite(made, lambda state: {**state, NAME: state[NAME].to(torch.int8)})
    state = load_file(made.folder / "model.safetensors")
    _, index = shard(made)
    assert f"'{made.folder / index['weight_map'][NAME]}' holds {NAME} as I8" in fails(made)
    for path in made.folder.glob("model*"):
        path.unlink()
    pickle(made, state)
    assert fails(made).startswith(f"'{made.folder / 'pytorch_model.bin'}' holds {NAME} as I8; expected ")
    assert list(caches.rglob("model.safetensors"))


def test_whole_numbers_of_the_model_itself_are_taken(publish, tmp_path):
    clip = publish("clip-vit-b-32")
    stored = load_file(clip.folder / "model.safetensors")
    assert stored["vision_model.embeddings.position_ids"].dtype == torch.int64
    load(clip)
    x3d = write_zoo_file(tmp_path, "x3d-xs")
    assert any(value.dtype == torch.int64 for value in x3d.state.values())
    catalog.load(catalog.resolve(x3d.card, checkpoint=str(x3d.path)), device="cpu")


@pytest.mark.parametrize("suffix", [".pyth", ".safetensors"])
def test_rounded_weights_of_the_zoo_are_refused(suffix, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    name = "blocks.4.res_blocks.0.branch2.conv_c.weight"
    state = {**made.state, name: made.state[name].to(torch.int32)}
    path = made.path.with_suffix(suffix)
    made.path.unlink()
    if suffix == ".pyth":
        torch.save({"model_state": state}, path)
    else:
        save_file(state, path)
    with pytest.raises(VidsimError) as told:
        catalog.load(catalog.resolve(made.card, checkpoint=str(path)), device="cpu")
    assert str(told.value).startswith(f"'{path}' holds {name} as I32; expected BF16")


def odd_tensors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about what it will drop
        return {
            "a quantised tensor (torch.qint8)": torch.quantize_per_tensor(torch.zeros(3), 1.0, 0, torch.qint8),
            "a tensor without numbers (of the meta device)": torch.empty(3, device="meta"),
            "a tensor of layout torch.sparse_coo": torch.zeros(2, 2).to_sparse(),
            "a tensor of layout torch.sparse_csr": torch.zeros(2, 2).to_sparse_csr(),
            "a nested tensor": torch.nested.nested_tensor([torch.zeros(2)]),
            "a tensor of torch.complex64": torch.zeros(2, dtype=torch.complex64),
            "a tensor of torch.complex128": torch.zeros(2, dtype=torch.complex128),
            "a tensor of torch.float8_e5m2": torch.zeros(2).to(torch.float8_e5m2),
        }


@pytest.mark.parametrize("part", [None, "model_state"])
@pytest.mark.parametrize("said", list(odd_tensors()))
def test_an_odd_tensor_of_a_pickle_is_named(said, part, tmp_path):
    state = {"w": torch.zeros(3), "odd.weight": odd_tensors()[said]}
    path = tmp_path / "X.pyth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(state if part is None else {part: state}, path)
    with pytest.raises(VidsimError) as told:
        read_pickle(path, part)
    assert str(told.value) == (
        f"'{path}' holds {said} under 'odd.weight'; expected dense tensors of float32, float16, bfloat16 or float64: "
        "save the model's own state dict, or download it as published"
    )


# copies in the cache


def spoil(copy, how):
    path = copy / "model.safetensors"
    if how == "changed":
        save_file({name: value * 2 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "lost":
        path.unlink()
    elif how == "configured otherwise":
        config = json.loads((copy / "config.json").read_text())
        (copy / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.5}))
    else:
        assert how == "of an older version"
        copy.rename(copy.with_name(copy.name.rpartition("-")[0]))


@pytest.mark.parametrize(
    "how", ["changed", "cut off", "emptied", "lost", "configured otherwise", "of an older version"]
)
def test_a_copy_that_has_changed_is_made_again(how, made, clips, caches):
    pickle(made, dict(made.state))
    batch, layer = clips(made.card, 1), made.card.layers[-1]
    before = load(made).encode(batch, [layer], lambda _, features: features)[layer]
    [copy] = (caches / "checkpoints").iterdir()
    spoil(copy, how)
    after = load(made).encode(batch, [layer], lambda _, features: features)[layer]
    np.testing.assert_array_equal(after, before)
    assert list((caches / "checkpoints").iterdir()) == [copy]


def test_a_copy_of_the_zoo_that_has_changed_is_made_again(caches, tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    resolved = catalog.resolve(made.card, checkpoint=str(made.path))
    catalog.load(resolved, device="cpu")
    [copy] = (caches / "checkpoints").iterdir()
    spoil(copy, "changed")
    model = catalog.load(resolved, device="cpu").model
    for name, value in model.state_dict().items():
        assert torch.equal(value, made.state[name]), name


def test_a_damaged_copy_that_stays_is_not_used(made, caches, monkeypatch):
    pickle(made, dict(made.state))
    load(made)
    [copy] = (caches / "checkpoints").iterdir()
    spoil(copy, "cut off")
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    assert f"'{made.folder}' cannot be converted to safetensors under '{copy.parent}'" in fails(made)


def test_misfits_of_a_copy_name_the_users_folder(made, caches):
    pickle(made, {name: value for name, value in made.state.items() if name != NAME})
    message = fails(made)
    assert message.startswith(f"the weights in '{made.folder}' do not fit ViTModel: ")
    pickle(made, {**made.state, NAME: torch.zeros(3)})
    assert f"'{made.folder / 'config.json'}' are not as published" in (again := fails(made))
    config = json.loads((made.folder / "config.json").read_text())
    (made.folder / "config.json").write_text(json.dumps({**config, "hidden_act": "nope"}))
    broken = fails(made)
    assert broken.startswith(f"'{made.folder}' cannot be loaded as ViTModel: ")
    assert str(caches) not in message + again + broken


# damaged files


@pytest.mark.parametrize("length", [0, 5, 300, -100])
def test_a_damaged_file_is_named_and_to_be_downloaded_again(length, made):
    path = made.folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    message = fails(made)
    assert message.startswith(f"'{path}' cannot be read as safetensors: ")
    assert message.endswith("; it is damaged or cut off: download it again")


def test_a_damaged_shard_is_named(made):
    names, _ = shard(made)
    load(made)
    path = made.folder / names[1]
    path.write_bytes(path.read_bytes()[:300])
    assert fails(made).startswith(f"'{path}' cannot be read as safetensors: ")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_pointer_of_git_lfs_is_told(name, made):
    (made.folder / "model.safetensors").unlink()
    (made.folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n")
    assert fails(made) == (
        f"'{made.folder / name}' is a Git LFS pointer, not the weights; run git lfs pull in its repository, or "
        "download the file itself"
    )


def test_a_pointer_in_the_place_of_a_zoo_file_is_told(tmp_path):
    made = write_zoo_file(tmp_path, "x3d-xs")
    made.path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n")
    with pytest.raises(VidsimError, match=r"X3D_XS\.pyth' is a Git LFS pointer, not the weights; run git lfs pull"):
        catalog.resolve(made.card, checkpoint=str(made.path))


def test_an_index_without_metadata_or_places_is_told(made):
    _, index = shard(made)
    (made.folder / INDEX).write_text(json.dumps({"weight_map": index["weight_map"]}))
    assert fails(made) == (
        f"'{made.folder / INDEX}' has no metadata; expected an object, which may be empty, beside weight_map; add it, "
        "or download the file again"
    )
    (made.folder / INDEX).write_text(json.dumps({**index, "weight_map": {}}))
    assert f"'{made.folder / INDEX}' has no weight_map from weights to files; download it again" in fails(made)


def test_shards_without_their_index_are_told(made):
    names, _ = shard(made)
    (made.folder / INDEX).unlink()
    assert fails(made) == (
        f"no {INDEX} in '{made.folder}', which says what '{names[0]}' and the other shards hold; download it too"
    )


# misfits


def test_prefixed_weights_show_missing_and_left_over(made):
    rewrite(made, lambda state: {f"model.{name}": value for name, value in state.items()})
    count = len(made.state) - 3
    missing, surplus = fails(made).split(" do not fit ViTModel: ")[1].split(f" and {count} more; ")
    assert surplus.endswith(f" and {count} more")
    assert [missing.count(" is missing"), surplus.count(" is left over")] == [3, 3]
    assert all(name.startswith("model.") for name in surplus.split("; "))


def test_other_shapes_may_be_the_fault_of_the_configuration(made):
    config = json.loads((made.folder / "config.json").read_text())
    (made.folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 128}))
    message = fails(made)
    assert "is 64, expected 128" in message
    assert message.endswith(f"; either they or '{made.folder / 'config.json'}' are not as published")
