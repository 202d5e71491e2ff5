"""What a manifest may say is checked once, when it is read; its folder has the adapter's name."""

import json
from dataclasses import fields

import pytest
from tiny_adapters import BASE

from vidsim.adapt import manifest
from vidsim.adapt.card import card_of
from vidsim.adapt.manifest import Manifest, read_manifest
from vidsim.errors import VidsimError

MINILM = {**BASE, "encoder": "all-MiniLM-L6-v2"}
REMEDY = "restore it from where the adapter came from, or train again"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "adapters" / "mine"
    made.mkdir(parents=True)
    Manifest(
        name="mine",
        base=MINILM,
        layer="sentence_embedding",
        head=0,
        files={"golden.safetensors": "0123"},
        recipe={},
        data={"fitted": ["a"], "trials": 3},
        versions={"torch": "2"},
        seed=0,
        parameters=5,
        curve=[{"epoch": 0}],
    ).write(made)
    return made


def change(folder, key, value):
    facts = json.loads((folder / "vidsim.json").read_text())
    *outer, last = key.split("/")
    inner = facts
    for name in outer:
        inner = inner[name]
    inner[last] = value
    (folder / "vidsim.json").write_text(json.dumps(facts))


def refused(folder):
    with pytest.raises(VidsimError) as caught:
        read_manifest(folder)
    return str(caught.value)


def test_every_field_has_a_kind():
    assert set(manifest._KINDS) == {field.name for field in fields(Manifest)}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", 5, "has 5 as 'name', expected text"),
        ("base", None, "has null as 'base', expected an object"),
        ("base", {}, "lacks 'base.checkpoint'"),
        ("base", {**MINILM, "more": 1}, "has an unknown 'base.more'"),
        ("base/encoder", None, "has null as 'base.encoder', expected text"),
        ("base/local", 5, "has 5 as 'base.local', expected text or null"),
        ("layer", ["x"], """has ["x"] as 'layer', expected text"""),
        ("head", "x", """has "x" as 'head', expected a whole number, at least 0"""),
        ("head", True, "has true as 'head', expected a whole number, at least 0"),
        ("seed", -1, "has -1 as 'seed', expected a whole number, at least 0"),
        ("parameters", "x", """has "x" as 'parameters', expected a whole number, at least 0"""),
        ("files", None, "has null as 'files', expected an object of file names and their SHA-256"),
        ("files", {"head.safetensors": 5}, """has {"head.safetensors": 5} as 'files', expected an object of file"""),
        ("files", {"../x": "0"}, """has {"../x": "0"} as 'files', expected an object of file names"""),
        ("recipe", [], "has [] as 'recipe', expected an object"),
        ("data", None, "has null as 'data', expected an object"),
        ("data/fitted", 5, "has 5 as 'data.fitted', expected a list of texts"),
        ("data/trials", "x" * 99, f"""has "{"x" * 59}... as 'data.trials', expected a whole number"""),
        ("versions", {"torch": 2}, """has {"torch": 2} as 'versions', expected an object of texts"""),
        ("curve", None, "has null as 'curve', expected a list of objects"),
        ("curve", [1], "has [1] as 'curve', expected a list of objects"),
        ("more", 1, "has an unknown 'more'"),
    ],
)
def test_what_cannot_be_is_refused_by_file_and_key(folder, key, value, message):
    change(folder, key, value)
    assert refused(folder).startswith(f"{str(folder / 'vidsim.json')!r} {message}")
    assert refused(folder).endswith(f"; {REMEDY}")


def test_data_may_say_more_and_less(folder):
    change(folder, "data", {"anything": None})
    assert read_manifest(folder).data == {"anything": None}


def test_nesting_without_end_is_refused(folder):
    (folder / "vidsim.json").write_text("[" * 100_000)
    assert "cannot be read" in refused(folder)


def test_the_adapter_has_the_name_of_its_folder(folder):
    moved = folder.rename(folder.with_name("renamed"))
    made = read_manifest(moved)
    assert made.name == card_of(made, moved).name == "renamed"


@pytest.mark.parametrize("name", ["x3d-m", "X3D-M"])
def test_a_folder_cannot_have_the_name_of_an_encoder(folder, name):
    moved = folder.rename(folder.with_name(name))
    with pytest.raises(VidsimError, match=f"{name}' has the name of an encoder; give its folder another"):
        card_of(read_manifest(moved), moved)


def test_a_base_that_nobody_has_is_told_with_the_adapter(folder):
    change(folder, "base/encoder", "nothing like it")
    with pytest.raises(
        VidsimError,
        match=r"^the base of the adapter in '.*mine': no encoder named 'nothing like it'; put its card back$",
    ):
        card_of(read_manifest(folder), folder)


def test_a_layer_that_the_base_lacks_is_refused(folder):
    change(folder, "layer", "nope")
    with pytest.raises(VidsimError, match="names layer 'nope', all-MiniLM-L6-v2 has none such; restore it"):
        card_of(read_manifest(folder), folder)


def test_an_odd_adapter_keeps_no_other_from_being_listed(vidsim, folder):
    odd = folder.with_name("odd")
    odd.mkdir()
    (odd / "vidsim.json").write_bytes((folder / "vidsim.json").read_bytes())
    change(odd, "base", {})
    status, out, err = vidsim("models", "--family", "adapter", "--json", "--root", folder.parents[1])
    assert (status, [one["name"] for one in json.loads(out)]) == (0, ["mine"])
    assert err == f"left out: {str(odd / 'vidsim.json')!r} lacks 'base.checkpoint'; {REMEDY}\n"
