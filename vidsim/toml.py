"""TOML files that users write."""

import os
from pathlib import Path
from typing import Any

from vidsim.errors import VidsimError


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What it should be, such as ``"a recipe"``, for messages.

    Returns
    -------
    dict
        What it holds.

    Raises
    ------
    VidsimError
        If there is no such file, or it cannot be read as TOML.
    """
    import tomllib  # most commands read no such file, and should not wait for it

    place = os.fspath(path)
    if not path.exists():
        raise VidsimError(f"no file {place!r}; expected {what} (TOML)")
    if not path.is_file():  # a pipe would be waited for
        raise VidsimError(f"{place}: is no file; expected {what} (TOML)")
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))  # some editors begin a file with a mark
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise VidsimError(f"{place}: cannot be read as TOML: {' '.join(str(said).split())}") from error
    except RecursionError as error:
        raise VidsimError(f"{place}: cannot be read as TOML: tables or lists are nested too deep") from error
