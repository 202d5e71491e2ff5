"""Thumbnails: the middle frame of a clip, small."""

import base64
import io
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vidsim.data.video import decoder
from vidsim.errors import UnusableFile

WIDTH = 320
"""Pixels."""


def thumbnail(path: Path, width: int = WIDTH) -> UInt8[ndarray, "h w 3"] | None:
    """Decode the middle frame of a clip and shrink it.

    Parameters
    ----------
    path : Path
        The video file.
    width : int
        Most pixels of the longer side, 1 or more.

    Returns
    -------
    array of shape (h, w, 3), or None
        RGB; None where the file is not there or cannot be decoded.
    """
    from PIL import Image

    def small(frame: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "h2 w2 3"]:
        picture = Image.fromarray(frame)
        picture.thumbnail((width, width))
        return np.asarray(picture)

    try:
        frames = decoder().decode(path, lambda duration: np.array([duration / 2]), small)
    except UnusableFile:
        return None
    return frames.images[0]


def data_uri(image: UInt8[ndarray, "h w 3"], kind: str = "jpeg") -> str:
    """Write an image as a ``data:`` URI, to stand inside a page.

    Parameters
    ----------
    image : array of shape (h, w, 3)
        RGB.
    kind : {"jpeg", "png"}
        How it is compressed.

    Returns
    -------
    str
        The URI.
    """
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(image).save(data, kind, quality=80)
    return f"data:image/{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
