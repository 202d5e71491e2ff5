"""Video: a file's frames at chosen moments, through whichever decoder is asked for."""

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from io import BufferedReader
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vidsim.errors import UnusableFile, VidsimError

FrameTransform = Callable[[UInt8[ndarray, "h w 3"]], Any]
"""Turns one decoded frame into an array or a tensor; applied as soon as the frame is decoded."""

TimesOf = Callable[[float], Float[ndarray, " t"]]
"""Maps a clip's duration in seconds to the moments wanted, in seconds from its start."""

DECODERS = ("pyav", "decord")

INSTANT = 1e-6
"""Seconds within which a moment counts as a frame's own: a time computed in floats may fall just short of it."""


@dataclass(frozen=True, eq=False)
class Frames:
    """Hold the frames of one clip that were asked for, in the order in which they were asked for.

    Parameters
    ----------
    images : array or tensor of shape (t, ...)
        Decoded frames (t, h, w, 3) in RGB, uint8; or what the transform made of them, stacked.
    times : array of shape (t,)
        When each frame comes on screen, in seconds from the clip's first frame.
    duration : float
        Length of the clip in seconds: from its first frame to the end of its last.
    """

    images: Any
    times: Float[ndarray, " t"]
    duration: float


@runtime_checkable
class Decoder(Protocol):
    """A way to decode video files; keeps no state, so one decoder serves several threads."""

    @property
    def name(self) -> str:
        """Name for the command line and for provenance."""
        ...

    def decode(self, path: Path, times: TimesOf, transform: FrameTransform | None = None) -> Frames:
        """Decode the frames on screen at given moments.

        Parameters
        ----------
        path : Path
            The video file.
        times : callable
            Takes the clip's duration in seconds and returns the moments wanted, in seconds from the clip's start.
            They may repeat and need not be in order.
        transform : callable, optional
            Applied once to every distinct frame as soon as it is decoded, so that large frames never pile up.

        Returns
        -------
        Frames
            One frame a moment: the last that came on screen by then, or the first of the clip.

        Raises
        ------
        UnusableFile
            If the file cannot be used; its ``kind`` says why in a word, its ``reason`` in a line.
        """
        ...


def decoder(name: str = "pyav") -> Decoder:
    """Return the decoder of that name.

    Parameters
    ----------
    name : {"pyav", "decord"}
        ``"pyav"`` is right on every file tried; ``"decord"`` needs an optional package and has limits
        (see `vidsim.data.decord`).

    Returns
    -------
    Decoder
        The decoder.

    Raises
    ------
    VidsimError
        If there is no decoder of that name, or its package is not installed.
    """
    if name == "pyav":
        from vidsim.data.pyav import PyAV

        return PyAV()
    if name == "decord":
        from vidsim.data.decord import Decord

        return Decord()
    near = get_close_matches(name, DECODERS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(DECODERS)}"
    raise VidsimError(f"no decoder named {name!r}; {hint}")


def content_hash(path: Path) -> str:
    """Hash the bytes of a file, so that a moved file is recognised and a changed one is seen.

    Parameters
    ----------
    path : Path
        Any regular file; it is read in small pieces.

    Returns
    -------
    str
        128 bits of BLAKE2b, as 32 hexadecimal digits.

    Raises
    ------
    UnusableFile
        If the file is not there, or cannot be read.
    """
    with open_bytes(path) as file:
        try:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        except OSError as error:
            raise UnusableFile(*why_unreadable(path, error)) from None


def captions_hash(captions: Sequence[str]) -> str:
    """Hash captions, in their order, to 32 hexadecimal digits."""
    return hashlib.blake2b("\0".join(captions).encode(), digest_size=16).hexdigest()


def joint_content(file: str, captions: Sequence[str]) -> str:
    """Identify what is encoded of a clip and captions together.

    Parameters
    ----------
    file : str
        Hash of the file's bytes.
    captions : sequence of str
        Captions that are encoded with it; there may be none.

    Returns
    -------
    str
        The file's hash alone where there is no caption; else, behind a plus, that of the captions too.

    Examples
    --------
    >>> joint_content("6f", ()), file_content(joint_content("6f", ("a dog runs",)))
    ('6f', '6f')
    """
    return f"{file}+{captions_hash(captions)}" if captions else file


def file_content(content: str) -> str:
    """Return the part of an entry's content that stands for the bytes of its file."""
    return content.partition("+")[0]


def open_bytes(path: Path) -> BufferedReader:
    """Open a regular file for reading, whatever its name.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    binary file
        Open at its start; the caller closes it.

    Raises
    ------
    UnusableFile
        If there is no such file, it is no regular file, or it may not be read.
    """
    try:
        mode = path.stat().st_mode
        if S_ISDIR(mode):
            raise UnusableFile("directory", f"{show(path)} is a folder; expected a video file")
        if not S_ISREG(mode):  # opening a pipe would wait for ever
            raise UnusableFile("not-a-file", f"{show(path)} is a pipe, a socket or a device; expected a video file")
        return path.open("rb")
    except OSError as error:
        raise UnusableFile(*why_unreadable(path, error)) from None


def why_unreadable(path: Path, error: OSError) -> tuple[str, str]:
    """Say why the operating system does not give a file away.

    Parameters
    ----------
    path : Path
        The file.
    error : OSError
        What the system said.

    Returns
    -------
    kind, reason : str
        What `UnusableFile` takes.
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "missing", f"{show(path)} is not there; it was moved, deleted, or is a broken link"
    if isinstance(error, PermissionError):
        return "permission", f"{show(path)} may not be read by this user; give read permission"
    said = error.strerror or (errno.errorcode.get(error.errno, "") if error.errno else "") or type(error).__name__
    return "unreadable", f"{show(path)} cannot be read: {said}; check the disk or the network share"


def show(path: Path) -> str:
    """Quote a path so that it stays on one line, whatever characters it holds."""
    return repr(os.fspath(path))


def stack(path: Path, distinct: Sequence[Any], slots: Sequence[int]) -> Any:
    """Stack distinct frames into the order in which they were asked for.

    Parameters
    ----------
    path : Path
        The video, for the error.
    distinct : sequence of arrays or tensors
        What became of each distinct frame.
    slots : sequence of int
        For every moment asked for, which distinct frame it shows.

    Returns
    -------
    array or tensor of shape (t, ...)
        One frame a moment.

    Raises
    ------
    UnusableFile
        If the frames differ in size.
    """
    shapes = {tuple(item.shape) for item in distinct}
    if len(shapes) > 1:
        sizes = " and ".join(sorted(str(shape) for shape in shapes))
        raise UnusableFile(
            "changing-size", f"{show(path)} changes its frame size midway ({sizes}); re-encode it to one size"
        )
    if all(isinstance(item, ndarray) for item in distinct):
        return np.stack([distinct[slot] for slot in slots])
    import torch  # the transform has loaded it already

    # through numpy, because torch.stack would start threads of its own in every decoding thread
    return torch.from_numpy(np.stack([distinct[slot].numpy() for slot in slots]))
