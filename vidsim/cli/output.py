"""Files that verbs write where the user says: whole or not at all, and never over another by accident."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Literal

from vidsim.errors import VidsimError

FIGURE = (".png", ".svg")
"""What a file with a figure may end in."""

PAGE = (".html", ".htm")
"""What a file with a page may end in."""


def check_out(out: Path | None, suffixes: Collection[str], *, force: bool, option: str = "--out") -> None:
    """Refuse a place that cannot be written, before any work is done.

    Parameters
    ----------
    out : Path or None
        File to write; None where the option was left out.
    suffixes : collection of str
        Legal suffixes, in lower case.
    force : bool
        Whether a file that is there may be replaced.
    option : str
        Named in errors.

    Raises
    ------
    VidsimError
        If the suffix is another, something is there already, or the folder is missing or closed.
    """
    if out is None:
        return
    if out.suffix.lower() not in suffixes:
        raise VidsimError(f"{option} {str(out)!r}: expected a name that ends in {' or '.join(suffixes)}")
    try:
        taken = out.is_dir() or (out.exists() and not force)
        folder = out.parent.is_dir()
    except (OSError, ValueError) as error:
        raise VidsimError(f"{option} {str(out)!r}: {getattr(error, 'strerror', None) or error}") from error
    if taken:
        hint = "give another name" if out.is_dir() else "--force replaces it, or give another name"
        raise VidsimError(f"{option} {str(out)!r} exists already; {hint}")
    if not folder:
        raise VidsimError(f"{option} {str(out)!r}: no folder {str(out.parent)!r}; make it first")
    if not os.access(out.parent, os.W_OK):
        raise VidsimError(f"{option} {str(out)!r}: permission denied to write in {str(out.parent)!r}")


def write_out(out: Path, write: Callable[[BinaryIO], object], *, force: bool, option: str = "--out") -> None:
    """Write a file whole or not at all.

    Parameters
    ----------
    out : Path
        File to write; `check_out` has passed it.
    write : callable
        Writes the content to an open binary file.
    force : bool
        Whether a file that is there may be replaced.
    option : str
        Named in errors.

    Raises
    ------
    VidsimError
        If it cannot be written; what was there is then as it was.
    """
    place = out.resolve()  # a link stays, what it leads to is replaced
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if out.exists() and not force:  # somebody may have written it meanwhile
            raise VidsimError(f"{option} {str(out)!r} exists already; --force replaces it, or give another name")
        partial.replace(place)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise VidsimError(f"{option} {str(out)!r}: cannot be written: {reason}; nothing was changed") from error
    finally:
        partial.unlink(missing_ok=True)


def form_of(figure: Path) -> Literal["png", "svg"]:
    """Tell from the name of a figure, which `check_out` has passed, in which form it is written."""
    return "svg" if figure.suffix.lower() == ".svg" else "png"
