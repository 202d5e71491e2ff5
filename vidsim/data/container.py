"""Container: a video file opened through PyAV, without trusting its name or letting it open other files."""

import logging
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.error import DecoderNotFoundError, FFmpegError, PatchWelcomeError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vidsim.data.video import open_bytes, show, why_unreadable
from vidsim.errors import UnusableFile, VidsimError

log = logging.getLogger(__name__)

PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]")
"""First bytes of files that only point at other files."""

MATROSKA = b"\x1a\x45\xdf\xa3"
"""First bytes of Matroska and WebM."""

NOT_MOVING = frozenset({"image2", "tty", "ansi", "bin", "xbin", "idf", "adf", "ico"})
"""Formats that FFmpeg opens as video but that hold a still picture or text art; ``*_pipe`` are still pictures too."""

STILL_BRANDS = frozenset({b"avif", b"heic", b"heix", b"mif1"})
"""Brands of mp4-like files that hold a still picture (ISO 23008-12)."""

MOST_PIXELS = 2**27
"""Pixels of a frame beyond which a file is taken for damaged: 8K is a quarter of it."""


@dataclass(frozen=True)
class Anonymous:
    """Lend FFmpeg a file's bytes but not its name, so a name never decides how it is read (nor is a protocol)."""

    file: BinaryIO

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes."""
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a position."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self.file.tell()


@contextmanager
def opened(path: Path) -> Generator[tuple[InputContainer, VideoStream]]:
    """Open a file and find its first moving picture.

    Decoding uses one thread: the caller decodes several files at a time.

    Parameters
    ----------
    path : Path
        The video file.

    Yields
    ------
    container, stream
        The container and its first video stream that is not a cover picture.

    Raises
    ------
    UnusableFile
        If the file cannot be read, is no video, or is damaged where the body of the ``with`` reads it.
    """
    with open_bytes(path) as file:
        try:
            container = _demuxer(path, file)
            with container:
                stream = _moving_picture(path, container)
                stream.codec_context.thread_count = 1
                try:
                    yield container, stream
                except FFmpegError as error:
                    kind, reason = _told(path, error)
                    raise UnusableFile(kind, reason) from None
        except OSError as error:
            raise UnusableFile(*why_unreadable(path, error)) from None


def formats(container: InputContainer) -> set[str]:
    """Return the names under which FFmpeg knows a container's format, such as mov and mp4."""
    return set(container.format.name.split(","))


def packets(container: InputContainer, streams: Any) -> "Iterator[Packet[VideoStream]]":
    """Read the packets of streams to the end.

    Parameters
    ----------
    container : InputContainer
        Where to read.
    streams : stream or list of streams
        What to read.

    Yields
    ------
    Packet
        In the order of the file; the empty packets that end each stream come last.
    """
    try:
        yield from container.demux(streams)
    except IndexError:
        # PyAV 18 stumbles at the end of a file where streams have appeared on the way; ours are through by then
        log.debug("streams appeared while reading %s", container.name)


def frames(path: Path, arriving: "Iterable[Packet[VideoStream]]") -> Iterator[VideoFrame]:
    """Decode packets.

    Parameters
    ----------
    path : Path
        The file, for the error.
    arriving : iterable of Packet
        Packets of one video stream.

    Yields
    ------
    VideoFrame
        In the order of the decoder.

    Raises
    ------
    FFmpegError
        If FFmpeg finds the file damaged.
    UnusableFile
        If the decoder breaks in a way that FFmpeg has no word for.
    """
    try:
        for packet in arriving:
            yield from packet.decode()
    except FFmpegError:
        raise
    except (ValueError, LookupError, RuntimeError) as error:
        log.debug("%s", show(path), exc_info=True)
        raise UnusableFile("decoder", f"{show(path)} breaks the decoder ({error}); convert it to H.264") from error


def _told(path: Path, error: FFmpegError) -> tuple[str, str]:
    if isinstance(error, MemoryError):  # no fault of the file
        raise VidsimError(f"out of memory while decoding {show(path)}; use fewer --workers") from error
    if isinstance(error, PatchWelcomeError | NotImplementedError | DecoderNotFoundError):
        return "no-codec", f"{show(path)} uses what this FFmpeg cannot decode; convert it to H.264"
    return "corrupted", f"{show(path)} is damaged: {_words(error)}; get an intact copy"


def _demuxer(path: Path, file: BinaryIO) -> InputContainer:
    head = file.read(16)
    if not head:
        raise UnusableFile("empty", f"{show(path)} is empty (0 bytes); copy or download it again")
    if head.startswith(PLAYLISTS):
        raise UnusableFile("playlist", f"{show(path)} is a playlist, not a video; give the files it names instead")
    file.seek(0)
    try:
        container = av.open(Anonymous(file), mode="r", io_open=_refuse, metadata_errors="replace")
    except FFmpegError as error:
        raise _unopened(path, file, head, error) from None
    name = container.format.name
    if name in NOT_MOVING or name.endswith("_pipe") or (head[4:8] == b"ftyp" and head[8:12] in STILL_BRANDS):
        container.close()
        raise UnusableFile("not-a-video", f"{show(path)} is a still picture or text ({name}); expected a video")
    return container


def _refuse(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError(f"a video may not open another file, it asked for {url!r}")


def _unopened(path: Path, file: BinaryIO, head: bytes, error: FFmpegError) -> UnusableFile:
    mp4 = head[4:8] in {b"ftyp", b"mdat", b"wide", b"free", b"skip"}
    if mp4 and not _has_index(file):
        return UnusableFile(
            "no-index", f"{show(path)} is cut off: an mp4 or mov without its index (moov); get the whole file"
        )
    if mp4 or head.startswith((MATROSKA, b"RIFF")):
        return UnusableFile("corrupted", f"{show(path)} starts like a video but is damaged; get an intact copy")
    return UnusableFile("not-a-video", f"{show(path)} is not a video that FFmpeg can open ({_words(error)})")


def _has_index(file: BinaryIO) -> bool:
    """Walk the top-level boxes of an mp4 or mov and look for a whole ``moov`` (ISO 14496-12, section 4.2)."""
    end = file.seek(0, 2)
    position = 0
    while position + 16 <= end:
        file.seek(position)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if size == 1:
            size = int.from_bytes(header[8:], "big")
        if kind == b"moov":
            return position + size <= end
        if size < 8:  # 0 means that the box runs to the end of the file
            return False
        position += size
    return False


def _moving_picture(path: Path, container: InputContainer) -> VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        if container.streams.audio:
            raise UnusableFile("audio-only", f"{show(path)} holds sound but no moving picture; expected a video")
        raise UnusableFile("no-video", f"{show(path)} ({container.format.name}) holds no moving picture")
    stream = streams[0]
    if stream.codec_context is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise UnusableFile("no-codec", f"{show(path)} uses a codec that this FFmpeg cannot decode; convert it to H.264")
    if stream.width * stream.height > MOST_PIXELS:
        size = f"{stream.width} x {stream.height}"
        raise UnusableFile("too-large", f"{show(path)} says that its frames have {size} pixels; it is probably damaged")
    return stream


def _words(error: FFmpegError) -> str:
    return (error.strerror or type(error).__name__).lower()
