"""Numbers in text: how many of what, and unknown ones, None or NaN, as what a reader expects there."""

from collections.abc import Sequence
from math import isnan


def counted(count: int, one: str) -> str:
    """Write a number of things.

    Parameters
    ----------
    count : int
        How many.
    one : str
        What one of them is called.

    Returns
    -------
    str
        In the plural but for one.

    Examples
    --------
    >>> counted(1, "trial"), counted(1200, "forward pass")
    ('1 trial', '1,200 forward passes')
    """
    many = "" if count == 1 else "es" if one.endswith("s") else "s"
    return f"{count:,} {one}{many}"


def number(value: float | None, digits: int = 3, *, sign: str = "", unknown: str = "-") -> str:
    """Write a number.

    Parameters
    ----------
    value : float or None
        The number; None or NaN where it is not known.
    digits : int
        Behind the point.
    sign : {"", "+"}
        Whether a positive one has its sign.
    unknown : str
        What stands for a number that is not known.

    Returns
    -------
    str
        Such as ``"0.491"``.

    Examples
    --------
    >>> number(0.4906), number(0.1, 1, sign="+"), number(None)
    ('0.491', '+0.1', '-')
    """
    return unknown if value is None or isnan(value) else f"{value:{sign},.{digits}f}"


def span(interval: Sequence[float | None], digits: int = 3, *, sign: str = "") -> str:
    """Write an interval, or nothing for one that is not known.

    Parameters
    ----------
    interval : sequence of float or None
        Low and high end.
    digits : int
        Behind the point.
    sign : {"", "+"}
        Whether positive ends have their sign.

    Returns
    -------
    str
        Such as ``"0.458 to 0.523"``.

    Examples
    --------
    >>> span((0.1, 0.25), 2), span((None, None))
    ('0.10 to 0.25', '')
    """
    ends = [number(end, digits, sign=sign, unknown="") for end in interval]
    return " to ".join(ends) if all(ends) else ""


def p_value(p: float | None) -> str:
    """Write a p-value, or ``-`` for one that is not known."""
    return "< 0.001" if p is not None and p < 0.001 else number(p)


def sentences(lines: Sequence[str]) -> str:
    """Turn lines into sentences of a paragraph."""
    return " ".join(f"{line[:1].upper()}{line[1:]}." for line in lines)
