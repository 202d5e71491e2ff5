"""Cards that installed packages offer, through the entry point group ``vidsim.encoders``.

Another package's code may do anything, and its card say anything: both are met here once, and keep no other card from
being used.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from vidsim.encoders.base import EncoderCard, Sampling
from vidsim.encoders.card_rules import CHECKS, COUNT, HUB_ID, NAME, NUMBER, TEXT, WHOLE, beyond_json
from vidsim.encoders.offer import Offer
from vidsim.encoders.user_cards import Reader
from vidsim.errors import VidsimError

GROUP = "vidsim.encoders"
"""Entry points of packages that offer encoders: each leads to cards, or to a function that returns them."""

ADDRESS = re.compile(r"[\w.]+\s*:\s*[\w.]+\s*(\[.*\])?")
OWN_FAMILY = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")

TYPES: Mapping[Any, str] = {
    str: "a string",
    int: "a whole number",
    float: "a finite number",
    NoneType: "None",
    tuple: "a tuple of strings",
    Sampling: "a Sampling",
}
"""Types of a card's fields, in words; any other is a mapping."""

READ_HERE: Mapping[str, str] = {"embedding_width": WHOLE, "processor": TEXT, "package": TEXT}
"""Options that vidsim reads whatever the family."""


def read_packages(known: Mapping[str, EncoderCard]) -> list[Offer]:
    """Read the cards of installed packages.

    Parameters
    ----------
    known : mapping of str to EncoderCard
        The built-in cards, whose families and options are the legal ones.

    Returns
    -------
    list of Offer
        One a card, and one an entry point that gives none.
    """
    offers: list[Offer] = []
    for info in _offering():
        from importlib.metadata import Distribution

        package = info.name.partition("-")[0]
        try:
            points = [point for point in Distribution.at(info).entry_points if point.group == GROUP]
        except Exception as error:  # lines that are none of an ini file
            place = f"package {package}"
            reason = f"{place}: {os.fspath(info / 'entry_points.txt')} cannot be read: {in_words(error)}"
            offers.append(Offer(place, package, reason=reason))
            continue
        for point in points:
            offers += _offers(point, f"entry point {point.name} = {point.value!r} of package {package}", known)
    return offers


def in_words(error: BaseException) -> str:
    """Say an error of another package's code in one line.

    Parameters
    ----------
    error : BaseException
        The error.

    Returns
    -------
    str
        Its type and message.

    Examples
    --------
    >>> in_words(SystemExit(0)), in_words(RuntimeError())
    ('SystemExit: 0', 'RuntimeError')
    """
    return f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")


def _offers(point: Any, place: str, known: Mapping[str, EncoderCard]) -> list[Offer]:
    """Return what an entry point offers; its code may fail in any way, and end the process if it were let."""
    if not ADDRESS.fullmatch(point.value):
        reason = f"{place}: expected module:name, such as my_package:CARD"
        return [Offer(place, point.name, reason=reason)]
    try:
        offered: Any = point.load()
        offered = offered() if callable(offered) and not isinstance(offered, type) else offered
        several = [offered] if isinstance(offered, EncoderCard) or not hasattr(offered, "__iter__") else list(offered)
        return [_offer(card, point.name, place, known) for card in several]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too
        return [Offer(place, point.name, reason=f"{place} cannot be loaded: {in_words(error)}")]


def _offer(card: Any, called: str, place: str, known: Mapping[str, EncoderCard]) -> Offer:
    if not isinstance(card, EncoderCard):
        expected = "expected an EncoderCard, several, or a function that returns them"
        return Offer(place, called, reason=f"{place} gives {card!r}; {expected}")
    said: Any = card.name
    name = said if isinstance(said, str) else None
    where = f"{place}, card {name or '?'}"
    try:
        return Offer(place, called, name, _checked(card, where, known))
    except VidsimError as error:
        return Offer(place, called, name, reason=str(error))


class _Mistake(NamedTuple):
    """What is wrong with a field."""

    key: str
    expected: str
    value: Any


def _checked(card: EncoderCard, where: str, known: Mapping[str, EncoderCard]) -> EncoderCard:
    """Hold a card against the types and the legal values of its fields.

    Returns
    -------
    EncoderCard
        The card; its sequences are tuples and its options a dict.

    Raises
    ------
    VidsimError
        If a field is wrong.
    """
    mistake = next(_mistyped(card), None)
    if mistake is None:
        card = replace(
            card, layers=tuple(card.layers), lora_targets=tuple(card.lora_targets), options=dict(card.options)
        )
        mistake = next(_illegal(card, known), None)
    if mistake is not None:
        raise VidsimError(f"{where}: {mistake.key} expected {mistake.expected}, {mistake.value!r} came")
    if wrong := beyond_json(card.options, "options"):
        raise VidsimError(f"{where}: {' '.join(wrong)}")
    if any(row.family == card.family and row.checkpoint for row in known.values()):
        Reader(Path(where), _as_file(card), known, {}).card()
    return card


def _mistyped(of: EncoderCard | Sampling, before: str = "") -> Iterator[_Mistake]:
    for one in fields(of):
        value = getattr(of, one.name)
        if not _fits(value, one.type):
            yield _Mistake(before + one.name, _in_words(one.type), value)
        if isinstance(value, Sampling):
            yield from _mistyped(value, "sampling.")


def _fits(value: object, kind: Any) -> bool:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is tuple:
        return isinstance(value, tuple | list) and all(_fits(item, inner[0]) for item in value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return CHECKS[NUMBER](value)
    return isinstance(value, origin or kind)


def _in_words(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return " or ".join(map(_in_words, inner))
    if origin is Literal:
        return f"one of {', '.join(inner)}"
    return TYPES.get(origin or kind, "a dict")


def _illegal(card: EncoderCard, known: Mapping[str, EncoderCard]) -> Iterator[_Mistake]:
    """Yield the fields whose values no card may have; their types are right."""
    families = {row.family: row.modality for row in known.values()}
    modality = families.get(card.family, card.modality)
    own = f"one of {', '.join(families)}, or module:Class of a package"
    place = card.checkpoint is None or Path(card.checkpoint).is_absolute() or card.family in families
    rules = (
        ("name", NAME.fullmatch(card.name), "letters, digits and . _ -, such as my-model"),
        ("family", card.family in families or OWN_FAMILY.fullmatch(card.family), own),
        ("modality", card.modality == modality, f"{modality}, which {card.family} takes"),
        ("layers", len({*card.layers} - {""}) == len(card.layers) > 0, "names of layers, one or more, each once"),
        ("default_layer", card.default_layer in card.layers, "one of the layers"),
        ("checkpoint", place or HUB_ID.fullmatch(card.checkpoint or ""), "org/name of the hub, or a folder from /"),
        ("sampling", card.sampling is not None or card.modality == "text", "a Sampling, for frames"),
        ("size", card.size is None or CHECKS[WHOLE](card.size), WHOLE),
        ("width", CHECKS[COUNT](card.width), COUNT),
        ("parameters", CHECKS[COUNT](card.parameters), COUNT),
    )
    for key, right, expected in rules:
        if not right:
            yield _Mistake(key, expected, getattr(card, key))
    yield from _illegal_sampling(card.sampling)
    for key, expected in READ_HERE.items():
        if key in card.options and not CHECKS[expected](card.options[key]):
            yield _Mistake(f"options.{key}", expected, card.options[key])
    if "adapter" in card.options:  # what vidsim train leaves is known by it
        yield _Mistake("options.adapter", "another name for this option", card.options["adapter"])


def _illegal_sampling(sampling: Sampling | None) -> Iterator[_Mistake]:
    if sampling is None:
        return
    for key in ("frames", "windows"):
        if not CHECKS[WHOLE](getattr(sampling, key)):
            yield _Mistake(f"sampling.{key}", WHOLE, getattr(sampling, key))
    if sampling.frames % sampling.windows:
        yield _Mistake("sampling.windows", f"a divisor of {sampling.frames} frames", sampling.windows)


def _as_file(card: EncoderCard) -> dict[str, Any]:
    """Write a card of a built-in family as a file has it, so that the same rules hold."""
    options = {key: list(v) if isinstance(v, tuple) else v for key, v in card.options.items() if key != "package"}
    sampling = card.sampling
    said = {
        **{key: getattr(card, key) for key in ("name", "family", "checkpoint", "revision", "default_layer", "pooling")},
        **{key: getattr(card, key) for key in ("architecture", "size", "width")},
        **{key: getattr(card, key) or None for key in ("parameters", "licence", "source")},
        **({"frames": sampling.frames, "windows": sampling.windows, "fps": sampling.fps} if sampling else {}),
        "layers": list(card.layers),
        "lora_targets": list(card.lora_targets),
        "options": options,
    }
    return {key: value for key, value in said.items() if value is not None}


def _offering() -> list[Path]:
    """List the folders of facts of installed packages that offer encoders; of a package's two, the first counts."""
    # importlib.metadata alone would take .1 s to say that there is none
    offering: list[Path] = []
    seen: set[str] = set()
    for place in sys.path:
        try:
            entries = list(os.scandir(place or "."))
        except OSError:
            continue
        for entry in entries:
            if not entry.name.endswith((".dist-info", ".egg-info")):
                continue
            name = re.sub(r"[-_.]+", "_", entry.name.rpartition(".")[0].partition("-")[0]).lower()
            if name in seen:
                continue
            seen.add(name)
            try:
                text = Path(entry.path, "entry_points.txt").read_text("utf-8", "replace")
            except OSError:
                continue
            if f"[{GROUP}]" in text.replace(" ", ""):
                offering.append(Path(entry.path))
    return offering
