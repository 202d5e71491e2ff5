"""Checks of arguments that many functions take: numbers within their range, words that are known, and arrays."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped
from numpy import ndarray

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


def refuse_axes(what: str, values: object, shape: str) -> None:
    """Refuse what is no array of two axes.

    Parameters
    ----------
    what : str
        What the values are, in the plural; for the error.
    values : object
        What was given.
    shape : str
        What was expected; for the error.

    Raises
    ------
    VidsimError
        If it is no array, or has another number of axes.
    """
    if not isinstance(values, ndarray):
        raise VidsimError(f"{what} came as {type(values).__name__}; expected a numpy array of shape {shape}")
    if values.ndim != 2:
        raise VidsimError(f"{what} of shape {values.shape} were given; expected an array of shape {shape}")


def whole_numbers(what: str, values: Shaped[ndarray, "..."]) -> Int[ndarray, "..."]:
    """Give whole numbers as signed ones, and refuse others.

    Parameters
    ----------
    what : str
        What the values are, in the plural; for the error.
    values : array
        Any.

    Returns
    -------
    array
        The same, if it is signed; unsigned integers become int64.

    Raises
    ------
    VidsimError
        If they are no integers, or one is too large for int64.

    Examples
    --------
    >>> whole_numbers("counts", np.array([3, 4], np.uint8)).dtype
    dtype('int64')
    """
    if values.dtype.kind == "i":
        return values
    if values.dtype.kind != "u":
        raise VidsimError(f"{what} of type {values.dtype} were given; expected integers")
    largest, most = int(values.max(initial=0)), np.iinfo(np.int64).max
    if largest > most:
        raise VidsimError(f"{what} hold {largest}: expected numbers up to {most}")
    return values.astype(np.int64)
