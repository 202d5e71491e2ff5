"""Sparse decoding: of H.264, leave out the frames that are neither wanted nor needed to make another."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float
from numpy import ndarray

from vidsim.data.container import formats, frames
from vidsim.data.timeline import Timeline
from vidsim.data.video import INSTANT

WHOLE = frozenset({"mov", "matroska"})
"""Formats with a whole frame in a packet; a transport stream may have its two fields in two."""


class Astray(Exception):
    """Report decoded frames that do not stand where the packets say: then another way of choosing is right."""


def can_leave_out(container: InputContainer, stream: VideoStream, timeline: Timeline) -> bool:
    """Tell whether frames can be left out without any other being changed.

    H.264 marks frames that no other is made from (``nal_ref_idc`` 0; ITU-T H.264, section 7.4.1). HEVC marks only those
    that none of the same sub-layer is made from, so there everything is decoded.

    Parameters
    ----------
    container : InputContainer
        The file.
    stream : VideoStream
        Its video.
    timeline : Timeline
        When its frames stand, from the packets.

    Returns
    -------
    bool
        True for H.264 whose packets are frames, each with a time of its own.
    """
    if stream.codec_context.name != "h264" or not formats(container) & WHOLE:
        return False
    return bool((np.diff(timeline.times) > 0).all())


def wanted_alone(
    path: Path, arriving: "Iterable[Packet[VideoStream]]", timeline: Timeline, rising: Float[ndarray, " t"]
) -> Iterator[tuple[float, VideoFrame]]:
    """Decode no more than what the frames on screen at rising moments are made from.

    Parameters
    ----------
    path : Path
        The file, for errors.
    arriving : iterable of Packet
        Packets of the video from its start on.
    timeline : Timeline
        When its frames stand, from the packets.
    rising : array of shape (t,)
        Moments in seconds from the clip's start.

    Yields
    ------
    tuple of float and VideoFrame
        For each moment the time of its frame, in seconds from the clip's start, and the frame.

    Raises
    ------
    Astray
        If frames come otherwise than the packets say, are damaged, or are made of two fields.
    UnusableFile
        If the decoder breaks.
    """
    times: Float[ndarray, " n"] = timeline.times - timeline.start
    slots: list[int] = np.maximum(np.searchsorted(times, rising + INSTANT, side="right") - 1, 0).tolist()
    places = {time: place for place, time in enumerate(timeline.times.tolist())}
    decoded = _placed(frames(path, _marked(arriving, {timeline.times[slot] for slot in slots})), places)
    frame, at = None, -1
    for slot in slots:
        while frame is None or at < slot:
            at, frame = next(decoded, (len(times), None))
            if frame is None or at > slot:
                raise Astray
        yield max(0.0, frame.time - timeline.start), frame


def _marked(arriving: "Iterable[Packet[VideoStream]]", wanted: set[float]) -> "Iterator[Packet[VideoStream]]":
    """Tell the decoder before each packet whether its frame may be left out."""
    for packet in arriving:
        needed = packet.pts is None or packet.pts * float(packet.time_base) in wanted
        packet.stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
        yield packet


def _placed(decoded: Iterable[VideoFrame], places: dict[float, int]) -> Iterator[tuple[int, VideoFrame]]:
    """Yield frames with their place among all of the clip, as long as they come in order and whole."""
    last = -1
    for frame in decoded:
        time = frame.pts * float(frame.time_base) if frame.pts is not None and frame.time_base else None
        place = -1 if time is None else places.get(time, -1)
        if place <= last or frame.is_corrupt or frame.interlaced_frame:
            raise Astray
        last = place
        yield place, frame
