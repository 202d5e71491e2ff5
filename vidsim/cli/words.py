"""Options that take several words, such as encoders."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vidsim.errors import VidsimError

EncodersOption = Annotated[
    list[str],
    typer.Option(
        "--encoders",
        "-e",
        metavar="MODEL...",
        help="Encoders of the store, ENCODER:LAYER, similarity matrices or files.",
        show_default=False,
    ),
]

EmbeddingsOption = Annotated[
    list[str],
    typer.Option(
        "--encoders",
        "-e",
        metavar="MODEL...",
        help="ENCODER (its default layer), ENCODER:LAYER, or a file of embeddings; others are compared with the first.",
        show_default=False,
    ),
]


class Words(TyperCommand):
    """A command whose repeatable options take several words: ``-e A B`` is ``-e A -e B``, up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Name the option again before each further word."""
        several = {name for param in self.params if getattr(param, "multiple", False) for name in param.opts}
        spread: list[str] = []
        option, given = None, False
        for number, word in enumerate(args):
            if word == "--":
                spread += args[number:]
                break
            if word.startswith("-") and len(word) > 1:
                name, equals, _ = word.partition("=")
                option, given = (name if name in several else None), bool(equals)
            elif option is not None:
                if given:
                    spread.append(option)
                given = True
            spread.append(word)
        return super().parse_args(ctx, spread)


def names_of(encoders: list[str]) -> list[str]:
    """Read names that may be set apart by commas.

    Parameters
    ----------
    encoders : list of str
        Values of ``--encoders``.

    Returns
    -------
    list of str
        At least one.

    Raises
    ------
    VidsimError
        If there is none.
    """
    names = [name.strip() for given in encoders for name in given.split(",") if name.strip()]
    if not names:
        raise VidsimError("--encoders names none; expected encoders of the store, such as all-MiniLM-L6-v2")
    return names
