"""What a disk refuses, with a remedy that fits. Imports no torch."""

import errno
import re

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def remedy(error: Exception) -> str:
    """Say what lets a write succeed that has failed.

    Parameters
    ----------
    error : Exception
        Of the system, or of a library that tells the system's number in its words.

    Returns
    -------
    str
        What to do.

    Examples
    --------
    >>> remedy(OSError(errno.EROFS, "Read-only file system"))
    'make it writable'
    """
    told = re.search(r"\(os error (\d+)\)", str(error))  # as Rust does
    number = getattr(error, "errno", None) or (int(told[1]) if told else None)
    return "make room" if number in NO_ROOM else "make it writable" if number in CLOSED else "mend that"
