"""Measure how soon `vidsim models` answers, beside an empty program and the import of the command line's parser.

Prints medians and ranges in milliseconds over interleaved runs, each a process of its own.

    python benchmarks/models.py
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

COMMANDS = {
    "vidsim models": [str(Path(sys.executable).with_name("vidsim")), "models"],
    "import typer": [sys.executable, "-c", "import typer"],
    "an empty program": [sys.executable, "-c", ""],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=25)
    repeats = parser.parse_args().repeats
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for repeat in range(repeats + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if repeat:  # the first may compile
                taken[name].append(1000 * (time.perf_counter() - start))
    for name, times in taken.items():
        print(f"{name:18}{median(times):4.0f} ms ({min(times):.0f} to {max(times):.0f})")


if __name__ == "__main__":
    main()
