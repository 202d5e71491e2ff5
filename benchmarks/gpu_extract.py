"""Measure extraction on a GPU, as a share of the matrix products that it can do, and decoding beside it.

Models have the geometry of the published ones and random weights. The peak is that of a bf16 product of two matrices of
8,192 x 8,192 random numbers, in the same run. Operations are counted by torch, a multiplication with its addition as
two.

    python benchmarks/clips.py FOLDER_OF_VIDEOS CLIPS --number 128 --frames 75 --height 240 --width 320
    python benchmarks/gpu_extract.py CLIPS

Clips a second of prepared frames through all layers, projected; then of files (the clips, copied as often as it takes),
beside the decoding alone.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from checkpoints import WRITERS
from device import begin, options, timed
from torch.utils.flop_counter import FlopCounterMode

from vidsim.data.sources import from_folder
from vidsim.data.video import decoder
from vidsim.encoders import catalog
from vidsim.encoders.decoding import DecodingProcesses
from vidsim.encoders.scaling import stack_prepared
from vidsim.extract.encode import encode
from vidsim.extract.run import extract
from vidsim.extract.spec import FeatureSpec
from vidsim.store import Store

HALF, FULL = FeatureSpec(compute="bfloat16"), FeatureSpec()


class FromBegin:
    """Progress that notes when the encoding began."""

    def begin(self, total: int, what: str) -> None:
        """Take the time."""
        self.start = time.perf_counter()

    def advance(self, encoded: int, failed: int) -> None:
        """Take note of nothing."""


def measure_extraction(
    name: str,
    weights: Path,
    videos: Path,
    device: str,
    peak: float,
    batches: list[int],
    at_once: int | None,
    work: Path,
) -> None:
    resolved = catalog.resolve(name, checkpoint=str(weights))
    encoder: Any = catalog.load(resolved, device=device)
    card = encoder.card
    rng = np.random.default_rng(0)
    shape = (card.sampling.frames, 3, card.size, card.size)
    items = [torch.from_numpy(rng.integers(0, 256, shape, np.uint8)) for _ in range(max(batches))]

    half = encode(encoder, items[:2], card.layers, HALF, device)
    full = encode(encoder, items[:2], card.layers, FULL, device)
    exact = encode(catalog.load(resolved, device="cpu"), items[:2], card.layers, FULL, "cpu")
    error = max(np.linalg.norm(full[x] - exact[x]) / np.linalg.norm(exact[x]) for x in card.layers)
    rough = max(np.linalg.norm(half[x] - exact[x]) / np.linalg.norm(exact[x]) for x in card.layers)

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder.forward(encoder.preprocess.normalise(items[0][None].to(device)))
    work_of_a_clip = counter.get_total_flops()
    print(f"{name}: {work_of_a_clip / 1e9:,.0f} GFLOP a clip; float32 differs by {error:.1e} from the CPU's, ", end="")
    print(f"bf16 by {rough:.1e}", flush=True)
    rates: dict[int, float] = {}
    for batch in batches:
        rates[batch] = batch / timed(lambda n=batch: encode(encoder, items[:n], card.layers, HALF, device), device)
        share = rates[batch] * work_of_a_clip / peak
        print(f"  prepared frames, {batch} at once: {rates[batch]:,.0f} clips/s, {share:.1%} of the peak", flush=True)
    if device != "cpu":
        batch = max(rates, key=lambda one: rates[one])
        pixels = encoder.preprocess.normalise(torch.stack(items[:batch]).to(device))

        def alone() -> None:
            with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
                encoder.forward(pixels)

        rate = batch / timed(alone, device)
        print(f"  the upstream network alone, {batch} at once: {rate:,.0f} clips/s, {rate * work_of_a_clip / peak:.1%}")

    if encoder.preprocess.can_wait(240, 320):
        raw = rng.integers(0, 256, (card.sampling.frames, 240, 320, 3), np.uint8)
        unscaled = [torch.from_numpy(raw)] * max(batches)
        rate = len(unscaled) / timed(lambda: stack_prepared(unscaled, encoder.preprocess, device), device)
        print(f"  scaling frames of 240 x 320: {rate:,.0f} clips/s", flush=True)

    workers = os.cpu_count() or 1
    paths = sorted(videos.iterdir())
    reader = decoder("pyav")

    def read(path: Path) -> None:
        reader.decode(path, card.sampling.times, encoder.prepare)

    threads = decoding(read, paths, workers)
    gpu = device != "cpu"
    with DecodingProcesses("pyav", card.sampling, encoder.preprocess, pinned=gpu, unscaled=gpu) as processes:
        decoded = decoding(processes.read, paths, workers)
    began = FromBegin()
    report = extract(
        from_folder(videos),
        resolved,
        Store(work / name, create=True),
        spec=HALF,
        device=device,
        workers=workers,
        batch_size=at_once,
        progress=began,
    )
    whole = report.encoded / (time.perf_counter() - began.start)
    print(f"  files, {workers} workers: {whole:,.0f} clips/s; decoding alone {decoded:,.0f} in processes, ", end="")
    print(f"{threads:,.0f} in threads", flush=True)


def decoding(read: Callable[[Path], object], paths: list[Path], workers: int) -> float:
    """Decode all files in threads; return files a second, the first of each thread left out."""
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        list(pool.map(read, paths[:workers]))
        start = time.perf_counter()
        list(pool.map(read, paths))
        return len(paths) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--number", type=int, default=2048, help="of files")
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--batch-size", type=int, help="of files; as extraction chooses it")
    parser.add_argument("--encoders", nargs="+", default=list(WRITERS))
    options(parser)
    told = parser.parse_args()
    peak = begin(parser, told)
    with tempfile.TemporaryDirectory() as folder:
        work, videos = Path(folder), Path(folder, "videos")
        videos.mkdir()
        for number, path in enumerate(islice(cycle(sorted(told.clips.iterdir())), told.number)):
            shutil.copy(path, videos / f"{number:06}{path.suffix}")
        for name in told.encoders:
            weights = WRITERS[name](work / f"{name}.checkpoint")
            measure_extraction(name, weights, videos, told.device, peak, told.batches, told.batch_size, work)


if __name__ == "__main__":
    main()
