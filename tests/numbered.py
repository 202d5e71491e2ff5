"""Videos whose frames tell their number, and a slow loop that looks them up."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy import ndarray

from vidsim.data.video import Frames, decoder

RATE = 10
FRAMES = 36


def middles(count: int) -> Callable[[float], ndarray]:
    return lambda duration: (np.arange(count) + 0.5) / count * duration


def decode(path: Path, count: int = 8) -> Frames:
    return decoder().decode(path, middles(count))


def numbered(
    path: Path,
    codec: str = "libx264",
    *,
    form: str | None = None,
    b_frames: int = 2,
    stamps: list[int] | None = None,
    turn: int | None = None,
) -> Path:
    """Write a video whose k-th frame has luma 20 + 6 k, a tenth of a second each, or at the given hundredths."""
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25 if codec == "mpeg2video" else RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.gop_size = 12
        if stamps:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 100)
        if codec == "libx264":
            stream.options = {"x264-params": f"bframes={b_frames}:b-adapt=0", "qp": "4"}
        else:
            stream.bit_rate, stream.options = 4_000_000, {"qmin": "1", "qmax": "2"}
        if turn is not None:
            stream.set_display_rotation(turn)
        for k in range(len(stamps) if stamps else FRAMES):
            planes = np.full((72, 64), 128, np.uint8)
            planes[:48] = 20 + 6 * k
            planes[:24, :16] = 16  # a dark top left corner, to see rotation by
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = stamps[k] if stamps else k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def number(image: ndarray) -> int:
    """Read a frame's number off its middle (limited range: luma 16 is black, 235 white)."""
    return round((float(image[24, 40].mean()) * 219 / 255 + 16 - 20 + 0.8) / 6)


def slowly(path: Path, wanted: Callable[[float], ndarray]) -> Frames:
    """Decode every frame into memory and look each moment up in turn."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    tick = frames[0].time_base
    stamps = [float((frame.pts - frames[0].pts) * tick) for frame in frames]
    duration = stamps[-1] + float(frames[-1].duration * tick)
    chosen = []
    for moment in wanted(duration):
        best = 0
        for k, stamp in enumerate(stamps):
            if stamp <= moment + 1e-6:
                best = k
        chosen.append(best)
    images = np.stack([frames[k].to_ndarray(format="rgb24") for k in chosen])
    return Frames(images, np.array([stamps[k] for k in chosen]), duration)


def moving(path: Path, structure: str) -> Path:
    """Write a scene that moves by a pixel a frame, so that frames are made from others as x264 is told."""
    scene = np.random.default_rng(1).integers(0, 256, (64, 128, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"x264-params": structure, "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for k in range(FRAMES):
            image = np.ascontiguousarray(scene[:, k : k + 64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path
