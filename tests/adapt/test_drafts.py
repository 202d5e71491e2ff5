import os
import time

import pytest

from vidsim.adapt.drafts import ABANDONED_SECONDS, Taken, remove_abandoned, replaced
from vidsim.adapt.manifest import Manifest

OLD = ABANDONED_SECONDS + 60


def aged(path, seconds):
    """Let a folder and everything in it have been changed so many seconds ago."""
    moment = time.time() - seconds
    for one in (*path.rglob("*"), path):
        os.utime(one, (moment, moment), follow_symlinks=False)


def draft(folder, name, seconds):
    made = folder / f".draft-{name}"
    (made / "mine").mkdir(parents=True)
    (made / "mine" / "adapter_model.safetensors").write_bytes(b"half")
    aged(made, seconds)
    return made


def write_manifest(folder, name):
    folder.mkdir(parents=True)
    empty = {"base": {}, "layer": "x", "head": 0, "files": {}, "recipe": {}, "data": {}, "versions": {}, "curve": []}
    Manifest(name=name, seed=0, parameters=1, **empty).write(folder)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_drafts_go_when_they_are_old_and_only_then(tmp_path):
    draft(tmp_path, "old", OLD)
    draft(tmp_path, "young", ABANDONED_SECONDS - 60)
    draft(tmp_path, "of a clock that is ahead", -OLD)
    draft(tmp_path, "odd", OLD).rename(tmp_path / "draft-of-mine")
    write_manifest(tmp_path / "mine", "mine")
    aged(tmp_path / "mine", OLD)
    (tmp_path / ".mine.state.safetensors").write_bytes(b"state")
    (tmp_path / ".draft-note").write_text("a file")
    for name in (".mine.state.safetensors", ".draft-note"):
        os.utime(tmp_path / name, (0, 0))
    kept = set(names(tmp_path)) - {".draft-old"}
    remove_abandoned(tmp_path)
    assert set(names(tmp_path)) == kept


@pytest.mark.parametrize("what", ["mine/adapter_model.safetensors", "mine", ""])
def test_a_draft_in_which_anything_has_just_changed_stays(tmp_path, what):
    made = draft(tmp_path, "busy", OLD)
    os.utime(made / what)
    remove_abandoned(tmp_path)
    assert (made / "mine" / "adapter_model.safetensors").read_bytes() == b"half"


def test_a_link_is_no_draft(tmp_path):
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "precious").write_text("mine")
    aged(target, OLD)
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / ".draft-link").symlink_to(target)
    os.utime(tmp_path / "adapters" / ".draft-link", (0, 0), follow_symlinks=False)
    remove_abandoned(tmp_path / "adapters")
    assert (target / "precious").read_text() == "mine"
    inside = draft(tmp_path / "adapters", "old", OLD)
    (inside / "link").symlink_to(target)
    aged(inside, OLD)
    remove_abandoned(tmp_path / "adapters")
    assert names(tmp_path / "adapters") == [".draft-link"]
    assert (target / "precious").read_text() == "mine"


def test_an_adapter_that_was_to_be_replaced_comes_back(tmp_path):
    made = draft(tmp_path, "cut", OLD)
    write_manifest(made / "before" / "mine", "the name that it had before it was renamed")
    (made / "before" / "mine" / "README.md").write_text("edited by hand")
    aged(made, OLD)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ["mine"]
    assert (tmp_path / "mine" / "README.md").read_text() == "edited by hand"


def test_an_adapter_that_was_replaced_does_not(tmp_path):
    write_manifest(tmp_path / "mine", "mine")
    made = draft(tmp_path, "done", OLD)
    write_manifest(made / "before" / "mine", "mine")
    (made / "before" / "mine" / "README.md").write_text("old")
    aged(made, OLD)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == ["mine"]
    assert names(tmp_path / "mine") == ["vidsim.json"]


def test_what_is_broken_or_missing_is_no_reason_to_stop(tmp_path):
    remove_abandoned(tmp_path / "nowhere")
    made = draft(tmp_path, "broken", OLD)
    (made / "before" / "mine").mkdir(parents=True)
    (made / "before" / "mine" / "README.md").write_text("no adapter")
    aged(made, OLD)
    remove_abandoned(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["mine", "before", "made"])
def test_a_folder_is_replaced_whole(name, tmp_path):
    for content in ("one", "two"):
        with replaced(tmp_path / name) as made:
            assert names(made) == []
            (made / content).write_text(content)
            assert (tmp_path / name / "one").exists() == (content == "two")
        assert names(tmp_path) == [name]
        assert names(tmp_path / name) == [content]


def test_an_error_leaves_what_was_there(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "old").write_text("old")

    def fail():
        with replaced(tmp_path / "mine") as made:
            (made / "new").write_text("half")
            raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        fail()
    assert names(tmp_path) == ["mine"]
    assert names(tmp_path / "mine") == ["old"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_has_appeared_meanwhile_is_replaced_only_when_asked(kind, tmp_path):
    def write(force):
        with replaced(tmp_path / "mine", force=force) as made:
            (made / "new").write_text("new")
            if kind == "file":
                (tmp_path / "mine").write_text("other")
            else:
                (tmp_path / "mine").mkdir()
                (tmp_path / "mine" / "other").write_text("other")

    with pytest.raises(Taken, match=r"^another run has left '.*mine' meanwhile; move it elsewhere, or replace it with"):
        write(force=False)
    assert names(tmp_path) == ["mine"]
    assert (tmp_path / "mine" if kind == "file" else tmp_path / "mine" / "other").read_text() == "other"
    (tmp_path / "mine").rename(tmp_path / "moved")
    write(force=True)
    assert names(tmp_path / "mine") == ["new"]


def test_what_was_there_comes_back_where_the_new_cannot_take_its_place(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "old").write_text("old")

    def fail():
        with replaced(tmp_path / "mine") as made:
            made.rmdir()

    with pytest.raises(FileNotFoundError):
        fail()
    assert names(tmp_path) == ["mine"]
    assert names(tmp_path / "mine") == ["old"]
