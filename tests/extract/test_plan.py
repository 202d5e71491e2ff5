"""The plan: what is done, moved, known to fail or to be encoded, and what that changes in ledger and table."""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.data.video import Frames, captions_hash, content_hash, joint_content
from vidsim.encoders import catalog
from vidsim.errors import UnusableFile
from vidsim.extract import FeatureSpec, run
from vidsim.extract.plan import FILES, Plan, file_entry, plan
from vidsim.extract.writer import Writer
from vidsim.store import Entry, Failure, Store
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


CARDS = {
    "video": catalog.card("motion-energy"),
    "text": catalog.card("all-MiniLM-L6-v2"),
}


@pytest.fixture
def ledger(tmp_path):
    """Return a store whose ledger has a failure of the same stimulus in every scope, and one of another."""
    store = Store(tmp_path / "root", create=True)
    scopes = ("pyav", "decord", OWN, OTHER, FILES)
    failures = [Failure(path="/v/a.mp4", id="a", scope=scope, kind="truncated") for scope in scopes]
    caption = Failure(path="a", id="a", scope=FILES, kind="no-caption")
    store.failures.record([*failures, caption, Failure(path="/v/b.mp4", id="b", scope="pyav")])
    return store


def mendable(store, modality):
    scopes = {"video": ["pyav", OWN], "text": [OWN]}[modality]
    return [failure for failure in store.failures if run._mendable(failure, scopes, CARDS[modality])]


LEFT = {
    "video": {("/v/a.mp4", "decord"), ("/v/a.mp4", OTHER), ("a", FILES), ("/v/b.mp4", "pyav")},
    "text": {*(("/v/a.mp4", scope) for scope in ("pyav", "decord", OTHER, FILES)), ("/v/b.mp4", "pyav")},
}
"""By modality: what a success with one encoder and decoder leaves in that ledger."""


def left(store):
    return {(failure.path, failure.scope) for failure in store.failures}


@pytest.mark.parametrize("modality", ["video", "text"])
def test_what_is_done_strikes_out_its_own_failures_alone(ledger, modality):
    run._settle(ledger, None, Plan(done=["a"]), mendable(ledger, modality))
    assert left(ledger) == LEFT[modality]


@pytest.mark.parametrize("modality", ["video", "text"])
def test_what_is_written_strikes_out_its_own_failures_alone(ledger, modality):
    def create(dims):
        return ledger.create("e", {}, dims, default_layer="l", versions={})

    known = mendable(ledger, modality)
    writer = Writer(ledger, None, create, origin="e", dtype="float32", scope=OWN, known_failures=known)
    with writer:
        writer.add([Entry("a", "", "00", 1)], {"l": np.ones((1, 2), np.float32)})
    assert left(ledger) == LEFT[modality]


def test_an_extraction_leaves_the_failures_of_other_encoders(clips, tmp_path):
    path = clips / "clip 0.mp4"
    store = Store(tmp_path, create=True)
    stranger, own = (failure_of(path, scope, content="00", mtime_ns=1) for scope in (OTHER, "pyav"))
    store.failures.record([stranger, own])
    stimuli = StimulusSet((stimulus(path),))
    for encoded in (1, 0):
        assert run.extract(stimuli, catalog.resolve("motion-energy"), store, device="cpu").encoded == encoded
        assert [failure.scope for failure in store.failures] == [OTHER]


def test_a_failure_stands_while_its_file_fails(ledger):
    known = mendable(ledger, "video")
    todo = Plan(done=["a"], known_failures=[f for f in known if f.scope == "pyav"])
    before = left(ledger)
    run._settle(ledger, None, todo, known)
    assert left(ledger) == before


def test_folders_that_can_be_looked_into_again_are_struck_out(tmp_path, locked):
    store = Store(tmp_path / "root", create=True)
    for name in ("open", "locked/in"):
        (tmp_path / name).mkdir(parents=True)
    kept = Failure(path=f"{tmp_path}/locked/in", scope=FILES, kind="unreadable")
    store.failures.record([replace(kept, path=f"{tmp_path}/open"), kept])
    locked(tmp_path / "locked")
    run._settle(store, None, Plan(), mendable(store, "video"))
    assert [failure.path for failure in store.failures] == [kept.path]


def test_rows_of_what_has_changed_and_fails_are_deleted(tmp_path):
    store = Store(tmp_path, create=True)
    table = store.create("e", {}, {"l": 2}, default_layer="l", versions={})
    rows = [Entry(name, f"/v/{name}.mp4", f"{k:032}", 1, 1) for k, name in enumerate("abc")]
    rows += [Entry(name, "", f"{k:032}", 1) for k, name in enumerate("de")]  # captions alone
    table.write(rows, {"l": np.ones((5, 2), np.float32)})
    changed = Failure(path="/v/a.mp4", id="a", content="f" * 32, scope="pyav")
    same = Failure(path="/v/b.mp4", id="b", content=rows[1].content, scope="pyav")
    unread = Failure(path="/v/c.mp4", id="c", scope=FILES)  # it may come back as it was
    others = [Failure(path=name, id=name, content=rows[3].content, scope=OWN) for name in "de"]
    run._settle(store, table, Plan(known_failures=[changed, same, *others], new_failures=[unread]), [])
    assert table.entries()["id"].to_pylist() == ["b", "c", "d"]
    assert [failure.path for failure in store.failures] == ["/v/c.mp4"]


def test_a_file_that_changes_while_it_is_read_is_refused(folder):
    path = folder / "a.mp4"
    frames = Frames(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1), 1.5)
    encoder = catalog.load(catalog.resolve("motion-energy"), device="cpu")
    entry, images = run._prepare(stimulus(path), encoder, lambda _: ("00", frames), FeatureSpec())
    assert entry == replace(entry_of(path), content="00", duration=1.5)
    assert images is frames.images

    def growing(path):
        with path.open("ab") as file:
            file.write(b"more")
        return "00", frames

    with pytest.raises(UnusableFile, match=r"a\.mp4' changed while it was read; run again when it is complete"):
        run._prepare(stimulus(path), encoder, growing, FeatureSpec())
