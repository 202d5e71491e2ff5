"""PyAV: decode a clip once, in order, and keep the frames on screen at the moments wanted."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float, UInt8
from numpy import ndarray

from vidsim.data.container import frames, opened, packets
from vidsim.data.sparse import Astray, can_leave_out, wanted_alone
from vidsim.data.timeline import SLACK, Timeline, from_decoding, from_packets, no_frames
from vidsim.data.video import INSTANT, Frames, FrameTransform, TimesOf, show, stack
from vidsim.errors import UnusableFile


class PyAV:
    """Decode with PyAV (FFmpeg's libraries), picking frames by their presentation time.

    The file is read twice: first without decoding, to learn when its frames stand, then decoded from the start up to
    the last moment wanted, of H.264 without the frames that nothing needs (`vidsim.data.sparse`). Damage in what is not
    decoded goes unseen. The first video stream counts, cover pictures apart. Rotation and mirroring stored in the file
    are applied; colour matrix and range are those of the file (BT.601 limited where it states none) and swscale's
    conversion is within 3/255 of the formula. Pixels are not stretched to the display aspect ratio, interlaced frames
    are not deinterlaced, alpha is dropped, HDR is not tone-mapped.
    """

    name: str = "pyav"

    def decode(self, path: Path, times: TimesOf, transform: FrameTransform | None = None) -> Frames:
        """Decode the frames on screen at given moments.

        Parameters
        ----------
        path : Path
            The video file.
        times : callable
            Takes the clip's duration in seconds and returns the moments wanted, in seconds from the clip's start.
        transform : callable, optional
            Applied once to every distinct frame as soon as it is decoded.

        Returns
        -------
        Frames
            One frame a moment: the last that came on screen by then, or the first of the clip.
        """
        with opened(path) as (container, stream):
            timeline = from_packets(path, container, stream)
            if timeline is not None:
                sparse = can_leave_out(container, stream, timeline)
                for choose in (wanted_alone, _on_screen) if sparse else (_on_screen,):
                    with suppress(Astray):
                        arriving = _from_start(path, container, stream, timeline)
                        return _pick(path, choose, arriving, timeline, times, transform)
        with opened(path) as (container, stream):
            timeline = from_decoding(path, container, stream)
        with opened(path) as (container, stream):
            return _pick(path, _on_screen, packets(container, stream), timeline, times, transform)


def upright(image: UInt8[ndarray, "h w 3"], matrix: Sequence[int]) -> UInt8[ndarray, "h2 w2 3"]:
    """Turn and mirror an image the way its file says it is to be shown.

    Parameters
    ----------
    image : array of shape (h, w, 3)
        The image as stored.
    matrix : sequence of 9 int
        FFmpeg's display matrix ``(a, b, u, c, d, v, x, y, w)``: a stored point (x, y) is shown at
        ``(a x + c y, b x + d y)`` (ISO 14496-12, section 8.2.2). Odd angles are taken to the nearest quarter turn.

    Returns
    -------
    array of shape (h, w, 3) or (w, h, 3)
        The image as shown.

    Examples
    --------
    >>> image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    >>> upright(image, (0, 1, 0, -1, 0, 0, 0, 0, 1))[:, :, 0]  # a quarter turn clockwise
    array([[0],
           [3]], dtype=uint8)
    """
    a, b, _, c, d = matrix[:5]
    across, down = a, d
    if abs(b) + abs(c) > abs(a) + abs(d):
        image = image.transpose(1, 0, 2)
        across, down = c, b
    return image[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]


Choose = Callable[
    [Path, "Iterable[Packet[VideoStream]]", Timeline, Float[ndarray, " t"]], Iterator[tuple[float, VideoFrame]]
]
"""Decodes packets and yields, for each of rising moments, the frame on screen with its own time."""


def _from_start(
    path: Path, container: InputContainer, stream: VideoStream, timeline: Timeline
) -> "Iterator[Packet[VideoStream]]":
    """Read packets from the first one on, in a container read to its end or broken off."""
    stream.codec_context.skip_frame = "DEFAULT"  # another way of choosing may have left it otherwise
    arriving = packets(container, stream)
    try:
        container.seek(min(stamp for stamp in timeline.first[:2] if stamp is not None), stream=stream)
        head = next(arriving)
    except (FFmpegError, StopIteration):
        head = None
    if head is None or (head.pts, head.dts, head.size) != timeline.first:
        with opened(path) as (again, same):  # winding back is quicker, but not every format leads back to its start
            yield from packets(again, same)
        return
    yield from chain([head], arriving)


def _pick(
    path: Path,
    choose: Choose,
    arriving: "Iterable[Packet[VideoStream]]",
    timeline: Timeline,
    times: TimesOf,
    transform: FrameTransform | None,
) -> Frames:
    wanted = np.asarray(times(timeline.duration), dtype=np.float64)
    order = np.argsort(wanted, kind="stable")
    converter = VideoReformatter()
    distinct: list[Any] = []
    stamps = np.zeros(len(wanted))
    slots = np.zeros(len(wanted), dtype=np.intp)
    previous: VideoFrame | None = None
    for slot, (stamp, frame) in zip(order, choose(path, arriving, timeline, wanted[order]), strict=True):
        if frame is not previous:
            image = converter.reformat(frame, format="rgb24", threads=1).to_ndarray()
            image = _as_shown(image, frame)
            distinct.append(image if transform is None else transform(image))
            previous = frame
        stamps[slot], slots[slot] = stamp, len(distinct) - 1
    return Frames(stack(path, distinct, slots.tolist()), stamps, timeline.duration)


def _on_screen(
    path: Path, arriving: "Iterable[Packet[VideoStream]]", timeline: Timeline, rising: Float[ndarray, " t"]
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield the frame on screen at each of the rising moments, with its own time; decode no further than needed."""
    decoded = _decoded(path, frames(path, arriving), timeline)
    current = next(decoded, None)
    if current is None:
        raise UnusableFile(*no_frames(path))
    coming = next(decoded, None)
    for moment in rising:
        while coming is not None and coming[0] <= moment + INSTANT:
            current, coming = coming, next(decoded, None)
        yield current


def _decoded(path: Path, decoded: Iterator[VideoFrame], timeline: Timeline) -> Iterator[tuple[float, VideoFrame]]:
    """Yield every frame in order, with its time in seconds from the clip's start."""
    last = float("-inf")
    for count, frame in enumerate(decoded):
        if timeline.counted:
            now = float(timeline.times[min(count, len(timeline.times) - 1)])
        elif frame.time is None or (now := frame.time) < last:  # pyright: ignore[reportUnnecessaryComparison]
            raise Astray  # times that go back are wrong, not the order
        if frame.is_corrupt:
            raise UnusableFile(
                "corrupted",
                f"{show(path)} is damaged at {now - timeline.start:.2f} s; get an intact copy or cut the clip",
            )
        last = now
        yield max(0.0, now - timeline.start), frame
    if timeline.times[-1] - last > max(SLACK, 2 * timeline.gap):
        raise UnusableFile(
            "corrupted",
            f"{show(path)} is damaged: decoding stops at {max(0.0, last - timeline.start):.2f} s of "
            f"{timeline.duration:.2f} s; get an intact copy",
        )


def _as_shown(image: UInt8[ndarray, "h w 3"], frame: VideoFrame) -> UInt8[ndarray, "h2 w2 3"]:
    matrix = cast("Mapping[SideDataType, Buffer]", frame.side_data).get(SideDataType.DISPLAYMATRIX)
    return image if matrix is None else upright(image, np.frombuffer(bytes(matrix), dtype=np.int32).tolist())
