"""Frame cache: every clip's prepared frames once on disk, so that no clip is decoded twice."""

import hashlib
import json
import logging
import math
import os
import struct
import time
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import torch
from jaxtyping import UInt8
from torch import Tensor

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.data.video import content_hash
from vidsim.data.video import decoder as decoder_named
from vidsim.disk import reason, remedy
from vidsim.encoders.frame_encoder import FramedEncoder
from vidsim.encoders.machine import FEWER, able
from vidsim.encoders.vision_language import VisionLanguage
from vidsim.errors import UnusableFile, VidsimError
from vidsim.extract.plan import file_entry, refuse_changing
from vidsim.extract.run import Progress, Quiet
from vidsim.extract.threads import decoding_threads
from vidsim.store import Entry

FORMAT = 3
"""Version of the files: frames (t, 3, h, w), uint8 in C order, then h and w, then the checksum of all these bytes."""

NORMALISING = frozenset({"factor", "mean", "std"})
"""Steps that come after what is kept."""

SIDES = struct.Struct("<II")
"""Height and width of the frames, in pixels; models of one size have them too, so that all files are alike."""

CHECKSUM = 16
"""Bytes of the checksum, BLAKE2b."""

TAIL = SIDES.size + CHECKSUM
"""Bytes behind the frames."""

DRAFT = ".draft"
"""End of the name of a file that is being written."""

STALE = 3600.0
"""Seconds after which a draft must be that of a process that was killed: a clip is written in milliseconds."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Clip:
    """One distinct content, and a file that has it."""

    key: str
    entry: Entry

    @property
    def path(self) -> Path:
        return Path(self.entry.path)


class FrameCache:
    """Keep the prepared frames of clips in files, and map these into memory when asked for.

    A file is named by what its pixels depend on: the clip's bytes, the decoder, the sampling and the preprocessing. A
    changed clip is therefore decoded anew, a moved or copied one is not, and encoders that see the same pixels share
    files. Files are written whole or not at all: processes may be killed, and may share a folder. Several that fill it
    at the same time do no harm, but may decode a clip each; let one go first.

    Parameters
    ----------
    folder : Path
        Where the files lie; made when there is something to write. Nothing else should lie there.
    encoder : FramedEncoder or VisionLanguage
        Whose frames they are.
    decoder : {"pyav", "decord"}
        Name of the video decoder.
    """

    def __init__(self, folder: Path, encoder: FramedEncoder | VisionLanguage, decoder: str = "pyav") -> None:
        sampling = encoder.card.sampling
        assert sampling is not None, f"{encoder.card.name} takes frames but its card has no sampling"
        self.folder = folder
        # not the encoder: its weights would stay in memory
        self._prepare, self._name, self._sampling = encoder.preprocess.frame, encoder.card.name, sampling
        self._reader = decoder_named(decoder)
        self._facts = {
            "format": FORMAT,
            "decoder": decoder,
            "sampling": asdict(sampling),
            "preprocess": {k: v for k, v in encoder.preprocess.provenance.items() if k not in NORMALISING},
        }
        self._clips: dict[str, _Clip] = {}

    @property
    def digest(self) -> str:
        """Return a hash of the ids that the cache has been filled with, and of their frames."""
        keys = "".join(f"{name}\0{clip.key}\n" for name, clip in sorted(self._clips.items()))
        return hashlib.sha256(keys.encode()).hexdigest()

    def fill(
        self, stimuli: StimulusSet, *, workers: int = 2, progress: Progress | None = None
    ) -> dict[str, UnusableFile]:
        """Decode the clips that are not in the cache, and check the files of those that are.

        Parameters
        ----------
        stimuli : StimulusSet
            Stimuli with paths; `get` knows their ids afterwards.
        workers : int
            Threads that hash and decode, at least 1. Memory holds one clip for each.
        progress : Progress, optional
            Told how decoding goes; nothing where all is there.

        Returns
        -------
        dict of str to UnusableFile
            By id, in the order of the stimuli: clips that cannot be used.

        Raises
        ------
        VidsimError
            If the files cannot be written, or memory does not suffice; those that have been stay.
        """
        self._sweep()
        progress = progress or Quiet()
        failures: dict[str, UnusableFile] = {}
        clips: dict[str, _Clip] = {}
        owners: dict[str, list[str]] = {}
        with decoding_threads(workers) as pool:
            for stimulus, outcome in zip(stimuli, pool.map(self._look, stimuli), strict=True):
                if isinstance(outcome, UnusableFile):
                    failures[stimulus.id] = outcome
                else:
                    clips.setdefault(outcome.key, outcome)
                    owners.setdefault(outcome.key, []).append(stimulus.id)
            found = pool.map(self._check, clips.values())
            missing = [clip for clip, whole in zip(clips.values(), found, strict=True) if not whole]
            if missing:
                progress.begin(len(missing), self._name)
            done = failed = 0
            jobs = {pool.submit(self._make, clip): clip for clip in missing}
            for job in as_completed(jobs):
                clip, error = jobs[job], job.result()
                if error is not None:
                    failures.update(dict.fromkeys(owners.pop(clip.key), error))
                done, failed = done + (error is None), failed + (error is not None)
                progress.advance(done, failed)
        self._clips.update((name, clips[key]) for key, names in owners.items() for name in names)
        for name in failures:
            self._clips.pop(name, None)
        return {name: failures[name] for name in stimuli.ids if name in failures}

    def get(self, name: str) -> UInt8[Tensor, "t 3 h w"]:
        """Return the frames of a clip, as `encoder.prepare` made them.

        Parameters
        ----------
        name : str
            Id of a stimulus that the cache has been filled with.

        Returns
        -------
        tensor of shape (t, 3, h, w)
            Mapped: nothing is read before it is used. What is written into it stays in this process's memory.

        Raises
        ------
        VidsimError
            If the cache has not been filled with that stimulus, or its file is gone and cannot be made again.
        """
        clip = self._clips.get(name)
        if clip is None:
            raise VidsimError(f"no frames of {name!r} in the cache; fill it with that stimulus first")
        path = self._path(clip)
        sides = self._sides(path)
        if sides is None:  # somebody has cleared up
            log.warning("%r is gone or cut off; decoding %r again", os.fspath(path), os.fspath(clip.path))
            error = self._make(clip)
            if error is not None:
                raise error
            sides = self._sides(path)
            assert sides is not None, f"{path} went as it was written"
        shape = (self._sampling.frames, 3, *sides)
        pixels = torch.from_file(os.fspath(path), shared=False, size=math.prod(shape), dtype=torch.uint8)
        return pixels.view(shape)

    def _look(self, stimulus: Stimulus) -> _Clip | UnusableFile:
        """Find out what a stimulus is called in the cache."""
        try:
            entry = file_entry(stimulus)
            content = content_hash(Path(entry.path))
        except UnusableFile as error:
            return error
        facts = json.dumps({**self._facts, "content": content}, sort_keys=True)
        key = hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()
        return _Clip(key, entry)

    def _check(self, clip: _Clip) -> bool:
        """Say whether a clip's file is there and whole."""
        path = self._path(clip)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("%r cannot be read: %s", os.fspath(path), error.strerror)
            return False
        whole = self._read_sides(data[-TAIL:], len(data)) is not None
        if whole and _checksum(memoryview(data)[:-CHECKSUM]) == data[-CHECKSUM:]:
            return True
        log.warning("%r is cut off or damaged; decoding %r again", os.fspath(path), os.fspath(clip.path))
        return False

    def _make(self, clip: _Clip) -> UnusableFile | None:
        """Decode a clip and write its file; return why it cannot be used, if so."""
        try:
            with able("cpu", FEWER):
                frames = self._reader.decode(clip.path, self._sampling.times, self._prepare).images
            refuse_changing(clip.entry)
        except UnusableFile as error:
            return error
        images: Tensor = torch.as_tensor(frames)
        count, colours, *sides = images.shape
        assert (count, colours) == (self._sampling.frames, 3), f"frames of shape {tuple(images.shape)}"
        self._write(self._path(clip), images.contiguous().numpy().data.cast("B"), SIDES.pack(*sides))
        return None

    def _write(self, path: Path, pixels: memoryview, sides: bytes) -> None:
        draft = path.with_name(f"{path.name}.{uuid4().hex}{DRAFT}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                with draft.open("xb") as file:
                    file.write(pixels)
                    file.write(sides)
                    file.write(_checksum(pixels, sides))
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            size = f"{pixels.nbytes / 1e6:.1f} MB a clip"
            raise VidsimError(
                f"cannot write frames ({size}) to {os.fspath(self.folder)!r}: {reason(error)}; what is there stays, "
                f"{remedy(error)} and run again"
            ) from error

    def _path(self, clip: _Clip) -> Path:
        return self.folder / f"{clip.key}.frames"

    def _sides(self, path: Path) -> tuple[int, int] | None:
        """Return the height and the width of the frames in a file; None where it is gone or of another length."""
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL))
                return self._read_sides(file.read(), size)
        except OSError:
            return None

    def _read_sides(self, tail: bytes, size: int) -> tuple[int, int] | None:
        """Return the height and the width that stand at the end of a file; None where its length is another's."""
        if size <= TAIL:
            return None
        height, width = SIDES.unpack_from(tail)
        return (height, width) if self._sampling.frames * 3 * height * width + TAIL == size else None

    def _sweep(self) -> None:
        """Remove what killed processes have left."""
        for draft in self.folder.glob(f"*{DRAFT}"):
            try:
                if time.time() - draft.stat().st_mtime > STALE:
                    draft.unlink()
            except OSError:  # another process has just finished or removed it
                continue


def _checksum(*parts: memoryview | bytes) -> bytes:
    total = hashlib.blake2b(digest_size=CHECKSUM)
    for part in parts:
        total.update(part)
    return total.digest()
