"""Prepared: what a card says that a checkpoint's processor does to pixels, held against its file."""

import os
from math import isclose
from typing import Any

from vidsim.encoders.checkpoint import Resolved
from vidsim.encoders.patches import read_steps
from vidsim.errors import VidsimError


def refuse_other_steps(resolved: Resolved) -> None:
    """Refuse a checkpoint whose processor treats pixels in another way than the card's option ``prepared`` says.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found. A card that says nothing fits every processor.

    Raises
    ------
    VidsimError
        If mean, standard deviation, factor or filter differ; both values are told.
    """
    card = resolved.card
    said = card.options.get("prepared", {})
    if not said or not resolved.preprocess or not resolved.followed:
        return
    remedy = "mend options.prepared in its card" if resolved.own else f"is it {card.checkpoint}?"
    steps: Any = read_steps(resolved.preprocess, card.architecture, card.modality)
    for key, value in said.items():
        expected, found = _numbers(value), _numbers(getattr(steps, key))
        # files of float32 have digits of their own
        if not all(isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) for a, b in zip(expected, found, strict=True)):
            raise VidsimError(
                f"{card.name} expects frames prepared with {key} {_told(expected)}, the checkpoint in "
                f"{os.fspath(resolved.folder or '')!r} has {_told(found)}; {remedy}"
            )


def _numbers(value: Any) -> tuple[int | float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _told(numbers: tuple[int | float, ...]) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers)
