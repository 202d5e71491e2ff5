"""The plan: which stimuli are done, moved, known to fail, and which must be encoded."""

import os
import stat
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import pyarrow as pa

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.data.video import captions_hash, content_hash, file_content, joint_content
from vidsim.encoders.base import Modality
from vidsim.errors import UnusableFile
from vidsim.paths import vanished
from vidsim.store import Entry, Failure

FILES = "files"
"""Scope of ledger entries that concern the file itself, before any decoder has seen it."""

NO_CAPTION = "no-caption"
"""Kind of the one failure in this scope that is of the captions instead."""


@dataclass
class Plan:
    """Hold what an extraction will do.

    Parameters
    ----------
    done : list of str
        Ids whose embeddings are in the store already.
    copies : list of (str, Entry, bool)
        Rows to write again under another id or path: source id, new entry, whether the source row goes.
    known_failures : list of Failure
        Ledger entries that still hold.
    new_failures : list of Failure
        Files that cannot even be read, or not for the reason that is known.
    todo : list of Stimulus
        Stimuli to encode.
    """

    done: list[str] = field(default_factory=list)
    copies: list[tuple[str, Entry, bool]] = field(default_factory=list)
    known_failures: list[Failure] = field(default_factory=list)
    new_failures: list[Failure] = field(default_factory=list)
    todo: list[Stimulus] = field(default_factory=list)


def file_entry(stimulus: Stimulus, content: str = "") -> Entry:
    """Describe a stimulus file as it is on disk now.

    Parameters
    ----------
    stimulus : Stimulus
        A stimulus with a path.
    content : str
        Hash of the file's bytes, where known.

    Returns
    -------
    Entry
        Id, path, size in bytes, modification time in ns.

    Raises
    ------
    UnusableFile
        If the stimulus has no path, or there is no regular file that can be looked at.
    """
    path = stimulus.path
    if path is None:
        raise UnusableFile("no-path", f"stimulus {stimulus.id!r} has no path; this encoder needs a video file")
    try:
        status = path.stat()
    except FileNotFoundError:
        raise UnusableFile("vanished", f"{os.fspath(path)!r} is not there (any more); restore it or drop it") from None
    except OSError as error:
        raise UnusableFile("unreadable", f"{os.fspath(path)!r} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UnusableFile("not-a-file", f"{os.fspath(path)!r} is not a regular file")
    return Entry(stimulus.id, path.as_posix(), content, status.st_size, status.st_mtime_ns)


def refuse_changing(before: Entry) -> None:
    """Refuse a file that was not left alone while it was read.

    Parameters
    ----------
    before : Entry
        Of `file_entry`, before it was read.

    Raises
    ------
    UnusableFile
        If its size or modification time is another now, or it is gone.
    """
    after = file_entry(Stimulus(before.id, Path(before.path)))
    if (before.size, before.mtime_ns) != (after.size, after.mtime_ns):
        raise UnusableFile("changing", f"{before.path!r} changed while it was read; run again when it is complete")


def caption_entry(stimulus: Stimulus, captions: Literal["mean", "first"]) -> tuple[Entry, tuple[str, ...]]:
    """Describe a stimulus by the captions that will be encoded.

    Parameters
    ----------
    stimulus : Stimulus
        A stimulus with captions.
    captions : {"mean", "first"}
        Which captions are used.

    Returns
    -------
    tuple
        The entry (its content is a hash of the captions used) and those captions.

    Raises
    ------
    UnusableFile
        If there is no caption.
    """
    used = used_captions(stimulus, captions)
    if not used:
        raise UnusableFile(NO_CAPTION, f"stimulus {stimulus.id!r} has no caption; this encoder reads captions")
    path = stimulus.path.as_posix() if stimulus.path else ""
    return Entry(stimulus.id, path, captions_hash(used), len("\0".join(used).encode())), used


def used_captions(stimulus: Stimulus, captions: Literal["mean", "first"]) -> tuple[str, ...]:
    """Return the captions of a stimulus that are encoded; there may be none."""
    return stimulus.captions[:1] if captions == "first" else stimulus.captions


def plan(
    stimuli: StimulusSet,
    stored: pa.Table | None,
    failures: Sequence[Failure],
    *,
    scopes: Sequence[str],
    modality: Modality = "video",
    captions: Literal["mean", "first"] = "mean",
    retry: bool = False,
    checksum: bool = False,
    workers: int = 2,
) -> Plan:
    """Compare stimuli with the store and the failure ledger.

    A file whose path, size and modification time are those of its row is taken as unchanged, unless ``checksum`` is
    given; its bytes are hashed only where another row has the same size, or to tell a touched file from a changed one.

    Parameters
    ----------
    stimuli : StimulusSet
        What is asked for.
    stored : pyarrow.Table, optional
        Entries of the table that will be written; None where there is none yet.
    failures : sequence of Failure
        The ledger.
    scopes : sequence of str
        Scopes of the ledger that concern this extraction: decoder and encoder.
    modality : {"video", "image", "text", "video+text"}
        Modality of the encoder: whether files, captions, or both are compared.
    captions : {"mean", "first"}
        Which captions are used, where any are.
    retry : bool
        Try files again that failed before.
    checksum : bool
        Hash files also where size and time are as before.
    workers : int
        Threads that hash files.

    Returns
    -------
    Plan
        What to do.
    """
    return _Planner(stored, failures, [*scopes, FILES], modality, captions, retry, checksum).plan(stimuli, workers)


class _Planner:
    def __init__(
        self,
        stored: pa.Table | None,
        failures: Sequence[Failure],
        scopes: Sequence[str],
        modality: Modality,
        captions: Literal["mean", "first"],
        retry: bool,
        checksum: bool,
    ) -> None:
        rows: list[dict[str, object]] = stored.to_pylist() if stored is not None else []
        entries = [Entry(**row) for row in rows]  # pyright: ignore[reportArgumentType]
        self.by_id: Mapping[str, Entry] = {e.id: e for e in entries}
        self.by_path: Mapping[str, Entry] = {e.path: e for e in entries if e.path}
        self.by_content: Mapping[str, Entry] = {e.content: e for e in entries}
        self.sizes = {e.size for e in entries}
        self.failed = {} if retry else {f.path: f for f in failures if f.scope in scopes}
        self.checksum = checksum
        self.modality: Modality = modality
        self.captions: Literal["mean", "first"] = captions

    def plan(self, stimuli: StimulusSet, workers: int) -> Plan:
        result = Plan()
        wanted = set(stimuli.ids)
        if self.modality != "text":
            compare = partial(self._file, named=stimuli.named, wanted=wanted)
            with ThreadPoolExecutor(workers) as pool:
                outcomes = list(pool.map(compare, stimuli))
        else:
            outcomes = [self._caption(s) for s in stimuli]
        for outcome in outcomes:
            if isinstance(outcome, Stimulus):
                result.todo.append(outcome)
            elif isinstance(outcome, str):
                result.done.append(outcome)
            elif isinstance(outcome, tuple):
                result.copies.append(outcome)
            else:
                self._sort(outcome, result)
        for path, reason in stimuli.unreadable:
            self._sort(Failure(path=_printable(path), scope=FILES, kind="unreadable", reason=reason), result)
        return result

    def _sort(self, failure: Failure, result: Plan) -> None:
        known = self.failed.get(failure.path)
        same = known is not None and (known.kind, known.reason) == (failure.kind, failure.reason)
        (result.known_failures if same else result.new_failures).append(failure)

    def _caption(self, stimulus: Stimulus) -> "Outcome":
        try:
            entry, _ = caption_entry(stimulus, self.captions)
        except UnusableFile as error:
            return Failure(path=stimulus.id, id=stimulus.id, scope=FILES, kind=error.kind, reason=error.reason)
        row = self.by_id.get(stimulus.id)
        if row is not None and row.content == entry.content:
            return row.id
        failure = self.failed.get(entry.path or entry.id)
        return failure if failure is not None and failure.content == entry.content else stimulus

    def _file(self, stimulus: Stimulus, named: bool, wanted: set[str]) -> "Outcome":
        try:
            return self._compare(stimulus, file_entry(stimulus), named, wanted)
        except UnusableFile as error:
            key = stimulus.path.as_posix() if stimulus.path else stimulus.id
            return Failure(path=key, id=stimulus.id, scope=FILES, kind=error.kind, reason=error.reason)

    def _compare(self, stimulus: Stimulus, entry: Entry, named: bool, wanted: set[str]) -> "Outcome":
        row = self.by_id.get(entry.id)
        if not named and (row is None or row.path != entry.path):
            # the file may have been indexed from another folder, under another id: it is the same stimulus
            row = self.by_path.get(entry.path, row)
        here = row is not None and row.path == entry.path
        captions = used_captions(stimulus, self.captions) if self.modality == "video+text" else ()
        read = row is not None and row.content == joint_content(file_content(row.content), captions)
        if row is not None and here and read and self._untouched(row, entry):
            return row.id
        failure = self.failed.get(entry.path)
        if failure is not None and self._untouched(failure, entry):
            return failure
        content = ""
        if entry.size in self.sizes or (failure is not None and failure.size == entry.size):
            content = content_hash(Path(entry.path))
        if failure is not None and file_content(failure.content) == content:
            return failure
        content = joint_content(content, captions)
        if row is not None and row.content == content:  # touched, or moved with its folder
            now = replace(entry, id=row.id if here else entry.id, content=content, duration=row.duration)
            return row.id if now == row else (row.id, now, False)
        if here and row is not None:  # changed
            name = row.id
        else:  # another file may have this id; a table says itself which file is meant
            name = entry.id if named or row is None else self._free_id(stimulus, wanted)
        twin = self.by_content.get(content)
        if twin is None:
            return replace(stimulus, id=name)
        gone = twin.id not in wanted and vanished(twin.path)
        return twin.id, replace(entry, id=name, content=content, duration=twin.duration), gone

    def _untouched(self, known: Entry | Failure, entry: Entry) -> bool:
        return not self.checksum and (known.size, known.mtime_ns) == (entry.size, entry.mtime_ns)

    def _free_id(self, stimulus: Stimulus, wanted: set[str]) -> str:
        """Put folder names before an id until it is nobody else's; depends on the path alone, so a rerun agrees."""
        path = (stimulus.path or Path(stimulus.id)).as_posix()
        folders = path.removesuffix(stimulus.id).rstrip("/").split("/")
        name = stimulus.id
        for folder in reversed(folders):
            name = f"{folder}/{name}"
            if name not in wanted and name not in self.by_id:
                return name
        return path


Outcome = str | tuple[str, Entry, bool] | Failure | Stimulus


def _printable(path: Path) -> str:
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()
