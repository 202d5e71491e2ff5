"""Peak memory, of a command and of this process: the system's own count for a child begins at its parent's peak."""

import json
import subprocess
import sys
from pathlib import Path

WATCH = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
printed = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
seconds = time.perf_counter() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, printed]))
"""


def measured(command: list[str]) -> tuple[float, float, str]:
    """Run a command, watched by a small process; return wall seconds, peak memory in MB, and what it printed."""
    run = subprocess.run([sys.executable, "-c", WATCH, *command], stdout=subprocess.PIPE, check=True)
    seconds, megabytes, printed = json.loads(run.stdout)
    return seconds, megabytes, printed


def peak() -> float:
    """Return the peak of this process's resident memory in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
