"""Measure extraction end to end against the usual script, and show that memory does not grow with the layers.

The model has the geometry of TimeSformer-base and random weights (published ones give the same times). Both sides read
the same clips and the same checkpoint, and leave every block's tokens, flattened and projected to 4,732 dimensions, on
disk: `benchmarks/naive.py` (decode all frames, output_hidden_states, scikit-learn's projection of all clips, one file a
layer) and `vidsim extract --pooling flatten`. Each run is a process of its own; sides take turns.

    python benchmarks/extract.py FOLDER_OF_VIDEOS

`--layers` measures vidsim alone: the peak memory of one layer, of all blocks and of all modules. `--vidsim` takes the
command of another environment, such as a user's: libraries import what they find installed.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from checkpoints import timesformer
from memory import measured

from clips import make

NAIVE = Path(__file__).with_name("naive.py")
CLIPS, FRAMES, SIDE = 32, 75, (240, 320)


def vidsim(command: Path, clips: Path, weights: Path, root: Path, *options: str) -> list[str]:
    return [
        *(str(command), "extract", str(clips), "--encoder", "timesformer-base"),
        *("--checkpoint", str(weights), "--root", str(root), "--device", "cpu", *options),
    ]


def naive(clips: Path, weights: Path, out: Path) -> list[str]:
    return [sys.executable, str(NAIVE), str(clips), str(weights), str(out)]


def agree(root: Path, out: Path) -> float:
    """Correlate the distances between clips in the last block, ours with theirs: both are random projections."""
    from scipy.spatial.distance import pdist
    from scipy.stats import pearsonr

    from vidsim.store import Store

    ours = Store(root)["timesformer-base"]["encoder.layer.11"]
    theirs = np.load(out / "layer12.npy")  # layer 0 is the input of the first block; files are sorted by name
    return float(pearsonr(pdist(ours.take(sorted(ours.ids)).matrix), pdist(theirs)).statistic)


def compare(command: Path, clips: Path, weights: Path, work: Path, repeats: int) -> None:
    taken: dict[str, list[tuple[float, float]]] = {"vidsim": [], "usual script": []}
    for _ in range(repeats):
        root, out = work / "root", work / "out"
        taken["vidsim"].append(measured(vidsim(command, clips, weights, root, "--pooling", "flatten"))[:2])
        taken["usual script"].append(measured(naive(clips, weights, out))[:2])
        correlation = agree(root, out)
        shutil.rmtree(root)
        shutil.rmtree(out)
    seconds, memory = ({name: median(row[i] for row in rows) for name, rows in taken.items()} for i in (0, 1))
    count = len(list(clips.iterdir()))
    print(f"{count} clips of {FRAMES} frames, {SIDE[0]} x {SIDE[1]}; TimeSformer-base, 12 blocks -> 4,732 dimensions")
    for name in taken:
        print(f"  {name:12} {seconds[name]:7.1f} s, {count / seconds[name]:5.2f} clips/s, peak {memory[name]:7,.0f} MB")
    print(f"  usual script / vidsim: time {seconds['usual script'] / seconds['vidsim']:.2f}x, ", end="")
    print(f"memory {memory['usual script'] / memory['vidsim']:.1f}x")
    print(f"  distances between clips in the last block correlate {correlation:.4f}")


def layers(command: Path, clips: Path, weights: Path, work: Path) -> None:
    ways = {"one layer": ("--layers", "layernorm"), "13 layers": (), "all modules": ("--all-modules",)}
    for name, options in ways.items():
        root = work / "root"
        seconds, memory, _ = measured(vidsim(command, clips, weights, root, "--pooling", "flatten", *options))
        print(f"  {name:12} {seconds:7.1f} s, peak {memory:7,.0f} MB")
        shutil.rmtree(root)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=CLIPS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--vidsim", type=Path, default=Path(sys.executable).with_name("vidsim"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        clips, weights = Path(work, "clips"), timesformer(Path(work, "checkpoint"))
        make(arguments.folder, clips, arguments.clips, frames=FRAMES, height=SIDE[0], width=SIDE[1])
        if arguments.layers:
            layers(arguments.vidsim, clips, weights, Path(work))
        else:
            compare(arguments.vidsim, clips, weights, Path(work), arguments.repeats)


if __name__ == "__main__":
    main()
