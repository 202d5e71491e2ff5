"""The C library's heap, looked at from a process of its own: what is freed must leave it."""

import subprocess
import sys

import pytest

FREED = """
import ctypes, sys
from pathlib import Path
from vidsim.cli.heap import map_large_blocks

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

c = ctypes.CDLL(None)
c.malloc.restype = ctypes.c_void_p
c.malloc.argtypes = [ctypes.c_size_t]
c.free.argtypes = [ctypes.c_void_p]
c.free(c.malloc(30 << 20))  # glibc maps no smaller block from here on
if sys.argv[1] == "mapped":
    map_large_blocks()
before, blocks = resident(), []
for _ in range(40):
    block = c.malloc(4 << 20)
    ctypes.memset(block, 1, 4 << 20)
    blocks += [block, c.malloc(4096)]  # a small one above each keeps the heap from shrinking
for block in blocks[::2]:
    c.free(block)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap is meant: needs Linux")
def test_large_blocks_that_are_freed_leave_the_process():
    left = {
        how: float(
            subprocess.run([sys.executable, "-c", FREED, how], capture_output=True, text=True, check=True).stdout
        )
        for how in ("plain", "mapped")
    }
    assert left["plain"] > 100  # MB of the 160
    assert left["mapped"] < 20
