"""Artefact root: where everything built is kept."""

import os
import re
from urllib.parse import unquote

from vidsim.errors import VidsimError
from vidsim.paths import DEFAULT, EXPECTED, FURTHER, SCHEMES, expand

DEFAULT_ROOT = DEFAULT

VARIABLE = "VIDSIM_ROOT"
"""Names the root for all verbs."""


_ADDRESS = re.compile(r"([a-z][a-z0-9+-]+):/|(s3|gs|az):")
"""How addresses of object stores begin, also those with a slash too few or too many."""


def root_of(root: str) -> str:
    """Return the artefact root with ``~`` expanded; addresses of object stores are passed through.

    Parameters
    ----------
    root : str
        As the user wrote it.

    Returns
    -------
    str
        Folder, that of a ``file://`` address too, or address.

    Raises
    ------
    VidsimError
        If it is empty, begins like an address and is none, or is of an unknown scheme.
    """
    if not root:
        raise VidsimError("--root is empty; expected a folder, or s3://bucket/prefix")
    if _ADDRESS.match(root):
        scheme, _, rest = root.partition(":")
        place = rest.strip("/")
        slashes = "///" if scheme == "file" else "//"
        if not place or not re.match(rf"{slashes}[^/]", rest):
            right = f"{scheme}:{slashes}{place or 'bucket/prefix'}"
            raise VidsimError(f"--root {root!r} is no address; expected {right}, or a folder")
    scheme, remote, rest = root.partition("://")
    if scheme == "file" and remote:
        return unquote(rest)
    if not remote:
        return os.fspath(expand(root))
    if scheme not in (*SCHEMES, *FURTHER):
        raise VidsimError(f"--root {root!r} begins with {scheme + remote!r}, which is not known; expected {EXPECTED}")
    return root
