"""Measure what a decoding process takes for a clip, where it scales frames and where it leaves that to a GPU.

    python benchmarks/clips.py FOLDER_OF_VIDEOS CLIPS --number 32 --frames 75 --height 240 --width 320
    python benchmarks/unscaled.py CLIPS

Times are the processes' own, of eight frames a clip as TimeSformer has them, and of this process, which takes the
frames; those of the scaling on the CPU, which is not where it is meant to run, are not counted.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import psutil
import torch

from vidsim.encoders.base import Sampling
from vidsim.encoders.decoding import DecodingProcesses
from vidsim.encoders.preprocess import Preprocess

STEPS = Preprocess(shortest_edge=224, crop=(224, 224))


def measure(paths: list[Path], workers: int, unscaled: bool) -> tuple[float, float]:
    """Return the milliseconds that a clip takes: of a decoding process, and of this one."""
    with (
        DecodingProcesses("pyav", Sampling(frames=8), STEPS, unscaled=unscaled) as processes,
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        list(pool.map(processes.read, paths[: 2 * workers]))  # the processes begin
        children = psutil.Process().children()
        theirs, ours = sum(spent(one) for one in children), time.process_time()
        list(pool.map(processes.read, paths))
        ours = time.process_time() - ours
        theirs = sum(spent(one) for one in children) - theirs
    return 1e3 * theirs / len(paths), 1e3 * ours / len(paths)


def spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4, help="times that each clip is read in a run")
    parser.add_argument("--repeats", type=int, default=5)
    told = parser.parse_args()
    paths = sorted(told.clips.iterdir()) * told.rounds
    runs = [[measure(paths, told.workers, unscaled) for unscaled in (False, True)] for _ in range(told.repeats)]
    for which, name in enumerate(("scaled by the processes", "left as decoded")):
        theirs, ours = ([run[which][who] for run in runs] for who in (0, 1))
        told = f"{median(theirs):.1f} ms ({min(theirs):.1f} to {max(theirs):.1f}) of a decoding process"
        print(f"{name}: {told}, {median(ours):.1f} of the one that takes the frames")
    ratios = [sum(scaled) / sum(left) for scaled, left in runs]
    print(f"scaled / left: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) in both together")


if __name__ == "__main__":
    main()
