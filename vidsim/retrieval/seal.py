"""Checksums of an index's files: the whole content, and sums by block that are quick to check."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vidsim.retrieval.artefacts import digest

BLOCK = 1 << 20
BLOCKS = 1024
"""Most blocks of a file: larger files have larger ones."""

CHECKED = 1 << 29
"""Bytes of a file that are checked when it is opened to be searched: all of it up to here, else a sample of blocks."""


def seal(path: Path) -> dict[str, Any]:
    """Describe a file's content.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    dict
        ``size`` in bytes, ``block`` in bytes, and ``sums``: of every block, the sum of its 64-bit words modulo 2**64,
        as 16 hex digits; any single altered word alters one.
    """
    size = path.stat().st_size
    block = max(BLOCK, -(-size // BLOCKS) + 7 & ~7)
    return {"size": size, "block": block, "sums": "".join(_sums(path, size, block, range(_count(size, block))))}


def intact(path: Path, file: Mapping[str, Any], *, thorough: bool) -> bool:
    """Tell whether a file is what was written.

    Parameters
    ----------
    path : Path
        The file.
    file : mapping
        What `seal` said of it, and its ``sha256``.
    thorough : bool
        Compare the SHA-256 of the whole content. Otherwise the size and the sums, of all blocks up to `CHECKED` bytes;
        of larger files the first block, the last, and others by chance, so that over many searches all are met.

    Returns
    -------
    bool
        False where it has been altered or cut off.
    """
    if thorough:
        return digest(path) == file["sha256"]
    size, block, sums = file["size"], file["block"], file["sums"]
    count = _count(size, block)
    if path.stat().st_size != size or len(sums) != 16 * count:
        return False
    chosen = np.arange(count)
    if size > CHECKED:
        chosen = np.random.default_rng().choice(count, max(2, CHECKED // block), replace=False)
        chosen[:2] = 0, count - 1
    return all(sums[16 * b : 16 * b + 16] == s for b, s in zip(chosen, _sums(path, size, block, chosen), strict=True))


def _count(size: int, block: int) -> int:
    return -(-size // block)


def _sums(path: Path, size: int, block: int, chosen: Any) -> Any:
    if not size:
        return
    content = np.memmap(path, np.uint8, "r")
    for number in chosen:
        part = content[number * block : (number + 1) * block]
        whole = len(part) // 8 * 8
        total = int(np.add.reduce(part[:whole].view(np.uint64))) + int.from_bytes(part[whole:].tobytes(), "little")
        yield f"{total % 2**64:016x}"
