"""Paths: as users write them, and whether there is anything at them."""

import os
from pathlib import Path
from shlex import quote

from vidsim.errors import VidsimError

DEFAULT = "indexes"
"""The artefact root where none is named."""

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


def rooted(root: Place) -> str:
    """Return an artefact root as text, with ``~`` expanded; addresses of object stores are passed through.

    Parameters
    ----------
    root : str or path
        Local folder, or an address as text.

    Returns
    -------
    str
        Folder or address.

    Raises
    ------
    VidsimError
        If it is an address made a path, which has lost a slash, or the home folder is not known.
    """
    text = os.fspath(root)
    if "://" in text:
        return text
    scheme, colon, rest = text.partition(":/")
    if isinstance(root, os.PathLike) and colon and scheme in (*SCHEMES, *FURTHER, "file"):
        raise VidsimError(f"{text!r} is an address made a path; give it as text: '{scheme}://{rest}'")
    return os.fspath(expand(text))


def root_option(root: str) -> str:
    """Complete a command that is advised by the artefact root it is for.

    Parameters
    ----------
    root : str
        Artefact root.

    Returns
    -------
    str
        Starts with a blank; empty for the default root.

    Examples
    --------
    >>> root_option("my root"), root_option("indexes")
    (" --root 'my root'", '')
    """
    return "" if root == DEFAULT else f" --root {quote(root)}"


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
