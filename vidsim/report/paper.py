"""The paper's published numbers, for comparison columns."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from vidsim.encoders.catalog import ALIASES, CARDS

_PLACES = (Path(__file__).parents[1] / "configs", Path(__file__).parents[2] / "configs")
"""In an installed package, and in a checkout."""


@cache
def table2() -> Mapping[str, Mapping[str, float]]:
    """Read Table 2.

    Returns
    -------
    mapping of str to mapping
        By the paper's model UID: ``rho2`` (explained variance) and ``two_way_first`` (accuracy in %).
    """
    return {name: numbers for group in _numbers()["table2"].values() for name, numbers in group.items()}


def table1() -> Mapping[str, Mapping[str, float]]:
    """Read Table 1.

    Returns
    -------
    mapping of str to mapping
        For ``pretrained`` and ``fine-tuned``: ``top1`` and ``sd`` over three seeds, in %.
    """
    return _numbers()["table1"]


@cache
def _numbers() -> Mapping[str, Any]:
    place = next(folder for folder in _PLACES if (folder / "paper.toml").is_file())
    return tomllib.loads((place / "paper.toml").read_text(encoding="utf-8"))


def published(name: str) -> Mapping[str, float] | None:
    """Find the published numbers of an encoder.

    Parameters
    ----------
    name : str
        An alias or a name of the catalog, which is the UID or ends it.

    Returns
    -------
    mapping of str to float, optional
        As in ``table2``; None where the paper has none.

    Examples
    --------
    >>> published("videomae")["two_way_first"]
    66.75
    """
    full = {alias.lower(): row for alias, row in ALIASES.items()}.get(name.lower(), name)
    if full not in CARDS:  # what a user trained or brought along may be called as a UID ends
        return None
    return next(
        (numbers for uid, numbers in table2().items() if uid == full or uid.endswith((f"/{full}", f"-{full}"))), None
    )
