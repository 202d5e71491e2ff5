"""Measure extraction and training on a GPU, as shares of the matrix products that it can do.

Models have the geometry of the published ones and random weights. The peak is that of a bf16 product of two matrices of
8,192 x 8,192 random numbers, in the same run. Operations are counted by torch, a multiplication with its addition as
two; those that checkpointing repeats do not count.

    python benchmarks/gpu.py extract FOLDER_OF_VIDEOS
    python benchmarks/gpu.py train RELEASE
    python benchmarks/gpu.py search

`extract`: clips a second of prepared frames through all layers, projected; then of files, beside the decoding alone.
`train`: fine-tuning TimeSformer-base by both samplers, without decoding, and the time of the paper's 50 epochs.
`search`: exact search and the building of indexes by faiss-gpu, beside the same on the CPU.
"""

import argparse
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from checkpoints import WRITERS, timesformer
from search import clustered
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode
from train import Silent, Slices, load

from vidsim.adapt.recipe import Recipe, read_recipe
from vidsim.adapt.trainer import Trainer
from vidsim.data.sources import from_folder
from vidsim.data.video import decoder
from vidsim.encoders import catalog
from vidsim.encoders.decoding import DecodingProcesses
from vidsim.extract.encode import encode
from vidsim.extract.run import extract
from vidsim.extract.spec import FeatureSpec
from vidsim.retrieval import approximate, exact, gpu
from vidsim.store import Store

from clips import make

WAYS = ("plain", "checkpointing", "compiled")
HALF, FULL = FeatureSpec(compute="bfloat16"), FeatureSpec()


def timed(run: Callable[[], object], device: str, *, warm: int = 3, seconds: float = 2.0) -> float:
    """Return the median seconds of a call, after some that do not count."""
    taken: list[float] = []
    while len(taken) < warm + 3 or sum(taken[warm:]) < seconds:
        start = time.perf_counter()
        run()
        wait(device)
        taken.append(time.perf_counter() - start)
    return median(taken[warm:])


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def matrix_peak(device: str, side: int) -> float:
    """Measure operations a second of a matrix product."""
    one, two = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / timed(lambda: one @ two, device, seconds=0.5)


class FromBegin:
    """Progress that notes when the encoding began."""

    def begin(self, total: int, what: str) -> None:
        """Take the time."""
        self.start = time.perf_counter()

    def advance(self, encoded: int, failed: int) -> None:
        """Take note of nothing."""


def cut(source: Path, out: Path, number: int) -> None:
    """Make clips of 75 frames from one video."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(source, folder)
        make(Path(folder), out, number, frames=75, height=240, width=320)


def measure_extraction(
    name: str, weights: Path, videos: Path, device: str, peak: float, batches: list[int], work: Path
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

    workers = os.cpu_count() or 1
    paths = sorted(videos.iterdir())
    reader = decoder("pyav")

    def read(path: Path) -> None:
        reader.decode(path, card.sampling.times, encoder.prepare)

    threads = decoding(read, paths, workers)
    with DecodingProcesses("pyav", card.sampling, encoder.preprocess, pinned=device != "cpu") as processes:
        decoded = decoding(processes.frames, paths, workers)
    began = FromBegin()
    report = extract(
        from_folder(videos),
        resolved,
        Store(work / name, create=True),
        spec=HALF,
        device=device,
        workers=workers,
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


def extraction(source: Path, device: str, peak: float, number: int, batches: list[int], names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        videos = work / "videos"
        paths = sorted(path for path in source.iterdir() if path.suffix in {".mp4", ".mkv"})
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            share = -(-number // len(paths))
            list(pool.map(cut, paths, [videos] * len(paths), [share] * len(paths)))
        for name in names:
            measure_extraction(name, WRITERS[name](work / f"{name}.checkpoint"), videos, device, peak, batches, work)


def variant(recipe: Recipe, *, checkpointing: bool, compiled: bool) -> Recipe:
    run = recipe.run.model_copy(update={"checkpointing": checkpointing, "compile": compiled})
    return recipe.model_copy(update={"run": run})


def training(
    release: Path, device: str, peak: float, steps: int, names: list[str], ways: list[str], profiled: bool
) -> None:
    material = load(release)
    rng = np.random.default_rng(0)
    shape = (8, 3, 224, 224)
    assert material.validation is not None
    ids = [*material.fit.ids, *material.validation.ids]
    frames = {name: torch.from_numpy(rng.integers(0, 256, shape, np.uint8)) for name in ids}
    material = replace(material, captions=None, frames=frames.__getitem__)
    with tempfile.TemporaryDirectory() as folder:
        base = catalog.resolve("timesformer-base", checkpoint=str(timesformer(Path(folder) / "base")))
        for name in names:
            operations = 0
            for what in ways:
                recipe = variant(read_recipe(name), checkpointing=what == "checkpointing", compiled=what == "compiled")
                start = time.perf_counter()
                trainer = Trainer(recipe, base, material, seed=0, device=device)
                model, optimiser = trainer.accelerator.prepare(*trainer._ready())
                operations = operations or operations_of_a_clip(trainer, model, optimiser)
                if profiled:
                    print(profile_of(trainer, model, optimiser))
                found = measure_training(trainer, model, optimiser, device, steps)
                clips, seconds, epoch = found["clips"], found["seconds"], found["epoch"]
                share = operations * clips / seconds / peak
                print(
                    f"{name}, {what}: {clips / seconds:,.0f} clips/s, {seconds * 1000:.1f} ms a step of {clips:.0f}, "
                    f"{share:.1%} of the peak, {found['memory'] / 1e9:.1f} GB; epoch of {found['steps']:,} steps "
                    f"{epoch:.1f} s and validation {found['validation']:.2f} s; 50 epochs "
                    f"{50 * (epoch + found['validation']) / 60:.1f} min (took {time.perf_counter() - start:.0f} s)",
                    flush=True,
                )
                gc.collect()
                torch.cuda.empty_cache() if device != "cpu" else None


def retrieval(rows: int, dims: int, queries: int) -> None:
    """Compare searching and building on the GPU with the same on the CPU."""
    matrix = clustered(rows, dims)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    asked = np.ascontiguousarray(matrix[:: rows // queries][:queries])
    on_gpu, on_cpu = gpu.nearest(matrix, asked, 10), exact.nearest_among(exact.blocks(matrix), asked, 10)
    same = np.mean(on_gpu[1] == on_cpu[1])
    print(f"exact: the same rows in {same:.2%}, similarities differ by {abs(on_gpu[0] - on_cpu[0]).max():.1e} at most")
    fast = timed(lambda: gpu.nearest(matrix, asked, 10), "cpu")
    slow = timed(lambda: exact.nearest_among(exact.blocks(matrix), asked, 10), "cpu")
    print(f"  {len(asked):,} queries in {rows:,} x {dims}: {fast:.3f} s, on the CPU {slow:.3f} s, {slow / fast:.1f}x")
    there = gpu.available
    for kind in ("ivf-flat", "ivf-pq"):
        seconds, found = [], []
        for answer in (there, lambda: False):
            gpu.available = answer
            start = time.perf_counter()
            structure = approximate.build(kind, matrix, 0)
            seconds.append(time.perf_counter() - start)
            structure.parameters["nprobe"] = 16
            nearest = structure.nearest(asked, 10)[1]
            found.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(nearest, on_cpu[1], strict=True)]))
        gpu.available = there
        one, two = seconds
        print(f"{kind}: built in {one:.1f} s, on the CPU {two:.1f} s, {two / one:.1f}x; ", end="")
        print("recall@10 at 16 lists {:.3f} and {:.3f}".format(*found), flush=True)


def profile_of(trainer: Trainer, model: Any, optimiser: Any) -> str:
    """Profile four steps, after four that do not count."""
    whole = trainer.batches
    trainer.batches = Slices(whole, min(4, len(whole)))
    trainer._epoch(0, model, optimiser, Silent())
    with profile() as found:
        trainer._epoch(1, model, optimiser, Silent())
        wait(trainer.accelerator.device.type)
    trainer.batches = whole
    return found.key_averages().table(sort_by=f"self_{trainer.accelerator.device.type}_time_total", row_limit=25)


def operations_of_a_clip(trainer: Trainer, model: Any, optimiser: Any) -> int:
    """Count the operations of a step, forward and backward, for each of its clips."""
    whole = trainer.batches
    trainer.batches = Slices(whole, 1)
    with FlopCounterMode(display=False) as counter:
        trainer._epoch(0, model, optimiser, Silent())
    clips = len(next(iter(trainer.batches.epoch(0))).stimuli)
    trainer.batches = whole
    return counter.get_total_flops() // clips


def measure_training(trainer: Trainer, model: Any, optimiser: Any, device: str, steps: int) -> dict[str, float]:
    """Train some steps, then as many again with a clock."""
    whole = trainer.batches
    trainer.batches = Slices(whole, min(steps, len(whole)))
    trainer._epoch(0, model, optimiser, Silent())
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    wait(device)
    start = time.perf_counter()
    trainer._epoch(1, model, optimiser, Silent())
    wait(device)
    seconds = (time.perf_counter() - start) / len(trainer.batches)
    clips = sum(len(step.stimuli) for step in trainer.batches.epoch(1)) / len(trainer.batches)
    memory = torch.cuda.max_memory_allocated() if device != "cpu" else 0
    assert trainer.material.validation is not None
    held = trainer.material.validation.ids
    validation = timed(lambda: trainer.embed(held), device, warm=1, seconds=0)
    return {
        "clips": clips,
        "seconds": seconds,
        "steps": len(whole),
        "epoch": len(whole) * seconds,
        "memory": memory,
        "validation": validation,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    one = commands.add_parser("extract")
    one.add_argument("videos", type=Path)
    one.add_argument("--clips", type=int, default=512)
    one.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    one.add_argument("--encoders", nargs="+", default=list(WRITERS))
    two = commands.add_parser("train")
    two.add_argument("release", type=Path)
    two.add_argument("--steps", type=int, default=60)
    two.add_argument("--recipes", nargs="+", default=["timesformer-base-hybrid", "timesformer-base-hybrid-stimuli"])
    two.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    two.add_argument("--profile", action="store_true", help="print where the time of four steps goes")
    three = commands.add_parser("search")
    three.add_argument("--rows", type=int, default=100_000)
    three.add_argument("--dims", type=int, default=768)
    three.add_argument("--queries", type=int, default=1000)
    for command in (one, two, three):
        command.add_argument("--device", default="cuda")
        command.add_argument("--side", type=int, default=8192, help="of the matrices of the peak")
    told = parser.parse_args()
    if told.device != "cpu" and not torch.cuda.is_available():
        parser.error(
            "torch sees no GPU; expected a CUDA build of torch and a device (--device cpu tries the script out)"
        )
    peak = matrix_peak(told.device, told.side)
    name = torch.cuda.get_device_name() if told.device != "cpu" else "CPU"
    print(f"{name}: {peak / 1e12:.0f} TFLOP/s in bf16, torch {torch.__version__}", flush=True)
    if told.what == "extract":
        extraction(told.videos, told.device, peak, told.clips, told.batches, told.encoders)
    elif told.what == "search":
        retrieval(told.rows, told.dims, told.queries)
    else:
        training(told.release, told.device, peak, told.steps, told.recipes, told.ways, told.profile)


if __name__ == "__main__":
    main()
