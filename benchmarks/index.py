"""Whole extraction of TimeSformer-base geometry (random weights), beside the bare model and beside a naive script.

    python benchmarks/index.py ../shared/data/clips/people [--clips 64] [--many 10000]

Prints, from one run: the share of the bare forward's throughput on decoded tensors that extraction reaches; wall time
and peak memory of the naive script over those of `vidsim index`, every layer flattened and projected in both. With
--many, also: peak memory over that many short clips against a tenth of them, and how long a rerun with nothing to do
takes.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from memory import measured

from clips import make

HERE = Path(__file__).parent


def write_checkpoint(folder: Path) -> None:
    """Write a TimeSformer-base checkpoint at real size, with random weights, in the published format."""
    import torch
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    torch.manual_seed(0)
    config = TimesformerConfig(num_labels=400)
    TimesformerForVideoClassification(config).save_pretrained(folder)
    processor = {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 2,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.45, 0.45, 0.45],
        "image_std": [0.225, 0.225, 0.225],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def throughput(folder: Path, checkpoint: Path, batch_size: int, repeats: int) -> list[tuple[float, float]]:
    """Return clips per second of the bare forward and of extraction, repeat by repeat."""
    import torch

    from vidsim.data.sources import from_folder
    from vidsim.data.video import decoder
    from vidsim.encoders import catalog
    from vidsim.extract import extract
    from vidsim.store import Store

    class Clock:
        """Time from the moment the model is loaded."""

        start = 0.0

        def begin(self, total: int, what: str) -> None:
            self.start = time.perf_counter()

        def advance(self, encoded: int, failed: int) -> None:
            pass

    stimuli = from_folder(folder)
    resolved = catalog.resolve("timesformer-base", checkpoint=os.fspath(checkpoint))
    encoder = catalog.load(resolved, device="cpu")
    frames = [decoder("pyav").decode(s.path, encoder.card.sampling.times, encoder.prepare).images for s in stimuli]
    pixels = [encoder.preprocess.normalise(torch.as_tensor(f)) for f in frames]
    results: list[tuple[float, float]] = []
    for _ in range(repeats):
        start = time.perf_counter()
        with torch.inference_mode():
            for first in range(0, len(pixels), batch_size):
                encoder.model(pixel_values=torch.stack(pixels[first : first + batch_size]))
        bare = len(pixels) / (time.perf_counter() - start)
        with tempfile.TemporaryDirectory() as root:
            clock = Clock()
            extract(stimuli, resolved, Store(root, create=True), device="cpu", batch_size=batch_size, progress=clock)
            whole = len(pixels) / (time.perf_counter() - clock.start)
        results.append((bare, whole))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--many", type=int, default=0, help="short clips for the memory and rerun figures; 0 leaves them out"
    )
    parser.add_argument("--only-many", action="store_true")
    arguments = parser.parse_args()
    vidsim = [sys.executable, "-c", "from vidsim.cli import main; main()"]
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        if not arguments.only_many:
            against_model(arguments, work, vidsim)
        if arguments.many:
            many(arguments, work, vidsim)


def against_model(arguments: argparse.Namespace, work: Path, vidsim: list[str]) -> None:
    folder, checkpoint = work / "clips", work / "checkpoint"
    make(arguments.folder, folder, arguments.clips, frames=60, height=360, width=480)
    few = work / "few"
    few.mkdir()
    for path in sorted(folder.iterdir())[:16]:
        shutil.copy(path, few)
    write_checkpoint(checkpoint)
    results = throughput(few, checkpoint, arguments.batch_size, arguments.repeats)
    shares = [whole / bare for bare, whole in results]
    bare = statistics.median(b for b, _ in results)
    print(
        f"bare forward {bare:.2f} clips/s; extraction reaches {statistics.median(shares):.1%} of it "
        f"(runs: {', '.join(f'{s:.1%}' for s in shares)}; goal 90 %)"
    )
    options = ["--encoder", "timesformer-base", "--checkpoint", str(checkpoint), "--pooling", "flatten", "--json"]
    own, own_mb, _ = measured(
        [
            *vidsim,
            "index",
            str(folder),
            *options,
            "--root",
            str(work / "root"),
            "--batch-size",
            str(arguments.batch_size),
        ]
    )
    naive, naive_mb, _ = measured(
        [sys.executable, str(HERE / "naive.py"), str(folder), str(checkpoint), str(work / "out")]
    )
    print(f"naive script {naive:.1f} s, vidsim index {own:.1f} s: {naive / own:.2f}x faster (goal 2x)")
    print(f"peak memory {own_mb:.0f} MB against {naive_mb:.0f} MB: {own_mb / naive_mb:.2f} of it (goal 0.25)")


def many(arguments: argparse.Namespace, work: Path, vidsim: list[str]) -> None:
    folder = work / "many"
    make(arguments.folder, folder, arguments.many)
    options = [str(folder), "--encoder", "motion-energy", "--json", "--root"]
    extract, index = [*vidsim, "extract", *options], [*vidsim, "index", *options]
    tenth, tenth_mb, _ = measured([*extract, str(work / "tenth"), "--limit", str(arguments.many // 10)])
    whole, whole_mb, printed = measured([*extract, str(work / "whole")])
    built, built_mb, indexed = measured([*index, str(work / "whole")])
    again, _, _ = measured([*index, str(work / "whole")])
    answer = json.loads(printed)
    vectors_mb = answer["rows"] * json.loads(indexed)["index"]["dims"] * 4 / 2**20
    print(f"{answer['encoded']} short clips in {whole:.0f} s, a tenth of them in {tenth:.0f} s")
    print(f"peak memory {whole_mb:.0f} MB against {tenth_mb:.0f} MB for a tenth: {whole_mb / tenth_mb:.2f}x")
    print(f"building the index: {built:.1f} s, peak {built_mb:.0f} MB for {vectors_mb:.0f} MB of vectors")
    print(f"rerun with nothing to do: {again:.2f} s (goal 5 s)")


if __name__ == "__main__":
    main()
