"""Every card, snippet and command of the guide to models works."""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from fenced import blocks, commands

from vidsim.encoders import catalog, user_cards

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "models.md").read_text()


@pytest.fixture
def guided(tmp_path, clips, monkeypatch):
    """Follow the guide: its cards, its package, and a folder of clips."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("VIDSIM_CARDS", str(tmp_path / "cards"))
    (tmp_path / "cards").mkdir()
    *cards, project = blocks(GUIDE, "toml")
    for number, card in enumerate(cards):
        (tmp_path / "cards" / f"{number}.toml").write_text(card)
    site, package = tmp_path / "site", tmp_path / "site" / "mean_colour"
    package.mkdir(parents=True)
    for name, code in zip(("__init__.py", "encoder.py"), blocks(GUIDE, "python"), strict=True):
        (package / name).write_text(code)
    info = site / "mean_colour-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mean-colour\nVersion: 1.0\n")
    points = tomllib.loads(project)["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in those.items()) for group, those in points.items()]
    (info / "entry_points.txt").write_text("".join(lines))
    monkeypatch.syspath_prepend(str(site))
    shutil.copytree(clips, tmp_path / "clips")
    (tmp_path / "clips" / "clip 0.mp4").rename(tmp_path / "clips" / "first.mp4")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mean_colour"]:
        del sys.modules[name]


def test_the_cards_are_cards(guided):
    own = {name: card for name, card in catalog.cards().items() if name not in catalog.CARDS}
    assert list(own) == ["my-timesformer", "my-videomae", "my-captions", "mean-colour"]
    assert own["my-timesformer"].checkpoint == str(guided / "cards" / "my-timesformer")
    assert own["my-videomae"].layers == catalog.card("videomae").layers
    assert own["my-videomae"].lora_targets == catalog.card("videomae").lora_targets
    assert own["my-captions"].layers == catalog.card("all-MiniLM-L6-v2").layers


def test_the_commands_run(vidsim, guided):
    ran = []
    for command in commands(GUIDE):
        status, out, err = vidsim(*command)
        assert (status, err) == (0, "") or (status == 0 and command[0] == "index"), (command, err)
        assert out.strip(), command
        ran.append((command[0], out))
    assert [verb for verb, _ in ran] == [*["models"] * 6, "index", "search"]
    assert "my-timesformer" in ran[5][1]
    assert "clip 1" in ran[-1][1]
    shown = ran[1][1].splitlines()[1:]
    assert shown
    assert all("mpnet" in line for line in shown)


def tables():
    """Return the rows of the guide's tables by the name of their first column, without head and rule."""
    found = re.findall(r"^\| (?P<name>[\w ]+) \|.*\n\| ---.*\n(?P<rows>(?:\|.*\n)+)", GUIDE, re.MULTILINE)
    return {
        name: [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows.splitlines()]
        for name, rows in found
    }


def names(cell):
    return re.findall(r"`(.*?)`", cell)


def test_every_key_is_explained():
    assert {name for row in tables()["key"] for name in names(row[0])} == set(user_cards.KEYS)


def test_every_option_is_explained_with_its_families_and_an_example():
    told = {}
    for options, families, meaning, examples in tables()["option"]:
        assert meaning
        for option, example in zip(names(options), names(examples), strict=True):
            kind, _ = user_cards.OPTIONS[option]
            assert user_cards.CHECKS[kind](tomllib.loads(example)[option]), option
            told[option] = tuple(names(families))
    assert told == {option: families for option, (_, families) in user_cards.OPTIONS.items()}


def test_every_short_name_is_listed():
    assert dict(names(" ".join(row)) for row in tables()["short name"]) == catalog.ALIASES
