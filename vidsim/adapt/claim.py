"""Claim: one training at a time has an adapter's name. Imports no torch."""

import os
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from vidsim.errors import VidsimError

RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Where a launcher tells each of several processes which it is."""


@contextmanager
def claimed(folders: Iterable[Path]) -> Generator[None]:
    """Keep other trainings from the names of adapters; of several processes that train together the first does.

    The system gives a name free when the process ends, however it does.

    Parameters
    ----------
    folders : iterable of Path
        Folders of the adapters, which may be missing. The folder around them is made, and removed if it stays empty.

    Yields
    ------
    None
        Train here.

    Raises
    ------
    VidsimError
        If another training has one of the names.
    """
    with ExitStack() as held:
        if all(os.environ.get(rank, "0") == "0" for rank in RANKS):
            for folder in folders:
                held.enter_context(_claimed(folder))
        yield


@contextmanager
def _claimed(folder: Path) -> Generator[None]:
    file = folder.with_name(f".{folder.name}.lock")
    # whoever shares the folder may claim the name next
    lock = FileLock(file, mode=0o666, is_singleton=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise VidsimError(
            f"another training of {folder.name!r} is running in {os.fspath(folder.parent)!r}; wait until it ends, or "
            "give another --name"
        ) from None
    try:
        yield
    finally:
        file.unlink(missing_ok=True)  # while it is held: whoever has opened it meanwhile sees that it is gone
        lock.release()
        with suppress(OSError):  # nothing was left in it
            folder.parent.rmdir()
