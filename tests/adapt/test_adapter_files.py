"""Files of an adapter that were changed, with hashes brought up to date, are refused by name and cause."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tiny_adapters import write_adapter

from vidsim.adapt.card import card_of, resolve_adapter
from vidsim.adapt.folder import find_adapter, hash_file
from vidsim.adapt.manifest import read_manifest
from vidsim.cli.model_facts import facts_of
from vidsim.encoders import catalog
from vidsim.errors import VidsimError

CONFIG, WEIGHTS, GOLDEN = "adapter_config.json", "adapter_model.safetensors", "golden.safetensors"
REMEDY = "restore it from where the adapter came from, or train again"


@pytest.fixture
def adapter(publish, tmp_path, monkeypatch):
    made = publish("dino-vitb16")
    monkeypatch.setitem(catalog.CARDS, "dino-vitb16", made.card)
    return write_adapter(tmp_path, "mine", made)[0], str(made.folder)


def rehashed(folder, name):
    manifest = read_manifest(folder)
    replace(manifest, files={**manifest.files, name: hash_file(folder / name)}).write(folder)


def refused(adapter, name):
    folder, checkpoint = adapter
    rehashed(folder, name)
    with pytest.raises(VidsimError) as caught:
        catalog.load(resolve_adapter(folder, checkpoint=checkpoint), device="cpu")
    return str(caught.value).replace(f"{str(folder / name)!r}", name)


def test_an_adapter_is_found_by_text_as_by_a_path(adapter):
    folder, checkpoint = adapter
    by_path = resolve_adapter(folder, checkpoint=Path(checkpoint))
    assert resolve_adapter(str(folder), checkpoint=checkpoint) == by_path
    assert read_manifest(str(folder)) == read_manifest(folder)
    assert find_adapter(folder.parents[1], folder.name) == find_adapter(str(folder.parents[1]), folder.name) == folder


@pytest.mark.parametrize("rule", ["x", "none"])
def test_a_pooling_that_the_base_has_not_names_the_file(adapter, rule):
    folder, checkpoint = adapter
    manifest = read_manifest(folder)
    replace(manifest, base={**manifest.base, "pooling": rule}).write(folder)
    with pytest.raises(VidsimError) as caught:
        resolve_adapter(folder, checkpoint=checkpoint)
    told = f"{str(folder / 'vidsim.json')!r} has '{rule}' as 'base.pooling', which dino-vitb16 cannot have; {REMEDY}"
    assert str(caught.value) == told


def with_tensors(adapter, name, change):
    state = load_file(adapter[0] / name)
    change(state)
    save_file(state, adapter[0] / name)
    return refused(adapter, name)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("r", "x", """has "x" as 'r', expected a whole number, at least 1"""),
        ("r", 0, "has 0 as 'r', expected a whole number, at least 1"),
        ("r", True, "has true as 'r', expected a whole number, at least 1"),
        ("lora_alpha", None, "has null as 'lora_alpha', expected a number above 0"),
        ("lora_dropout", 1, "has 1 as 'lora_dropout', expected a number, at least 0 and below 1"),
        ("target_modules", None, "has null as 'target_modules', expected a list of names"),
        ("target_modules", [], "has [] as 'target_modules', expected a list of names"),
        ("peft_type", "NOPE", """has "NOPE" as 'peft_type', expected "LORA\""""),
        ("peft_type", "ADALORA", """has "ADALORA" as 'peft_type', expected "LORA\""""),
        ("use_dora", True, "has true as 'use_dora', expected false"),
        ("rank_pattern", 5, "has 5 as 'rank_pattern', expected {}"),
        ("layers_to_transform", 0, "has 0 as 'layers_to_transform', expected null"),
        ("zzz", 8, "has an unknown 'zzz'"),
    ],
)
def test_a_configuration_that_nobody_trained(adapter, key, value, message):
    path = adapter[0] / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    assert refused(adapter, CONFIG) == f"{CONFIG} {message}; {REMEDY}"


@pytest.mark.parametrize(
    ("text", "message"), [("{", "of the adapter cannot be read"), ("[]", "is no JSON object"), ("{}", "lacks 'lora_al")]
)
def test_a_configuration_that_is_none(adapter, text, message):
    (adapter[0] / CONFIG).write_text(text)
    assert refused(adapter, CONFIG).startswith(f"{CONFIG} {message}")


def test_layers_that_are_not_there(adapter):
    path = adapter[0] / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {"target_modules": ["nowhere"]}))
    assert refused(adapter, CONFIG).endswith(f"; {CONFIG} was changed: {REMEDY}")


def test_notes_may_be_others(adapter):
    folder, checkpoint = adapter
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": "x", "peft_version": "0"}))
    rehashed(folder, CONFIG)
    assert catalog.load(resolve_adapter(folder, checkpoint=checkpoint), device="cpu").card.name == "mine"


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(adapter, odd):
    name = max(load_file(adapter[0] / WEIGHTS))
    message = f"{WEIGHTS} has NaN or infinity in {name}, expected finite weights; {REMEDY}"
    assert with_tensors(adapter, WEIGHTS, lambda state: state[name][0].fill_(odd)) == message


def test_another_golden_embedding_has_two_causes(adapter):
    found = with_tensors(adapter, GOLDEN, lambda state: state["embedding"].add_(1))
    assert "a library computes otherwise (compare the versions in vidsim.json), or a file was changed; " in found


def test_a_golden_file_without_its_embedding(adapter):
    found = with_tensors(adapter, GOLDEN, lambda state: state.update(e=state.pop("embedding")))
    assert found == f"{GOLDEN} holds e, expected 'embedding'; {REMEDY}"


def test_a_file_that_is_cut_off(adapter):
    (adapter[0] / GOLDEN).write_bytes(b"short")
    assert refused(adapter, GOLDEN).startswith(f"{GOLDEN} of the adapter cannot be read")


def test_a_renamed_folder_gives_the_encoder_its_name(adapter):
    folder, checkpoint = adapter
    moved = folder.rename(folder.with_name("renamed"))
    loaded = catalog.load(resolve_adapter(moved, checkpoint=checkpoint), device="cpu")
    assert loaded.card.name == loaded.resolved.identity["encoder"] == "renamed"


def test_a_base_in_a_folder_that_cannot_be_looked_into_is_sought_elsewhere(adapter, tmp_path, locked, monkeypatch):
    folder, checkpoint = adapter
    manifest = read_manifest(folder)
    replace(manifest, base={**manifest.base, "local": f"{tmp_path}/locked/base"}).write(folder)
    locked(tmp_path / "locked")
    asked, resolve = [], catalog.resolve

    def elsewhere(name, **options):
        asked.append(options["checkpoint"])
        return resolve(name, **{**options, "checkpoint": checkpoint, "revision": None})

    monkeypatch.setattr(catalog, "resolve", elsewhere)
    assert resolve_adapter(folder).card.name == "mine"
    assert asked == [None]
    base = facts_of(catalog.card("dino-vitb16"))
    assert facts_of(card_of(read_manifest(folder), folder))["cached"] == base["cached"]
