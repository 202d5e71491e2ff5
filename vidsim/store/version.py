"""The latest version of a table, from the names of its files: LanceDB takes a second to import."""

import re

_NEWEST = 2**64 - 1
"""Lance names the manifest of version v by this less v, in 20 digits, so that the latest comes first."""

_NAME = re.compile(r"(\d{1,20})\.manifest")


def version_of(name: str) -> int | None:
    """Read a version from the name of a table's manifest, of the present scheme or the older plain one.

    Parameters
    ----------
    name : str
        Name of a file.

    Returns
    -------
    int or None
        The version; None if it is another file.

    Examples
    --------
    >>> version_of("18446744073709551611.manifest"), version_of("7.manifest"), version_of("latest_version_hint.json")
    (4, 7, None)
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return _NEWEST - int(found[1]) if len(found[1]) == 20 else int(found[1])
