"""What the fields of a card of one's own may hold, from whichever place it comes."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

TEXT, WHOLE, NUMBER, NAMES = "a string", "a whole number above 0", "a number above 0", "a list of strings"
COUNT, LEVEL = "a whole number, 0 or above", "a number, 0 or above"
TRUTH, TABLE, THREE = "true or false", "a table", "a list of three whole numbers above 0"
COLOURS, FILTER = "a list of three numbers, for red, green and blue", "a Pillow filter from 0 to 5"

KEYS: Mapping[str, str] = {
    **dict.fromkeys(("name", "like", "family", "checkpoint", "revision", "architecture", "default_layer"), TEXT),
    **dict.fromkeys(("pooling", "licence", "source"), TEXT),
    **dict.fromkeys(("frames", "windows", "size", "parameters"), WHOLE),
    "width": COUNT,
    "fps": NUMBER,
    "lora_targets": NAMES,
    "layers": "a list of strings, or a table of pattern, depth and last",
    "options": TABLE,
}
"""Keys of a card, and what each expects."""

PIPELINE = "sentence_embedding"
"""The last layer of every sentence encoder: its pipeline's own embedding."""

_FRAMES = ("video_transformer", "image")
_PROCESSED = (*_FRAMES, "video_text", "vision_language")

OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "prefix_tokens": (COUNT, (*_FRAMES, "video_text")),
    "heads": (NAMES, (*_FRAMES, "sentence")),
    "unused": (NAMES, _FRAMES),
    "init": (TABLE, _FRAMES),
    "forward": (TABLE, _FRAMES),
    "processor": (TEXT, _PROCESSED),
    "prepared": (TABLE, _PROCESSED),
    "trained_size": (WHOLE, (*_FRAMES, "video_cnn")),
    "file": (TEXT, ("video_cnn",)),
    "mean": (LEVEL, ("video_cnn",)),
    "std": (NUMBER, ("video_cnn",)),
    "plain": (TRUTH, ("sentence",)),
    "embedding_width": (WHOLE, ("sentence",)),
    "patches": (THREE, ("vision_language",)),
}
"""Options of a card: what each expects, and the families that ask for it."""

IN_LAYERS: Mapping[str, str] = {"pattern": TEXT, "depth": WHOLE, "last": NAMES}
IN_PREPARED: Mapping[str, str] = {"mean": COLOURS, "std": COLOURS, "factor": NUMBER, "resample": FILTER}

OF_LOADING = ("architecture", "folder", "heads", "optional", "config")
"""Arguments of what makes a class of transformers, which are none of the class."""

UNEVEN = ("video_cnn", "video_text")
"""Families whose layers differ in width."""

MOST_LAYERS, DEEPEST = 10_000, 20
"""Blocks that a pattern may name, and tables and lists inside one another in the options."""

JSON = "strings, finite numbers, true or false, lists or tables"
"""What options are made of: they are stored with embeddings."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


CHECKS: Mapping[str, Callable[[Any], bool]] = {
    TEXT: lambda value: isinstance(value, str) and bool(value.strip()),
    WHOLE: lambda value: _is_count(value) and value > 0,
    NUMBER: lambda value: _is_number(value) and value > 0,
    NAMES: lambda value: isinstance(value, list) and all(isinstance(item, str) and item for item in value),
    COUNT: _is_count,
    LEVEL: lambda value: _is_number(value) and value >= 0,
    TRUTH: lambda value: isinstance(value, bool),
    TABLE: lambda value: isinstance(value, dict),
    COLOURS: lambda value: isinstance(value, list | tuple) and len(value) == 3 and all(map(_is_number, value)),
    FILTER: lambda value: isinstance(value, int) and not isinstance(value, bool) and value in range(6),
    THREE: lambda value: isinstance(value, list) and len(value) == 3 and all(map(CHECKS[WHOLE], value)),
    KEYS["layers"]: lambda value: bool(value) and (isinstance(value, dict) or CHECKS[NAMES](value)),
}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of encoders, of adapters, and of the files in their folders."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
ADDRESS = re.compile(r"https://[^\s/]+/\S+")


def beyond_json(value: Any, key: str, deep: int = DEEPEST) -> tuple[str, str] | None:
    """Find the first part of a value that JSON cannot hold.

    Parameters
    ----------
    value : object
        The value.
    key : str
        Its key.
    deep : int
        Tables and lists that may lie inside one another.

    Returns
    -------
    tuple of str, optional
        Key of that part, and what was expected and came there; None if JSON holds it all.

    Examples
    --------
    >>> beyond_json({"a": [1, float("inf")]}, "options")
    ('options.a[1]', 'expected strings, finite numbers, true or false, lists or tables; inf came')
    """
    if value is None or isinstance(value, str | bool) or _is_number(value):
        return None
    if isinstance(value, dict):
        parts = [(f"{key}.{name}", part) for name, part in value.items()]
        if wrong := [name for name in value if not isinstance(name, str)]:
            return key, f"expected keys that are strings, {wrong[0]!r} came"
    elif isinstance(value, list | tuple):
        parts = [(f"{key}[{number}]", part) for number, part in enumerate(value)]
    else:
        return key, f"expected {JSON}; {value!r} came"
    if not deep:
        return key, f"expected at most {DEEPEST} tables and lists inside one another"
    return next((found for name, part in parts if (found := beyond_json(part, name, deep - 1))), None)
