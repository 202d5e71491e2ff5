"""Small synthetic clips, so that the suite runs without the real ones."""

from pathlib import Path

import av
import numpy as np
from numpy import ndarray


def moving_square(frames: int = 20, height: int = 48, width: int = 64, step: int = 2, start: int = 0) -> ndarray:
    """Return frames (t, h, w, 3) uint8 of a bright square that moves right over a gradient."""
    images = np.zeros((frames, height, width, 3), np.uint8)
    images[..., 2] = np.linspace(0, 200, width).astype(np.uint8)
    for t in range(frames):
        left = (start + t * step) % (width - 12)
        images[t, 12:24, left : left + 12] = (250, 230, 40)
    return images


def write_clip(path: Path, images: ndarray, *, rate: int = 10, codec: str = "libx264") -> Path:
    """Encode frames (t, h, w, 3) uint8 to a video file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=None if path.suffix else "mp4") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = images.shape[2], images.shape[1], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
