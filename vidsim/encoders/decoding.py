"""Decoding in processes: Python lets one thread run at a time, which holds decoding back where a GPU waits for it."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from io import BufferedReader, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vidsim.data.video import Frames, content_hash, decoder, show
from vidsim.encoders.base import Sampling
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.short_side import ShortSide
from vidsim.errors import UnusableFile, VidsimError

CRASHES = frozenset(one for one in signal.Signals if one.name in {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"})
"""How a process ends when a file breaks the decoder's own code."""

PREPARATIONS: Mapping[str, type[Preprocess]] = {"pillow": Preprocess, "torch": ShortSide}
"""What frames go through, by the name under which a process is told."""

CHILD = "from vidsim.encoders.decoding import serve; serve()"
PIPE_BYTES = 1 << 20
"""Bytes that a process can be ahead of its reader, where the system lets one say so."""


class DecodingProcesses:
    """Decode and prepare clips in processes, one for each thread that asks.

    A process ends when what it reads from does, so none outlives this one. One that a damaged file brings down costs
    that file alone.

    Parameters
    ----------
    decoder : {"pyav", "decord"}
        Name of the video decoder.
    sampling : Sampling
        Which frames.
    preprocess : Preprocess
        What they go through.
    pinned : bool
        Put frames into memory from which a GPU fetches them itself.
    unscaled : bool
        Leave frames as decoded where `Preprocess.can_wait`.
    """

    def __init__(
        self,
        decoder: str,
        sampling: Sampling,
        preprocess: Preprocess,
        *,
        pinned: bool = False,
        unscaled: bool = False,
    ) -> None:
        kind = next(name for name, one in PREPARATIONS.items() if type(preprocess) is one)
        steps = {"kind": kind, "preprocess": asdict(preprocess), "unscaled": unscaled}
        self._told = json.dumps({"decoder": decoder, "sampling": asdict(sampling), **steps}).encode() + b"\n"
        self._pinned = pinned
        self._own = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "DecodingProcesses":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._all:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def read(self, path: Path) -> tuple[str, Frames]:
        """Hash a file, decode it and prepare its frames.

        Parameters
        ----------
        path : Path
            The video file.

        Returns
        -------
        tuple of str and Frames
            Its `content_hash`, and images as a tensor of shape (t, 3, h, w), uint8; (t, h, w, 3) if not scaled.

        Raises
        ------
        UnusableFile
            If the file cannot be used.
        VidsimError
            If a process ends otherwise than by a crash of the decoder.
        """
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(os.fspath(path)).encode() + b"\n")
            answer = json.loads(process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise self._ended(process, path) from None
        if "kind" in answer:
            raise UnusableFile(answer["kind"], answer["reason"])
        if "error" in answer:
            raise VidsimError(answer["error"])
        import torch

        images = torch.empty(answer["shape"], dtype=torch.uint8, pin_memory=self._pinned)
        pixels = images.numpy().data.cast("B")
        if process.stdout.readinto(pixels) < len(pixels):  # pyright: ignore[reportAttributeAccessIssue]  # buffered
            raise self._ended(process, path)
        return answer["content"], Frames(images, np.asarray(answer["times"]), answer["duration"])

    def _process(self) -> subprocess.Popen[bytes]:
        """Return the process of this thread; a new one where there is none."""
        process: subprocess.Popen[bytes] | None = getattr(self._own, "process", None)
        if process is None:
            process = subprocess.Popen(
                [sys.executable, "-c", CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            assert process.stdin is not None
            _widen(process.stdout)
            # a line is read at once: read byte by byte, it lets another thread run at each
            process.stdout = BufferedReader(cast("FileIO", process.stdout))
            self._all.append(process)
            self._own.process = process
            with suppress(BrokenPipeError):  # then the file's own line finds it broken too
                process.stdin.write(self._told)
        return process

    def _ended(self, process: subprocess.Popen[bytes], path: Path) -> VidsimError:
        self._own.process = None
        number = -process.wait()
        if number in CRASHES:
            return UnusableFile("decoder", f"{show(path)} breaks the decoder; convert it to H.264")
        what = f"by signal {number}; if memory ran out, use fewer --workers" if number > 0 else f"with status {-number}"
        return VidsimError(f"the process that decoded {show(path)} was ended {what}; what is done stays, run again")


def serve() -> None:
    """Decode the files that are named on standard input, one a line; what is left is written to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    with suppress(OSError):  # it may be closed
        os.dup2(2, 1)  # whatever libraries print
    told: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    reader, sampling = decoder(told["decoder"]), Sampling(**told["sampling"])
    facts: dict[str, Any] = told["preprocess"]
    steps: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in facts.items()}
    preprocess = PREPARATIONS[told["kind"]](**steps)

    def prepare(image: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "_ _ _"]:
        wait = told["unscaled"] and preprocess.can_wait(image.shape[0], image.shape[1])
        return image if wait else preprocess.pixels(image)

    def read(path: Path) -> Frames:
        try:
            return reader.decode(path, sampling.times, prepare)
        except UnusableFile as error:
            if not (told["unscaled"] and error.kind == "changing-size"):
                raise
            return reader.decode(path, sampling.times, preprocess.pixels)  # which makes frames of one size

    with suppress(BrokenPipeError):  # the parent is gone
        for line in sys.stdin.buffer:
            try:
                path = Path(json.loads(line))
                content, found = content_hash(path), read(path)
            except UnusableFile as error:
                _write(out, {"kind": error.kind, "reason": error.reason})
            except VidsimError as error:
                _write(out, {"error": str(error)})
            except MemoryError:
                _write(out, {"error": "out of memory while decoding; use fewer --workers"})
            else:
                answer = {"shape": found.images.shape, "times": found.times.tolist(), "duration": found.duration}
                _write(out, {**answer, "content": content}, found.images.data.cast("B"))


def _write(out: Any, answer: Mapping[str, Any], pixels: memoryview | bytes = b"") -> None:
    for part in (memoryview(json.dumps(answer).encode() + b"\n"), memoryview(pixels)):
        left = part
        while left:
            left = left[out.write(left) :]


def _widen(pipe: Any) -> None:
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):  # it is only quicker
        return
