"""A download that is not whole: the line names what is missing, where, and how to get it."""

import json
import os
from dataclasses import replace

import huggingface_hub
import pytest
from tiny_hub import COMMIT, OTHER, in_hub_cache

from vidsim.encoders import catalog
from vidsim.encoders.locate import find_copy
from vidsim.errors import CheckpointUnavailable, VidsimError

REFUSED = "[Errno 111] Connection refused"


@pytest.fixture
def dino(publish, hub_folder):
    """Return a card and its download, in the cache's own form: links to blobs."""
    made = publish("dino-vitb16")
    folder = in_hub_cache(made, hub_folder, made.card.revision)
    as_links(folder)
    return made.card, folder


def as_links(folder):
    blobs = folder.parents[1] / "blobs"
    blobs.mkdir()
    for path in [path for path in folder.iterdir() if path.is_file()]:
        path.rename(blobs / path.name)
        path.symlink_to(os.path.relpath(blobs / path.name, folder))


def told(card, *, offline=True, kind=CheckpointUnavailable, **options):
    assert find_copy(card) is None
    with pytest.raises(VidsimError) as error:
        catalog.resolve(card, offline=offline, **options)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    return str(error.value)


def fetch(card, *names, options=""):
    return " ".join(["hf download", card.checkpoint, *names, "--revision", card.revision]) + options


def unreachable(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)


def test_a_whole_download_of_links_is_found(dino):
    assert find_copy(dino[0]) == ("hub", dino[1])


def test_the_whole_line(dino, monkeypatch):
    card, folder = dino
    (folder / "preprocessor_config.json").unlink()
    unreachable(monkeypatch, ConnectionError(REFUSED))
    assert told(card, offline=False) == (
        f"the download of dino-vitb16 cannot be used: in '{folder}' preprocessor_config.json is missing and the hub "
        f"cannot be reached ({REFUSED}); connect once and run this again, or run "
        f"'{fetch(card, 'preprocessor_config.json')}' where there is network and copy what it fetches into that "
        "folder, or give --checkpoint FOLDER with its files; motion-energy works offline"
    )


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_link_without_its_blob_is_told_as_such(name, dino):
    card, folder = dino
    (folder / name).resolve().unlink()
    message = told(card)
    assert f"in '{folder}' {name} is a link whose blob is gone and the hub was not to be asked; connect once" in message
    assert f"'{fetch(card, name)}'" in message


def test_the_weights_are_named_by_what_they_may_be(dino):
    card, folder = dino
    (folder / "model.safetensors").unlink()
    message = told(card)
    assert f"in '{folder}' model.safetensors (or pytorch_model.bin) is missing and" in message
    assert f"'{fetch(card)}'" in message  # everything: nobody here knows which


def test_each_missing_file_is_named(dino):
    card, folder = dino
    for path in folder.iterdir():
        path.unlink()
    names = "preprocessor_config.json is missing, config.json is missing, model.safetensors (or pytorch_model.bin) is"
    assert f"in '{folder}' {names} missing" in told(card)


def test_each_missing_shard_is_named(dino):
    card, folder = dino
    (folder / "model.safetensors").unlink()
    shards = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    index = {"weight_map": {str(number): name for number, name in enumerate(shards)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / shards[1]).touch()
    message = told(card)
    assert f"in '{folder}' {shards[0]} is missing, {shards[2]} is missing and" in message
    assert fetch(card, shards[0], shards[2]) in message
    (folder / "model.safetensors.index.json").unlink()
    assert f"in '{folder}' model.safetensors.index.json is missing and" in told(card)


def test_a_pipeline_names_the_part_that_has_no_weights(hub_folder):
    card = replace(catalog.card("all-mpnet-base-v1"), revision=COMMIT)
    folder = hub_folder / "models--sentence-transformers--all-mpnet-base-v1" / "snapshots" / COMMIT
    (folder / "0_Transformer").mkdir(parents=True)
    assert f"in '{folder}' modules.json is missing and" in told(card)
    (folder / "modules.json").write_text('[{"path": "0_Transformer"}, {"path": "1_Pooling"}]')
    assert f"in '{folder}' 0_Transformer/model.safetensors (or pytorch_model.bin) is missing and" in told(card)
    (folder / "0_Transformer" / "pytorch_model.bin").symlink_to("nowhere")
    assert f"in '{folder}' 0_Transformer/pytorch_model.bin is a link whose blob is gone and" in told(card)
    (folder / "modules.json").write_text('[{"path": "../../.."}]')
    assert "a file is not as it should be" in told(card)


def test_a_branch_leads_to_the_download_that_is_named(publish, hub_folder):
    made = publish("dino-vitb16")
    folder = in_hub_cache(made, hub_folder)
    (folder / "preprocessor_config.json").unlink()
    message = told(replace(made.card, revision=None))
    assert f"in '{folder}' preprocessor_config.json is missing" in message
    assert f"preprocessor_config.json --revision {COMMIT}'" in message


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("config.json", "", "Expecting value: line 1 column 1 (char 0)"),
        ("config.json", "[]", "its JSON has another form"),
        ("preprocessor_config.json", "{", "Expecting property name"),
    ],
)
def test_a_damaged_file_is_told_before_the_hub_is_asked(name, content, cause, offline, dino, monkeypatch):
    unreachable(monkeypatch, AssertionError)
    card, folder = dino
    (folder / name).write_text(content)
    message = told(card, offline=offline, kind=VidsimError)
    assert message.startswith(f"the download of dino-vitb16 cannot be used: in '{folder}' {name} is damaged ({cause}")
    assert f"; run '{fetch(card, name, options=' --force-download')}' where there is network" in message


def test_a_folder_in_a_files_place_is_not_called_damaged(dino):
    card, folder = dino
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "config.json cannot be read (Is a directory)" in told(card)


def test_the_cache_that_was_looked_in_is_named(hub_folder, monkeypatch):
    unreachable(monkeypatch, ConnectionError(REFUSED))
    assert told(catalog.card("timesformer-base"), offline=False) == (
        "no weights for timesformer-base: facebook/timesformer-base-finetuned-k400 (revision 8aaf40ea7d3d) is not in "
        f"the cache '{hub_folder}' and the hub cannot be reached ({REFUSED}); connect once and run this again, or give "
        "--checkpoint FOLDER with its files; motion-energy works offline"
    )


def test_another_revision_that_is_there_is_named(publish, hub_folder):
    made = publish("dino-vitb16")
    in_hub_cache(made, hub_folder, OTHER)
    assert f"(revision f205d5d8e640) is not in the cache '{hub_folder}' (which has 89abcdef0123) and" in told(made.card)


@pytest.mark.parametrize("offline", [True, False])
def test_a_cache_that_is_no_folder_is_told(offline, tmp_path, monkeypatch):
    unreachable(monkeypatch, AssertionError)
    home = tmp_path / "home"
    home.touch()
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(home))
    assert told(catalog.card("timesformer-base"), offline=offline, kind=VidsimError) == (
        f"the hub's cache cannot be '{home}/hub': '{home}' is no folder; set HF_HOME (or HF_HUB_CACHE) to one"
    )


def test_a_file_that_the_hubs_client_stumbles_over_is_not_the_network(hub_folder, monkeypatch):
    unreachable(monkeypatch, NotADirectoryError(20, "Not a directory", "/x/token"))
    message = told(catalog.card("timesformer-base"), offline=False)
    assert "and the hub's client cannot use '/x/token' (Not a directory); mend that, or give" in message
    assert "reached" not in message
