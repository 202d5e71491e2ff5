"""Values of a processor's file: numbers and truths, each read and refused by its key."""

import sys
from collections.abc import Collection, Mapping
from typing import TypeGuard

from vidsim.errors import VidsimError

LARGEST = sys.float_info.max
"""JSON knows larger numbers, and infinite ones."""

LARGEST_SIDE = 16_384
"""Pixels: no model sees a larger frame, and Pillow would try to make any that a file asks for."""

TRUTHS = frozenset({"offset", "default_to_square"})
"""Keys that are true or false, beside those that begin with do_."""


def refuse_half_truths(config: Mapping[str, object]) -> None:
    """Refuse a step that is neither asked for nor left out: the word "no" would count as true.

    Parameters
    ----------
    config : mapping
        What a processor's file says.

    Raises
    ------
    VidsimError
        If a key that is true or false has another value.
    """
    for key, value in config.items():
        if (key.startswith("do_") or key in TRUTHS) and not isinstance(value, bool | None):
            raise VidsimError(f"preprocessor config has {key} {value!r}; expected true or false")


def refuse_other_keys(config: Mapping[str, object], followed: Collection[str], harmless: Collection[str]) -> None:
    """Refuse a step that is asked for and not done here.

    Parameters
    ----------
    config : mapping
        What a processor's file says.
    followed : collection of str
        Keys that are followed.
    harmless : collection of str
        Keys that leave the pixels alone.

    Raises
    ------
    VidsimError
        If there is another key, and it is neither null nor false; all such keys are named.
    """
    others = {key: value for key, value in config.items() if key not in followed and key not in harmless}
    odd = sorted(key for key, value in others.items() if value is not None and value is not False)
    if odd:
        raise VidsimError(
            f"preprocessor config asks for {', '.join(f'{key}={config[key]!r}' for key in odd)}, which is not done "
            f"here; expected only {', '.join(sorted(followed))}"
        )


def read_size(size: object, square: bool, key: str) -> tuple[int | None, tuple[int, int] | None]:
    """Read a size: a number, a pair, or one of the two mappings.

    Parameters
    ----------
    size : object
        What a processor's file says, in pixels.
    square : bool
        Whether a bare number means both edges, rather than the shortest.
    key : str
        Under which name.

    Returns
    -------
    edge : int, optional
        The shortest edge.
    sides : (int, int), optional
        Height and width, where there is no such edge.

    Raises
    ------
    VidsimError
        If it is no size, or one larger than any frame.
    """
    edge: int | None = None
    sides: tuple[int, int] | None = None
    match size:
        case int() if square:
            sides = (size, size)
        case int():
            edge = size
        case [int() as height, int() as width]:
            sides = (height, width)
        case {"height": int() as height, "width": int() as width, **rest} if not any(rest.values()):
            sides = (height, width)
        case {"shortest_edge": int() as shortest, **rest} if not any(rest.values()):
            edge = shortest
        case _:
            pass
    # True is an int as well
    if all(not isinstance(pixels, bool) and 0 < pixels <= LARGEST_SIDE for pixels in sides or (edge or 0,)):
        return edge, sides
    raise VidsimError(
        f"preprocessor config has {key} {size!r}; expected a number of pixels above 0 and up to {LARGEST_SIDE:,}, "
        "{'shortest_edge': n} or {'height': n, 'width': n}"
    )


def read_crop(size: object) -> tuple[int, int]:
    """Read what a processor cuts from the middle.

    Parameters
    ----------
    size : object
        What its file says as ``crop_size``, in pixels.

    Returns
    -------
    (int, int)
        Height and width.

    Raises
    ------
    VidsimError
        If it is no size of both, or one larger than any frame.
    """
    _, sides = read_size(size, True, "crop_size")
    if sides is None:
        raise VidsimError(f"preprocessor config has crop_size {size!r}; expected a height and a width")
    return sides


def read_filter(value: object) -> int:
    """Read what a processor resizes with.

    Parameters
    ----------
    value : object
        What its file says.

    Returns
    -------
    int
        Pillow's filter.

    Raises
    ------
    VidsimError
        If there is none of that number.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value in range(6):
        return value
    raise VidsimError(f"preprocessor config has resample {value!r}; expected a Pillow filter from 0 to 5")


def read_factor(value: object) -> float:
    """Read what a processor multiplies the values of 0 to 255 with.

    Parameters
    ----------
    value : object
        What its file says.

    Returns
    -------
    float
        The number.

    Raises
    ------
    VidsimError
        If it is no number above 0.
    """
    if _is_number(value, 0.0):
        return float(value)
    raise VidsimError(f"preprocessor config has rescale_factor {value!r}; expected a number above 0, such as 1/255")


def read_colours(value: object, key: str, *, above: float = -LARGEST) -> tuple[float, float, float]:
    """Read what a processor says for red, green and blue: three numbers, or one for all.

    Parameters
    ----------
    value : object
        What its file says.
    key : str
        Under which name.
    above : float
        What the numbers must exceed.

    Returns
    -------
    tuple of float
        Red, green, blue.

    Raises
    ------
    VidsimError
        If these are no such numbers.
    """
    match value:
        case [red, green, blue]:
            pass
        case _:
            red = green = blue = value
    if _is_number(red, above) and _is_number(green, above) and _is_number(blue, above):
        return float(red), float(green), float(blue)
    numbers = "three numbers" if above < 0 else f"three numbers above {above:g}"
    raise VidsimError(f"preprocessor config has {key} {value!r}; expected {numbers}, for red, green and blue")


def _is_number(value: object, above: float) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and above < value < LARGEST
