"""Timeline: when the frames of a video stream stand, and whether the file ends before its time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from jaxtyping import Float
from numpy import ndarray

from vidsim.data.container import formats, frames, packets
from vidsim.data.video import show
from vidsim.errors import UnusableFile

DECLARING = frozenset({"mov", "matroska", "avi", "flv", "asf", "mxf"})
"""Formats whose header states a duration; elsewhere FFmpeg guesses it from the bytes that are there."""

SLACK = 0.5
"""Seconds by which a whole file may end before its declared duration; two frames' time where that is longer."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """Hold when a stream's frames come on screen.

    Parameters
    ----------
    times : array of shape (n,)
        Times of the frames in seconds, rising, on the container's clock.
    gap : float
        How long the last frame stays on screen, in seconds.
    first : tuple of (int or None, int or None, int)
        Presentation time, decoding time (in ticks) and size (in bytes) of the stream's first packet.
    counted : bool
        True where decoded frames do not carry trustworthy times: the k-th of them stands at ``times[k]``.
    """

    times: Float[ndarray, " n"]
    gap: float
    first: tuple[int | None, int | None, int] = (None, None, 0)
    counted: bool = False

    @property
    def start(self) -> float:
        """Return when the first frame comes on screen, in seconds on the container's clock."""
        return float(self.times[0])

    @property
    def duration(self) -> float:
        """Return the length of the clip in seconds, from its first frame to the end of its last."""
        return float(self.times[-1]) + self.gap - self.start


def from_packets(path: Path, container: InputContainer, stream: VideoStream) -> Timeline | None:
    """Read the timeline off a stream's packets, without decoding.

    Parameters
    ----------
    path : Path
        The file, for the error.
    container, stream
        A container at its start, and its video stream.

    Returns
    -------
    Timeline or None
        None where packets do not all carry a presentation time.

    Raises
    ------
    UnusableFile
        If the file ends before its header says it does.
    """
    end = _stream_end(container, stream)
    # without the video's own duration there is only that of the longest stream, so all of them are followed
    followed = [stream] if end is not None else list(container.streams)
    ticks = {each.index: float(each.time_base or 0) for each in container.streams}
    shown: list[tuple[float, float]] = []
    first: tuple[int | None, int | None, int] | None = None
    reached, damaged, keyed, timed = 0.0, False, False, True
    for packet in packets(container, followed):
        if not packet.size:  # the end of a stream, or a frame dropped while recording
            continue
        damaged |= packet.is_corrupt
        tick = ticks[packet.stream_index]
        lasts = (packet.duration or 0) * tick
        when = packet.dts if packet.pts is None else packet.pts
        reached = max(reached, (when or 0) * tick + lasts)
        if packet.stream_index == stream.index:
            first = first or (packet.pts, packet.dts, packet.size)
            timed &= packet.pts is not None
            keyed |= packet.is_keyframe
            if keyed and not packet.is_discard:  # before its first key frame nothing can be decoded
                shown.append(((packet.pts or 0) * tick, lasts))
    shown.sort()
    times = np.array([time for time, _ in shown])
    gap = (shown[-1][1] if shown else 0) or _usual_gap(times, stream)
    end = _container_end(container) if end is None else end
    if formats(container) & DECLARING and (damaged or (end is not None and end - reached > max(SLACK, 2 * gap))):
        said = f" but its header says {end:.2f} s" if end is not None and end > reached else " in the middle of a frame"
        raise UnusableFile(
            "truncated", f"{show(path)} is cut off: it ends at {reached:.2f} s{said}; get the whole file"
        )
    if not (timed and shown and first):
        return None
    # avi stores no presentation times, only an order; FFmpeg's guesses go wrong with B-frames
    return Timeline(times, gap, first, counted="avi" in formats(container))


def from_decoding(path: Path, container: InputContainer, stream: VideoStream) -> Timeline:
    """Find the timeline by decoding every frame, where packets do not tell it.

    Frames come out of a decoder in the order in which they are shown. Without any times (a raw stream) they are
    spread evenly, at the rate the stream states.

    Parameters
    ----------
    path : Path
        The file, for the error.
    container, stream
        A container at its start, and its video stream.

    Returns
    -------
    Timeline
        One time per decoded frame.

    Raises
    ------
    UnusableFile
        If no frame can be decoded.
    """
    tick = float(stream.time_base or 0)
    stamps = [frame.pts for frame in frames(path, packets(container, stream))]
    if not stamps:
        raise UnusableFile(*no_frames(path))
    times = np.sort([pts * tick for pts in stamps if pts is not None])
    gap = _usual_gap(times, stream)
    if len(times) < len(stamps):
        times = np.arange(len(stamps)) * gap
    return Timeline(times, gap, counted=True)


def no_frames(path: Path) -> tuple[str, str]:
    """Say, as kind and reason, that a file opens as a video but yields no picture."""
    return "no-frames", f"{show(path)} opens as a video but not one frame can be decoded; re-encode it"


def _stream_end(container: InputContainer, stream: VideoStream) -> float | None:
    """Return where the video stream's own header says it ends, in seconds on the container's clock."""
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    clock = stream.metadata.get("DURATION")  # Matroska: such as 00:00:10.333000000, from the container's zero
    if clock is None:
        return None
    try:
        hours, minutes, seconds = clock.split(":")
        end = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
    # the tag may be left over from a longer file that this one was cut from
    return min(end, _container_end(container) or end)


def _container_end(container: InputContainer) -> float | None:
    """Return where the container says that its longest stream ends, in seconds on its clock."""
    return ((container.start_time or 0) + container.duration) / 1e6 if container.duration else None


def _usual_gap(times: Float[ndarray, " n"], stream: VideoStream) -> float:
    """Return how long frames mostly stay on screen: between known times, or else as the stream's rate has it."""
    if len(times) > 1:
        return float(np.median(np.diff(times)))
    rate = stream.average_rate or stream.guessed_rate or stream.base_rate
    return 1 / float(rate) if rate else 0.0
