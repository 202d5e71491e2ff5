"""What a disk refuses: why, and what to do about it. Imports no torch."""

import errno
import re

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
CLOSED = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}
"""Numbers of the system, as people say them."""

SIGNS = {
    "no space left": errno.ENOSPC,
    "file too large": errno.EFBIG,
    "quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
    "permission denied": errno.EACCES,
}


def number_of(error: BaseException) -> int | None:
    """Return the system's number of an error, whoever tells it.

    Parameters
    ----------
    error : BaseException
        Of the system, or of a library that tells the system's number or message in its words.

    Returns
    -------
    int or None
        As in `errno`; None where none is told.

    Examples
    --------
    >>> number_of(RuntimeError("cannot write (os error 28)")) == errno.ENOSPC
    True
    """
    number = getattr(error, "errno", None)
    if isinstance(number, int):
        return number
    text = str(error).lower()
    told = re.search(r"\(os error (\d+)\)", text)  # as Rust does
    return int(told[1]) if told else next((number for sign, number in SIGNS.items() if sign in text), None)


def refused(error: BaseException) -> bool:
    """Say whether the disk refused, by the system's number alone: a server can answer 'permission denied' too."""
    return isinstance(error, OSError) and error.errno in NO_ROOM | CLOSED


def reason(error: OSError) -> str:
    """Say in words why the system refused, without the name of the file."""
    return WORDS.get(error.errno or 0, error.strerror or str(error))


def remedy(error: Exception) -> str:
    """Say what lets a write succeed that has failed.

    Parameters
    ----------
    error : Exception
        As in `number_of`.

    Returns
    -------
    str
        What to do.

    Examples
    --------
    >>> remedy(OSError(errno.EROFS, "Read-only file system"))
    'make it writable'
    """
    number = number_of(error)
    return "make room" if number in NO_ROOM else "make it writable" if number in CLOSED else "mend that"
