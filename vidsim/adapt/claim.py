"""Claim: one training at a time has an adapter's name. Imports no torch."""

import logging
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vidsim.errors import VidsimError

PROCESSES = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Where launchers tell each of several processes which it is, on its machine and of all: in accelerate's order."""

PATIENCE = 0.2
"""Seconds in which a training that is just ending gives its name free."""

log = logging.getLogger(__name__)


@contextmanager
def claimed(root: Path, names: Iterable[str]) -> Generator[None]:
    """Keep other trainings from the names of adapters; of several processes that train together the first does.

    The system gives a name free when the process ends, however it does. Where it has no locks, or another's file is in
    the way, nothing is claimed, and a warning says so.

    Parameters
    ----------
    root : Path
        Artefact root.
    names : iterable of str
        Names of the adapters.

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
        if _first(PROCESSES) is None or _first(RANKS) in {None, "0"}:
            for name in names:
                held.enter_context(_claimed(root, name))
        yield


@contextmanager
def _claimed(root: Path, name: str) -> Generator[None]:
    file = root / f".{name}.lock"
    # whoever shares the folder may claim the name next
    lock = FileLock(file, mode=0o666, fallback_to_soft=False)
    try:
        lock.acquire(PATIENCE)
    except Timeout:
        raise VidsimError(
            f"another training of {name!r} is running in {os.fspath(root)!r}; wait until it ends, or give another "
            "--name"
        ) from None
    except OSError as error:
        log.warning(
            "%r cannot be locked (%s): see that no other training has the name %r",
            os.fspath(file),
            error.strerror or error,
            name,
        )
    try:
        yield
    finally:
        if lock.is_locked:
            file.unlink(missing_ok=True)  # while it is held: whoever has opened it meanwhile sees that it is gone
            lock.release()


def _first(variables: Sequence[str]) -> str | None:
    return next((os.environ[name] for name in variables if os.environ.get(name)), None)
