"""Make many short clips from real ones, by cutting and recompressing, for the other benchmarks.

python benchmarks/clips.py CLIPS OUT --number 10000
"""

import argparse
from itertools import cycle
from pathlib import Path

import av
import numpy as np
from numpy import ndarray


def make(
    source: Path,
    out: Path,
    number: int,
    *,
    frames: int = 12,
    height: int = 120,
    width: int = 160,
    preset: str = "ultrafast",
) -> None:
    """Write ``number`` distinct clips of ``frames`` frames to ``out``, each a moment of a clip in ``source``."""
    out.mkdir(parents=True, exist_ok=True)
    paths = sorted(p for p in source.iterdir() if p.suffix in {".mp4", ".mkv"})
    share = -(-number // len(paths))
    made = 0
    for path in paths:
        images = _read(path, height, width)
        starts = np.linspace(0, max(0, len(images) - frames), share).astype(int)
        for copy, start in zip(range(min(share, number - made)), cycle(starts), strict=False):
            # a brightness step of its own makes every clip differ from its neighbours
            run = [np.clip(i.astype(int) + copy % 17, 0, 255).astype(np.uint8) for i in images[start : start + frames]]
            _write(out / f"{path.stem}_{copy:05}.mp4", run, preset, title=f"{path.stem} {copy}")
            made += 1


def _read(path: Path, height: int, width: int) -> list[ndarray]:
    with av.open(str(path)) as container:
        return [
            frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
            for frame in container.decode(video=0)
        ]


def _write(path: Path, images: list[ndarray], preset: str, title: str) -> None:
    with av.open(str(path), "w") as container:
        container.metadata["title"] = title
        stream = container.add_stream("libx264", rate=25, options={"preset": preset, "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--height", type=int, default=120)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--preset", default="ultrafast", help="x264's; medium has frames that decoding leaves out")
    given = vars(parser.parse_args())
    make(given.pop("clips"), given.pop("out"), given.pop("number"), **given)
