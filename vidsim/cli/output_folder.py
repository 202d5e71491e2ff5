"""Folders that verbs write where the user says: whole or not at all, and never over what is not their own."""

import os
from collections.abc import Callable
from pathlib import Path

from vidsim.errors import VidsimError


def try_writing(folder: Path) -> None:
    """Write a file in a folder, to see whether it can be; it has no name, or loses it at once.

    Parameters
    ----------
    folder : Path
        The folder. While it is missing, the nearest one around it is tried, in which it would be made.

    Raises
    ------
    OSError
        If it cannot be written, or is no folder.
    """
    from tempfile import TemporaryFile

    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    with TemporaryFile(dir=there) as file:
        file.write(bytes(4096))
        file.flush()
        os.fsync(file.fileno())


def refuse_closed(folder: Path, what: str) -> None:
    """Refuse work whose result could not be written in the end.

    Parameters
    ----------
    folder : Path
        As for `try_writing`.
    what : str
        What could not be done, in words; for the error.

    Raises
    ------
    VidsimError
        If the folder cannot be written.
    """
    from vidsim.disk import remedy

    try:
        try_writing(folder)
    except OSError as error:
        raise VidsimError(
            f"{what}: {error.strerror or error}; {remedy(error)} and run the same command again"
        ) from error


def check_folder(out: Path, own: str, *, force: bool, option: str = "--out") -> None:
    """Refuse a place that cannot be written, before any work is done.

    Parameters
    ----------
    out : Path
        Folder to write.
    own : str
        A file that such a folder holds: with ``force`` one that has it, or an empty one, is replaced, and no other.
    force : bool
        Whether a folder that is there may be replaced.
    option : str
        Named in errors.

    Raises
    ------
    VidsimError
        If something is there already, or the folder around it is missing or closed.
    """
    try:
        taken = out.exists() or out.is_symlink()
        replaceable = out.is_dir() and not out.is_symlink() and ((out / own).is_file() or not any(out.iterdir()))
        around = out.resolve().parent
        place = around.is_dir()
    except (OSError, ValueError) as error:
        raise VidsimError(f"{option} {str(out)!r}: {getattr(error, 'strerror', None) or error}") from error
    if taken and not replaceable:
        raise VidsimError(f"{option} {str(out)!r} exists already and holds no {own}; give another name")
    if taken and not force:
        raise VidsimError(f"{option} {str(out)!r} exists already; --force replaces it, or give another name")
    if not place:
        raise VidsimError(f"{option} {str(out)!r}: no folder {str(out.parent)!r}; make it first")
    if not os.access(around, os.W_OK):
        raise VidsimError(f"{option} {str(out)!r}: permission denied to write in {str(out.parent)!r}")


def write_folder(out: Path, own: str, fill: Callable[[Path], object], *, force: bool, option: str = "--out") -> None:
    """Write a folder aside, and give it its name when all of it is on disk.

    Parameters
    ----------
    out : Path
        Folder to write; `check_folder` has passed it.
    own : str
        As for `check_folder`.
    fill : callable
        Writes the files into the empty folder it is given.
    force : bool
        Whether a folder that is there may be replaced.
    option : str
        Named in errors.

    Raises
    ------
    VidsimError
        If it cannot be written; what was there is then as it was.
    """
    from vidsim.adapt.drafts import replaced

    try:
        with replaced(out.resolve()) as made:
            fill(made)
            for path in made.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            check_folder(out, own, force=force, option=option)  # somebody may have written it meanwhile
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise VidsimError(f"{option} {str(out)!r}: cannot be written: {reason}; nothing was changed") from error
