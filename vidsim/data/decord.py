"""Decord: an alternative decoder, from the optional package ``decord2``."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from vidsim.data.container import opened
from vidsim.data.timeline import from_packets
from vidsim.data.video import INSTANT, Frames, FrameTransform, TimesOf, show, stack
from vidsim.errors import UnusableFile, VidsimError


class Decord:
    """Decode with decord2, picking frames by the times it reports; PyAV checks the file first.

    Limits, seen with decord2 3.4: wrong frames without an error in HEVC, in AVI files with B-frames and in MPEG program
    streams, which are refused, and in clips cut without re-encoding (edit lists, discarded frames); colours of ten bits
    and of odd sizes differ from PyAV's; no frames from live WebM without durations or from pictures a few pixels wide;
    of several video streams it takes the largest, not the first.

    Raises
    ------
    VidsimError
        If the package is not installed.
    """

    name: str = "decord"

    def __init__(self) -> None:
        try:
            import decord
        except ImportError:
            raise VidsimError("the decoder 'decord' is not installed; pip install 'vidsim[decord]'") from None
        decord.logging.set_level(decord.logging.QUIET)

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

        Raises
        ------
        UnusableFile
            If the file cannot be used, or not by decord.
        """
        import decord

        with opened(path) as (container, stream):
            misread = _misread(container, stream)
            if misread is not None:
                raise UnusableFile("decoder", f"{show(path)} is {misread}, misread by decord; decode it with pyav")
            from_packets(path, container, stream)
        try:
            # an absolute path, or a name such as "http:x.mp4" would be taken for an address
            reader = cast("Any", decord.VideoReader(str(path.absolute()), ctx=decord.cpu(0), num_threads=1))
            spans = np.asarray(reader.get_frame_timestamp(range(len(reader))), dtype=np.float64)
            starts = spans[:, 0] - spans[0, 0]
            duration = float(spans[-1, 1] - spans[0, 0])
            wanted = np.asarray(times(duration), dtype=np.float64)
            indices = np.maximum(np.searchsorted(starts, wanted + INSTANT, side="right") - 1, 0)
            needed, slots = np.unique(indices, return_inverse=True)
            distinct: list[Any] = []
            for index in needed:
                image = reader[int(index)].asnumpy()
                if image.ndim != 3 or image.shape[2] != 3:
                    raise UnusableFile("decoder", f"{show(path)} is misread by decord; decode it with pyav")
                distinct.append(image if transform is None else transform(image))
        except (RuntimeError, decord.DECORDError):
            raise UnusableFile("decoder", f"{show(path)} cannot be decoded by decord; decode it with pyav") from None
        return Frames(stack(path, distinct, slots.tolist()), starts[indices], duration)


def _misread(container: InputContainer, stream: VideoStream) -> str | None:
    """Say what of a file makes decord give other frames than those asked for; None where nothing is known."""
    context, kind = stream.codec_context, container.format.name
    if context.name == "hevc":
        return "HEVC"
    if kind == "mpeg":
        return "an MPEG program stream"
    return "an AVI with B-frames" if kind == "avi" and context.has_b_frames else None
