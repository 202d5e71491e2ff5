"""Checks of arguments that many functions take: numbers within their range, and words that are known."""

from collections.abc import Sequence

import numpy as np

from vidsim.errors import VidsimError


def at_least(least: int, **values: object) -> None:
    """Refuse numbers that are no whole numbers, or too small.

    Parameters
    ----------
    least : int
        The smallest that is legal.
    **values : object
        Numbers, by the names of their arguments.

    Raises
    ------
    VidsimError
        If one is no whole number, or below ``least``.

    Examples
    --------
    >>> at_least(0, resamples=1000, seed=0)
    """
    for name, value in values.items():
        if not isinstance(value, int | np.integer):
            raise VidsimError(f"{name} {value!r}: expected a whole number, {least} or more")
        if value < least:
            raise VidsimError(f"{name} {value}: expected {least} or more")


def one_of(name: str, value: object, legal: Sequence[str]) -> None:
    """Refuse a word that is not known.

    Parameters
    ----------
    name : str
        What it is one of, such as ``"kind"``.
    value : object
        The word.
    legal : sequence of str
        Two or more that are known.

    Raises
    ------
    VidsimError
        If it is none of them.

    Examples
    --------
    >>> one_of("dtype", "float16", ("float32", "float16"))
    """
    if value not in legal:
        *others, last = map(repr, legal)
        raise VidsimError(f"no {name} {value!r}: expected {', '.join(others)} or {last}")
