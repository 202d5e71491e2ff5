"""Light options: words and flags are taken as they are, without pydantic, whose import costs more than most answers."""

from collections.abc import Callable
from typing import Any

import typer.core


class _AsIs:
    """Take a value that is of its parameter's type already; leave any other to typer's own reader."""

    def __init__(self, own: type, reader: Callable[[], Any]) -> None:
        self._own = own
        self._reader = reader

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the value, as typer asks for it."""
        if value is None or isinstance(value, self._own):
            return value
        return self._reader().coerce(value, param=param, ctx=ctx)


def spare_pydantic() -> None:
    """Make typer read strings, flags and counts without pydantic; paths, choices and numbers stay with it.

    Typer 0.29 builds a pydantic adapter for every parameter it meets, whether it was given or not.
    """
    # a name that is typer's own affair: where another version has none, options are read as ever
    build = getattr(typer.core, "build_runtime_param", None)
    if build is None or hasattr(build, "typers_own"):
        return

    def build_light(descriptor: Any) -> Any:
        given = descriptor.parameter_info
        own = descriptor.annotation
        counts = own is int and getattr(given, "count", False)
        if (own in {str, bool} or counts) and given.parser is None:
            return _AsIs(own, lambda: build(descriptor))
        return build(descriptor)

    build_light.typers_own = build  # pyright: ignore[reportFunctionMemberAccess]
    typer.core.build_runtime_param = build_light  # pyright: ignore[reportPrivateImportUsage]
