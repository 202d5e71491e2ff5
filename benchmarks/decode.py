"""Measure decoding: against bare PyAV for the same frames, two threads against one, and PyAV against decord2.

Prints ratios of medians over interleaved repeats in one run; a ratio of times above 1 means that ours is slower.

    python benchmarks/decode.py FOLDER_OF_VIDEOS
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import av
import numpy as np

from vidsim.data.video import decoder
from vidsim.errors import VidsimError

FRAMES = 8


def moments(duration: float) -> np.ndarray:
    return (np.arange(FRAMES) + 0.5) / FRAMES * duration


def bare(path: Path, stamps: list[float]) -> np.ndarray:
    """Decode the frames whose times are known beforehand, with nothing but PyAV in one thread, and stop."""
    images = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        start = None
        for frame in container.decode(stream):
            start = frame.pts if start is None else start
            if float((frame.pts - start) * frame.time_base) >= stamps[len(images)] - 1e-4:
                images.append(frame.to_ndarray(format="rgb24", threads=1))
                if len(images) == len(stamps):
                    break
    return np.stack(images)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each run; runs take turns, so that a busy moment hits all of them."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            taken[name].append(seconds(run))
    return {name: median(times) for name, times in taken.items()}


def usable(folder: Path) -> dict[Path, list[float]]:
    """Return the clips that decode, with the times of their frames; bare PyAV above does not repeat frames."""
    stamps: dict[Path, list[float]] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        try:
            frames = decoder().decode(path, moments)
        except VidsimError as error:
            print("skipped:", error)
            continue
        if len(set(frames.times)) == FRAMES:
            stamps[path] = frames.times.tolist()
            np.testing.assert_array_equal(frames.images, bare(path, stamps[path]))
    return stamps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    stamps = usable(arguments.folder)
    pyav = decoder()

    def threaded() -> None:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda path: pyav.decode(path, moments), stamps))

    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: [pyav.decode(path, moments) for path in stamps],
        "bare PyAV": lambda: [bare(path, times) for path, times in stamps.items()],
        "two threads": threaded,
    }
    try:
        decord = decoder("decord")
    except VidsimError as error:
        print("skipped:", error)
    else:
        runs["decord2"] = lambda: [decord.decode(path, moments) for path in stamps]
    took = compare(runs, arguments.repeats)
    print(f"{len(stamps)} clips, {FRAMES} frames each, medians of {arguments.repeats} interleaved runs")
    for name, value in took.items():
        print(f"{name:12} {value / len(stamps) * 1e3:7.1f} ms a clip")
    print(f"time, ours / bare PyAV     {took['ours'] / took['bare PyAV']:5.2f}   (goal <= 1.05)")
    print(f"speed, 2 threads / 1       {took['ours'] / took['two threads']:5.2f}   (goal >= 1.7)")
    if "decord2" in took:
        print(f"time, decord2 / ours       {took['decord2'] / took['ours']:5.2f}")


if __name__ == "__main__":
    main()
