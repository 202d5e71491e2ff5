"""Prepared: what a card says that a checkpoint's processor does to pixels, held against its file."""

import os
from math import isclose
from pathlib import Path
from typing import Any

from vidsim.encoders.checkpoint import Resolved, needed_beside_weights
from vidsim.encoders.patches import Patches, read_steps
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.zoo import in_zoo
from vidsim.errors import VidsimError


def steps_of(resolved: Resolved) -> Preprocess | Patches:
    """Read what a checkpoint's processor does to frames.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found; it takes frames, and is followed here.

    Returns
    -------
    Preprocess or Patches
        The steps.

    Raises
    ------
    VidsimError
        If they cannot be followed; the file is named.
    """
    card = resolved.card
    try:
        return read_steps(resolved.preprocess, card.architecture, card.modality)
    except VidsimError as error:
        if in_zoo(card):  # there is no file: the card says it all
            raise VidsimError(f"the card of {card.name}: {error}; mend it") from error
        raise VidsimError(f"{_file(resolved)!r}: {error}; mend it, or download it again") from error


def refuse_other_steps(resolved: Resolved) -> None:
    """Refuse a checkpoint whose processor treats frames in another way than the card's option ``prepared`` says.

    Parameters
    ----------
    resolved : Resolved
        Encoder whose files have been found. A card that says nothing fits every processor.

    Raises
    ------
    VidsimError
        If the steps cannot be followed, frames are not resized or to less than their crop, or mean, standard deviation,
        factor or filter differ; both values are told.
    """
    card = resolved.card
    if card.checkpoint is None or card.modality == "text" or not resolved.followed:
        return
    steps: Any = steps_of(resolved)
    said = card.options.get("prepared", {})
    if not said:
        return
    if not isinstance(steps, Patches):  # these are always resized, to a size of their own
        _refuse_no_size(resolved, steps)
    remedy = "mend options.prepared in its card" if resolved.own else f"is it {card.checkpoint}?"
    for key, value in said.items():
        expected, found = _numbers(value), _numbers(getattr(steps, key))
        # files of float32 have digits of their own
        if not all(isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) for a, b in zip(expected, found, strict=True)):
            raise VidsimError(
                f"{card.name} expects frames prepared with {key} {_told(expected)}, the checkpoint in "
                f"{os.fspath(resolved.folder or '')!r} has {_told(found)}; {remedy}"
            )


def _refuse_no_size(resolved: Resolved, steps: Preprocess) -> None:
    """Refuse frames of any size, or so small that the crop is padded with black."""
    edge, file = steps.shortest_edge, _file(resolved)
    remedy = "or options.prepared = {} in its card" if resolved.own else f"is it {resolved.card.checkpoint}?"
    if edge is None and steps.exact is None:
        raise VidsimError(
            f"{resolved.card.name} expects frames to be resized, {file!r} has do_resize false; set it to true, {remedy}"
        )
    if edge is not None and steps.crop is not None and edge < max(steps.crop):
        raise VidsimError(
            f"{file!r}: a shortest edge of {edge} pixels and a crop of {max(steps.crop)}; expected an edge no "
            f"shorter than the crop; mend it, {remedy}"
        )


def _file(resolved: Resolved) -> str:
    return os.fspath((resolved.folder or Path()) / needed_beside_weights(resolved.card))


def _numbers(value: Any) -> tuple[int | float, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _told(numbers: tuple[int | float, ...]) -> str:
    return ", ".join(f"{number:.6g}" for number in numbers)
