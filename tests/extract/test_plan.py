"""The plan: what is done, moved, known to fail or to be encoded."""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.data.video import captions_hash, content_hash, joint_content
from vidsim.extract.plan import FILES, Plan, file_entry, plan
from vidsim.store import Entry, Failure
from vidsim.store.schema import ENTRY

OWN, OTHER = "own.0123", "other.4567"
"""Ledger scopes of two encoders."""


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three files of the same size."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode() * 50)
    return tmp_path


def stimulus(path, name="", *captions):
    return Stimulus(name or path.name, path, captions)


def entry_of(path, name=""):
    """Describe a file as a row of the store does."""
    return replace(file_entry(stimulus(path, name), content_hash(path)), duration=2.0)


def touch(path):
    """Change the modification time alone."""
    then = path.stat().st_mtime_ns - 10**9
    os.utime(path, ns=(then, then))


def planned(stimuli, rows=(), failures=(), **options):
    stored = pa.Table.from_pylist([asdict(row) for row in rows], schema=pa.schema(ENTRY)) if rows else None
    chosen = stimuli if isinstance(stimuli, StimulusSet) else StimulusSet(tuple(stimuli), named=False)
    return plan(chosen, stored, list(failures), scopes=["pyav", OWN], **options)


def failure_of(path, scope="pyav", **changes):
    entry = entry_of(path)
    told = {"id": entry.id, "content": entry.content, "size": entry.size, "mtime_ns": entry.mtime_ns}
    return Failure(path=entry.path, scope=scope, kind="truncated", reason="cut", **{**told, **changes})


def test_without_a_table_everything_is_to_be_encoded(folder):
    stimuli = [stimulus(folder / f"{name}.mp4") for name in "ab"]
    assert planned(stimuli) == Plan(todo=stimuli)


def test_unchanged_files_are_done_and_not_hashed(folder, monkeypatch):
    path = folder / "a.mp4"
    row = entry_of(path)
    monkeypatch.setattr(sys.modules["vidsim.extract.plan"], "content_hash", lambda _: pytest.fail("hashed"))
    assert planned([stimulus(path)], [row]) == Plan(done=["a.mp4"])


@pytest.mark.parametrize("named", [False, True])
def test_a_file_that_hides_its_change_is_found_where_all_are_read(folder, named):
    one, two, three = (folder / f"{name}.mp4" for name in "abc")
    rows = [entry_of(path) for path in (one, two)]
    failure = failure_of(three)
    for path in (two, three):
        then = path.stat().st_mtime_ns
        path.write_bytes(b"x" * 50)
        os.utime(path, ns=(then, then))
    stimuli = StimulusSet(tuple(map(stimulus, (one, two, three))), named=named)
    assert planned(stimuli, rows, [failure]) == Plan(done=["a.mp4", "b.mp4"], known_failures=[failure])
    again = planned(stimuli, rows, [failure], checksum=True)
    assert again == Plan(done=["a.mp4"], todo=[stimulus(two), stimulus(three)])


def test_a_touched_file_keeps_its_row_and_a_changed_one_is_encoded_anew(folder):
    one, two, three = (folder / f"{name}.mp4" for name in "abc")
    rows = [entry_of(path) for path in (one, two, three)]
    touch(one)
    two.write_bytes(b"x" * 50)  # the same size
    touch(two)
    three.write_bytes(b"longer" * 50)
    touched = replace(rows[0], mtime_ns=one.stat().st_mtime_ns)
    stimuli = [stimulus(path) for path in (one, two, three)]
    assert planned(stimuli, rows) == Plan(copies=[("a.mp4", touched, False)], todo=stimuli[1:])


def test_a_moved_file_takes_its_row_along_and_a_copied_one_does_not(folder):
    old = [entry_of(folder / "a.mp4", "old a"), entry_of(folder / "b.mp4", "old b")]
    (folder / "a.mp4").rename(folder / "new a.mp4")
    (folder / "new b.mp4").write_bytes((folder / "b.mp4").read_bytes())
    paths = [folder / "new a.mp4", folder / "new b.mp4"]
    moved, copied = (entry_of(path) for path in paths)
    expected = Plan(copies=[("old a", moved, True), ("old b", copied, False)])
    assert planned([stimulus(path) for path in paths], old) == expected


def test_a_file_that_is_indexed_under_another_id_is_the_same_unless_a_table_names_it(folder):
    path = folder / "a.mp4"
    row = entry_of(path, "sub/a.mp4")
    assert planned([stimulus(path)], [row]) == Plan(done=["sub/a.mp4"])
    named = StimulusSet((stimulus(path),))
    assert planned(named, [row]) == Plan(copies=[("sub/a.mp4", entry_of(path), False)])


def test_an_id_that_another_file_has_gets_folders_put_before_it(folder):
    row = entry_of(folder / "a.mp4")
    place = folder / "two" / "a.mp4"
    place.parent.mkdir()
    place.write_bytes(b"else" * 9)
    assert planned([stimulus(place)], [row]) == Plan(todo=[Stimulus("two/a.mp4", place)])
    named = StimulusSet((stimulus(place),))
    assert planned(named, [row]) == Plan(todo=[stimulus(place)])


def test_failures_hold_until_their_file_changes(folder):
    known, touched, changed = (failure_of(folder / f"{name}.mp4") for name in "abc")
    touch(folder / "b.mp4")
    (folder / "c.mp4").write_bytes(b"x" * 50)
    touch(folder / "c.mp4")
    stimuli = [stimulus(folder / f"{name}.mp4") for name in "abc"]
    failures = [known, touched, changed]
    assert planned(stimuli, failures=failures) == Plan(known_failures=[known, touched], todo=stimuli[2:])
    assert planned(stimuli, failures=failures, retry=True) == Plan(todo=stimuli)


@pytest.mark.parametrize(("scope", "concerns"), [("pyav", True), (OWN, True), ("decord", False), (OTHER, False)])
def test_failures_of_another_decoder_or_encoder_do_not_concern(folder, scope, concerns):
    path = folder / "a.mp4"
    failure = failure_of(path, scope)
    assert planned([stimulus(path)], failures=[failure]) == (
        Plan(known_failures=[failure]) if concerns else Plan(todo=[stimulus(path)])
    )


def test_what_cannot_be_looked_at_is_new_once(folder):
    (folder / "sub").mkdir()
    stimuli = StimulusSet(
        (Stimulus("no path"), stimulus(folder / "gone.mp4"), stimulus(folder / "sub")),
        unreadable=((folder / "locked", "cannot list the folder"),),
    )
    first = planned(stimuli)
    assert [(f.path, f.id, f.scope, f.kind) for f in first.new_failures] == [
        ("no path", "no path", FILES, "no-path"),
        (f"{folder}/gone.mp4", "gone.mp4", FILES, "vanished"),
        (f"{folder}/sub", "sub", FILES, "not-a-file"),
        (f"{folder}/locked", "", FILES, "unreadable"),
    ]
    assert planned(stimuli, failures=first.new_failures) == Plan(known_failures=first.new_failures)
    others = [replace(failure, reason="another") for failure in first.new_failures]
    assert planned(stimuli, failures=others) == first


def test_captions_are_done_while_they_are_the_same():
    row = Entry("a", "", captions_hash(("x", "y")), 3)
    same, fewer, none = Stimulus("a", captions=("x", "y")), Stimulus("a", captions=("x",)), Stimulus("a")
    assert planned([same], [row], modality="text") == Plan(done=["a"])
    assert planned([fewer], [row], modality="text") == Plan(todo=[fewer])
    assert planned([same], [row], modality="text", captions="first") == Plan(todo=[same])
    told = planned([none], [row], modality="text")
    assert [(f.path, f.scope, f.kind) for f in told.new_failures] == [("a", FILES, "no-caption")]


@pytest.mark.parametrize("place", [None, "/v/a.mp4"])
def test_captions_that_could_not_be_stored_are_tried_again_when_they_change(place):
    content = captions_hash(("x",))
    failure = Failure(path=place or "a", id="a", content=content, scope=OWN, kind="invalid-embedding")
    path = Path(place) if place else None
    same, other = (Stimulus("a", path, (caption,)) for caption in "xy")
    assert planned([same], failures=[failure], modality="text") == Plan(known_failures=[failure])
    assert planned([other], failures=[failure], modality="text") == Plan(todo=[other])
    assert planned([same], failures=[failure], modality="text", retry=True) == Plan(todo=[same])
    stranger = replace(failure, scope=OTHER)
    assert planned([same], failures=[stranger], modality="text") == Plan(todo=[same])


def test_a_clip_with_a_caption_is_done_while_both_are_the_same(folder):
    path = folder / "a.mp4"
    entry = entry_of(path)
    row = replace(entry, content=joint_content(entry.content, ("x",)))
    same, other = stimulus(path, "", "x"), stimulus(path, "", "y")
    assert planned([same], [row], modality="video+text") == Plan(done=["a.mp4"])
    assert planned([other], [row], modality="video+text") == Plan(todo=[other])


def test_a_row_whose_folder_cannot_be_looked_into_stays(folder, locked):
    path = folder / "a.mp4"
    row = replace(entry_of(path), id="old.mp4", path=f"{folder}/locked/old.mp4")
    stimuli = [stimulus(folder / f"{name}.mp4") for name in "ab"]
    locked(folder / "locked")
    assert planned(stimuli, [row]) == Plan(copies=[("old.mp4", entry_of(path), False)], todo=stimuli[1:])
