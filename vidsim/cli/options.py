"""Options that several verbs share, each declared once."""

import os
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vidsim.cli.root import VARIABLE
from vidsim.errors import VidsimError

DEFAULT_ENCODER = "timesformer-base"


class Pooling(StrEnum):
    """How a token map becomes a vector."""

    cls = "cls"
    mean = "mean"
    flatten = "flatten"


class Precision(StrEnum):
    """Precision of stored embeddings."""

    float32 = "float32"
    float16 = "float16"


class ComputePrecision(StrEnum):
    """Precision in which a model computes."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Captions(StrEnum):
    """Which captions of a stimulus are used."""

    mean = "mean"
    first = "first"


Root = Annotated[
    str,
    typer.Option(envvar=VARIABLE, help="Where everything built is kept: a folder, or s3://bucket/prefix."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text for people.")]
Encoder = Annotated[str, typer.Option("--encoder", "-e", help="Name of the encoder; `vidsim models` lists them.")]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Layers to store, separated by commas; all by default. `index` indexes the default layer, or the last of "
        "these without it."
    ),
]


def workers_of(given: int | None) -> int:
    """Return how many threads decode: as many as were asked for, else one per core, at most 16."""
    return given or min(16, os.cpu_count() or 1)


Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]


def checkpoint_of(text: str) -> Path:
    """Read the place of a checkpoint.

    Parameters
    ----------
    text : str
        Folder or file.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    VidsimError
        If it is empty, as an unset variable of the shell is: the current folder would be taken.
    """
    if not text.strip():
        raise VidsimError(f"no checkpoint is named {text!r}; expected a folder, or a zoo's file, or leave it out")
    return Path(text)


Checkpoint = Annotated[
    Path | None,
    typer.Option(
        parser=checkpoint_of,
        metavar="<path>",
        help="Folder with the encoder's checkpoint (config.json, model.safetensors) or a zoo's file, instead of a hub.",
    ),
]
Revision = Annotated[
    str | None, typer.Option(help="Commit, branch or tag of the hub checkpoint; the card's by default.")
]


def shard_of(text: str | None) -> tuple[int, int] | None:
    """Read ``i/n``.

    Parameters
    ----------
    text : str or None
        Such as ``"2/4"``.

    Returns
    -------
    tuple of int or None
        Part and number of parts.

    Raises
    ------
    VidsimError
        If it is not of that form, or the part is not within 1..n.
    """
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise VidsimError(f"--shard {text!r}: expected i/n with i from 1 to n, such as 2/4")
    return int(part), int(parts)


def columns_of(text: str | None, known: Collection[str]) -> dict[str, str]:
    """Read ``id=video_name,caption=text``.

    Parameters
    ----------
    text : str or None
        Pairs of our name and the table's.
    known : collection of str
        Our names.

    Returns
    -------
    dict of str to str
        The table's name for each of ours.

    Raises
    ------
    VidsimError
        If it is not of that form.
    """
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    for ours, _, theirs in pairs:
        if ours.strip() not in known or not theirs.strip():
            raise VidsimError(
                f"--columns {text!r}: expected pairs such as id=video_name; left of = stands one of {', '.join(known)}"
            )
    return {ours.strip(): theirs.strip() for ours, _, theirs in pairs}
