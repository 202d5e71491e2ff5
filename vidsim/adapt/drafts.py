"""Drafts: folders beside others, in which one is written before it takes its place; and what is left of killed runs.

Imports no torch.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from vidsim.adapt.folder import MANIFEST
from vidsim.errors import VidsimError

PREFIX = ".draft-"
BEFORE = "before"
"""Where a draft keeps the folder that is replaced, under its own name."""

ABANDONED_SECONDS = 3600.0
"""Nobody writes in a draft in which nothing has changed for so long: it takes seconds."""


class Taken(VidsimError):
    """Something has taken the name of a folder while it was written."""


@contextmanager
def replaced(folder: Path, *, force: bool = True) -> Generator[Path]:
    """Write a folder aside, and give it its name when all of it is written.

    Parameters
    ----------
    folder : Path
        Where it will be. The folder around it exists.
    force : bool
        Whether what is there by then is replaced.

    Yields
    ------
    Path
        An empty folder to write into. After an error it is gone, and what was there is as it was.

    Raises
    ------
    Taken
        If something is there by then, and is not to be replaced.
    OSError
        If the folder cannot be made, or renamed.
    """
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder.parent, ignore_cleanup_errors=True) as draft:
        made = Path(draft) / "made"
        made.mkdir()
        yield made
        before = Path(draft) / BEFORE / folder.name
        before.parent.mkdir()
        try:
            if force and folder.exists():
                folder.rename(before)
            made.rename(folder)  # fails where there is a folder with anything in it
        except OSError as error:
            if force or not folder.exists():
                raise
            raise Taken(
                f"another run has left {os.fspath(folder)!r} meanwhile; move it elsewhere, or replace it with --force: "
                "the same command then does the rest"
            ) from error
        finally:
            if before.exists() and not folder.exists():
                before.rename(folder)


def remove_abandoned(folder: Path) -> None:
    """Remove the drafts that killed processes have left, an hour after anything changed in them.

    An adapter that had been taken away for the one that was to replace it comes back to its place.

    Parameters
    ----------
    folder : Path
        Where adapters lie; it may be missing.
    """
    now = time.time()
    for draft in sorted(folder.glob(f"{PREFIX}*")):
        if draft.is_dir() and not draft.is_symlink() and now - _changed(draft, now) > ABANDONED_SECONDS:
            _put_back(draft / BEFORE, folder)
            shutil.rmtree(draft, ignore_errors=True)  # another process may be removing it too


def _changed(draft: Path, now: float) -> float:
    """Return when anything in a draft changed last; what moves meanwhile has just changed."""
    try:
        return max(os.lstat(path).st_mtime for path in (draft, *draft.rglob("*")))
    except OSError:
        return now


def _put_back(before: Path, folder: Path) -> None:
    try:
        for own in list(before.glob("*")):
            if (own / MANIFEST).is_file() and not (folder / own.name).exists():
                own.rename(folder / own.name)
    except OSError:
        return
