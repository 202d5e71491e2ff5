"""Mapped weights: those that lie in a checkpoint's file leave this process's memory once they were used."""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

LARGE = 1 << 20
"""Bytes from which a weight is worth a call to the system."""

MADV_DONTNEED = 4
"""What ``sys/mman.h`` calls the advice that pages can go; those of a file are read from it again when touched."""

PAGEMAP = Path("/proc/self/pagemap")
PRESENT, SWAPPED, OF_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))
"""Bits of a page's entry in the map (Linux, ``Documentation/admin-guide/mm/pagemap.rst``)."""


def release_when_used(model: nn.Module) -> None:
    """Let the pages of a layer's weights go after the layer has run, where they are those of a file.

    Libraries map safetensors: on a CPU, weights in the file's own precision are its pages. The system keeps these in
    its cache while it has room, and processes share them there; in inference mode this process holds those of one layer
    at a time. Weights that are no file's, or were written to, stay. Without Linux's page map nothing happens.

    Parameters
    ----------
    model : Module
        A model whose layers get hooks.
    """
    if sys.platform.startswith("linux"):
        for module in model.modules():
            if _large(module):
                module.register_forward_hook(_release)


def _release(module: nn.Module, _inputs: object, _output: object) -> None:
    if torch.is_inference_mode_enabled():
        for weight in _large(module):
            _release_pages(weight.data_ptr(), weight.nbytes)


def _large(module: nn.Module) -> list[Tensor]:
    own = module.parameters(recurse=False)
    return [weight for weight in own if weight.device.type == "cpu" and weight.nbytes >= LARGE]


def _release_pages(start: int, size: int) -> None:
    """Release the pages that lie wholly between two addresses, if all of them are as the file has them."""
    first, last = -(-start // mmap.PAGESIZE), (start + size) // mmap.PAGESIZE
    try:
        with PAGEMAP.open("rb", buffering=0) as pages:
            entries = np.frombuffer(os.pread(pages.fileno(), 8 * (last - first), 8 * first), np.uint64)
    except OSError:  # some containers hide it
        return
    # a page that was written to is this process's own: it would be lost
    kept = (entries & SWAPPED != 0) | (entries & (PRESENT | OF_FILE) == PRESENT)
    if len(entries) == last - first and not kept.any():
        address, length = first * mmap.PAGESIZE, (last - first) * mmap.PAGESIZE
        ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), MADV_DONTNEED)
