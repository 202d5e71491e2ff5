"""Paths: as users write them, and whether there is anything at them."""

import os
from pathlib import Path

from vidsim.errors import VidsimError

SCHEMES = ("s3", "gs", "az", "abfss")
"""Object stores that may be an artefact root, as addresses begin."""

FURTHER = ("s3+ddb", "oss", "cos", "hf", "goosefs")
"""Schemes that LanceDB knows beside; an index cannot be on all of them."""

EXPECTED = f"{', '.join(f'{scheme}://' for scheme in SCHEMES[:-1])} or {SCHEMES[-1]}://, or a folder"
"""What a root may be, in words."""


Place = str | os.PathLike[str]
"""A file or a folder, as callers may give it."""


def expand(place: Place) -> Path:
    """Put a home folder in the place of ``~``.

    Parameters
    ----------
    place : str or path
        Path as the user wrote it.

    Returns
    -------
    Path
        The path; without ``~`` as it is.

    Raises
    ------
    VidsimError
        If the home folder is not known.
    """
    try:
        return Path(place).expanduser()
    except RuntimeError as error:
        raise VidsimError(
            f"{os.fspath(place)!r} begins with a home folder that is not known here; write the path out"
        ) from error


def vanished(place: Place) -> bool:
    """Tell whether there is certainly nothing at a path: not where a folder above it cannot be looked into.

    Parameters
    ----------
    place : str or path
        The path.

    Returns
    -------
    bool
        False where there is something, or nobody can tell.
    """
    try:
        Path(place).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
