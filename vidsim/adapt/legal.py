"""Legal values: what a field of a configuration takes, in words; errors and the documentation say it alike."""

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

PLURALS = {"a whole number": "whole numbers", "a number": "numbers", "a name": "names"}

COUNTS = {2: "two"}


def legal(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Say what values a type takes.

    Parameters
    ----------
    annotation : type
        ``bool``, ``int``, ``float``, ``str``, a Literal, a tuple, or a union of these.
    metadata : iterable
        Bounds, as pydantic keeps them: objects with ``ge``, ``gt``, ``le`` or ``lt``, or fields that
        hold such.

    Returns
    -------
    str
        To stand behind "expected".

    Examples
    --------
    >>> legal(bool), legal(tuple[float, float]), legal(Literal["first", "both"])
    ('true or false', 'a list of two numbers', "'first' or 'both'")
    """
    if get_origin(annotation) is Annotated:
        annotation, *own = get_args(annotation)
        return legal(annotation, [*own, *metadata])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        *others, last = map(repr, arguments)
        return f"{', '.join(others)} or {last}" if others else last
    if origin in {Union, UnionType}:
        return ", or ".join(legal(part) for part in arguments)
    if origin is tuple:
        many = "" if arguments[1] is Ellipsis else f"{COUNTS[len(arguments)]} "
        what, comma, bounds = legal(arguments[0]).partition(",")
        return f"a list of {many}{PLURALS[what]}{', each' if comma else ''}{bounds}"
    what = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}[annotation]
    bounds = _bounds(metadata)
    return f"{what}, {bounds}" if bounds else what


def spell(value: Any) -> str:
    """Write a value as TOML does.

    Parameters
    ----------
    value : any
        What TOML can hold.

    Returns
    -------
    str
        On one line, cut off behind 80 characters.

    Examples
    --------
    >>> spell((0.3, 0.7)), spell(True), spell("trials")
    ('[0.3, 0.7]', 'true', "'trials'")
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        text = f"[{', '.join(map(spell, value))}]"
    elif isinstance(value, dict):
        text = f"a table of {', '.join(map(str, value)) or 'nothing'}"
    elif isinstance(value, str | int | float):
        text = repr(value)
    else:
        text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bounds(metadata: Iterable[Any]) -> str:
    found: dict[str, str] = {}
    flat = [inner for outer in metadata for inner in (outer, *getattr(outer, "metadata", ()))]
    for bound in flat:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(bound, name, None) is not None:
                value = getattr(bound, name)
                found[name] = str(value) if isinstance(value, int) else f"{value:g}"
    low = f"at least {found['ge']}" if "ge" in found else f"above {found['gt']}" if "gt" in found else ""
    high = f"at most {found['le']}" if "le" in found else f"below {found['lt']}" if "lt" in found else ""
    return " and ".join(filter(None, (low, high)))
