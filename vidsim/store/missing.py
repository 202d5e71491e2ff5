"""Asking for what is not there."""

from collections.abc import Iterable
from difflib import get_close_matches

from vidsim.errors import StoreError

_SHOWN = 10


class NotStored(StoreError, KeyError):
    """Report a name that the store does not hold; a KeyError too, so that mappings behave as mappings."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


def nearest(name: str, known: Iterable[str]) -> str:
    """Complete an error message with the known names that look most like a wrong one.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What there is.

    Returns
    -------
    str
        Starts with ``;``; empty where nothing is known.

    Examples
    --------
    >>> nearest("blok.1", ["block.1", "head"])
    "; did you mean 'block.1'?"
    """
    names = list(known)
    near = get_close_matches(name, names, 1)
    if near:
        return f"; did you mean {near[0]!r}?"
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"; there are: {shown}" if names else ""
