"""Device: what a GPU can do at most, and clocks that wait for it, for the other benchmarks."""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch


def options(parser: argparse.ArgumentParser) -> None:
    """Add what all benchmarks of a GPU take."""
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=8192, help="of the matrices of the peak")


def begin(parser: argparse.ArgumentParser, told: argparse.Namespace) -> float:
    """Say what the device is; return the operations a second of its bf16 products of two matrices."""
    if told.device != "cpu" and not torch.cuda.is_available():
        parser.error(
            "torch sees no GPU; expected a CUDA build of torch and a device (--device cpu tries the script out)"
        )
    if told.device != "cpu":
        torch.cuda.set_device(told.device)  # whose name is told, and whose work clocks wait for
    peak = matrix_peak(told.device, told.side)
    name = torch.cuda.get_device_name() if told.device != "cpu" else "CPU"
    print(f"{name}: {peak / 1e12:.0f} TFLOP/s in bf16, torch {torch.__version__}", flush=True)
    return peak


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
