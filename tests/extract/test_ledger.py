"""What an extraction strikes out of the failure ledger, and what it leaves there."""

from dataclasses import replace

import numpy as np
import pytest

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.encoders import catalog
from vidsim.extract import extract
from vidsim.extract.ledger import mendable, settle
from vidsim.extract.plan import FILES, Plan
from vidsim.extract.writer import Writer
from vidsim.store import Entry, Failure, Store

OWN, OTHER = "own.0123", "other.4567"
"""Ledger scopes of two encoders."""

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


def mended_by(store, modality):
    scopes = {"video": ["pyav", OWN], "text": [OWN]}[modality]
    return [failure for failure in store.failures if mendable(failure, scopes, CARDS[modality])]


LEFT = {
    "video": {("/v/a.mp4", "decord"), ("/v/a.mp4", OTHER), ("a", FILES), ("/v/b.mp4", "pyav")},
    "text": {*(("/v/a.mp4", scope) for scope in ("pyav", "decord", OTHER, FILES)), ("/v/b.mp4", "pyav")},
}
"""By modality: what a success with one encoder and decoder leaves in that ledger."""


def left(store):
    return {(failure.path, failure.scope) for failure in store.failures}


@pytest.mark.parametrize("modality", ["video", "text"])
def test_what_is_done_strikes_out_its_own_failures_alone(ledger, modality):
    settle(ledger, None, Plan(done=["a"]), mended_by(ledger, modality))
    assert left(ledger) == LEFT[modality]


@pytest.mark.parametrize("modality", ["video", "text"])
def test_what_is_written_strikes_out_its_own_failures_alone(ledger, modality):
    def create(dims):
        return ledger.create("e", {}, dims, default_layer="l", versions={})

    known = mended_by(ledger, modality)
    writer = Writer(ledger, None, create, origin="e", dtype="float32", scope=OWN, known_failures=known)
    with writer:
        writer.add([Entry("a", "", "00", 1)], {"l": np.ones((1, 2), np.float32)})
    assert left(ledger) == LEFT[modality]


def test_an_extraction_leaves_the_failures_of_other_encoders(clips, tmp_path):
    path = clips / "clip 0.mp4"
    store = Store(tmp_path, create=True)
    told = {"path": path.as_posix(), "id": path.name, "content": "00", "size": path.stat().st_size, "mtime_ns": 1}
    stranger, own = (Failure(**told, scope=scope, kind="truncated", reason="cut") for scope in (OTHER, "pyav"))
    store.failures.record([stranger, own])
    stimuli = StimulusSet((Stimulus(path.name, path),))
    for encoded in (1, 0):
        assert extract(stimuli, catalog.resolve("motion-energy"), store, device="cpu").encoded == encoded
        assert [failure.scope for failure in store.failures] == [OTHER]


def test_a_failure_stands_while_its_file_fails(ledger):
    known = mended_by(ledger, "video")
    todo = Plan(done=["a"], known_failures=[f for f in known if f.scope == "pyav"])
    before = left(ledger)
    settle(ledger, None, todo, known)
    assert left(ledger) == before


def test_folders_that_can_be_looked_into_again_are_struck_out(tmp_path, locked):
    store = Store(tmp_path / "root", create=True)
    for name in ("open", "locked/in"):
        (tmp_path / name).mkdir(parents=True)
    kept = Failure(path=f"{tmp_path}/locked/in", scope=FILES, kind="unreadable")
    store.failures.record([replace(kept, path=f"{tmp_path}/open"), kept])
    locked(tmp_path / "locked")
    settle(store, None, Plan(), mended_by(store, "video"))
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
    settle(store, table, Plan(known_failures=[changed, same, *others], new_failures=[unread]), [])
    assert table.entries()["id"].to_pylist() == ["b", "c", "d"]
    assert [failure.path for failure in store.failures] == ["/v/c.mp4"]
