"""The list of encoders and adapters. Imports nothing slow, the command line's parser included: it is there at once."""

import shutil
import sys
from typing import TYPE_CHECKING, Any

from vidsim.cli import show
from vidsim.cli.model_facts import ADAPTER, aliases_of, facts_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard

COLUMNS = ("name", "family", "parameters", "licence", "frames", "layers", "dims", "cached", "checkpoint")
RIGHT = frozenset({"parameters", "frames", "layers", "dims"})
"""Columns of numbers."""


def list_models(
    root: str,
    *,
    family: str | None = None,
    modality: str | None = None,
    cached: bool = False,
    search: str | None = None,
    json: bool = False,
) -> None:
    """Print the encoders and the adapters that were trained.

    Parameters
    ----------
    root : str
        Artefact root, in which adapters lie.
    family, modality : str, optional
        List these only, in any case.
    cached : bool
        List what works without network only.
    search : str, optional
        List what has this in its name, checkpoint or source, in any case.
    json : bool
        Print all facts for machines instead of a table.

    Raises
    ------
    VidsimError
        If there is no such family or modality.
    """
    from vidsim.encoders import catalog

    own = catalog.own_cards()
    for offer in own.left_out:
        _leave_out(offer.reason)
    cards = [*catalog.CARDS.values(), *own.cards.values(), *_adapters(root)]
    family = _one_of("--family", family, [ADAPTER, *(_family(card) for card in cards)])
    modality = _one_of("--modality", modality, [card.modality for card in cards])
    chosen = [
        card
        for card in cards
        if family in {None, _family(card)}
        and modality in {None, card.modality}
        and (search is None or search.lower() in " ".join(_words(card)).lower())
    ]
    facts = [facts for facts in map(facts_of, chosen) if facts["cached"] or not cached]
    if json:
        show.emit(facts)
    elif facts:
        _table([COLUMNS, *(_row(one) for one in facts)])
    else:
        show.say("no encoder is like that; vidsim models lists all")


def _one_of(option: str, value: str | None, there: list[str]) -> str | None:
    if value is None:
        return None
    names = {name.lower(): name for name in there}
    if value.lower() not in names:
        raise VidsimError(f"{option} {value!r}: expected one of {', '.join(sorted(set(there)))}")
    return names[value.lower()]


def _adapters(root: str) -> "list[EncoderCard]":
    """Read the cards of a root's adapters; one that cannot be read keeps no other from being listed."""
    from vidsim.adapt.card import card_of, taken_names
    from vidsim.adapt.manifest import read_manifest
    from vidsim.cli.encoders import adapters

    found: list[EncoderCard] = []
    folders = adapters(root)
    taken = taken_names() if folders else ()
    for folder in folders:
        try:
            found.append(card_of(read_manifest(folder), folder, taken))
        except VidsimError as error:
            _leave_out(str(error))
    return found


def _leave_out(reason: str) -> None:
    show.say(f"left out: {show.printable(' '.join(reason.split()))}", err=True)


def _family(card: "EncoderCard") -> str:
    return ADAPTER if ADAPTER in card.options else card.family


def _words(card: "EncoderCard") -> tuple[str, ...]:
    return card.name, *aliases_of(card), card.checkpoint or "", card.source, card.architecture or ""


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    return (
        facts["name"],
        facts["family"],
        f"{facts['parameters'] / 1e6:.1f} M" if facts["parameters"] else "-",
        facts["licence"] or "-",
        str(facts["sampling"]["frames"]) if facts["sampling"] else "-",
        str(len(facts["layers"])),
        ", ".join(map(str, facts["dims"])) or "vary",
        "yes" if facts["cached"] else "no",
        facts["checkpoint"] or "no weights",
    )


def _table(rows: list[tuple[str, ...]]) -> None:
    """Print rows in columns; on a terminal, lines are cut at its edge, but no name is."""
    rows = [tuple(show.printable(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        cells = [
            cell.rjust(width) if name in RIGHT else cell.ljust(width)
            for cell, width, name in zip(row, widths, COLUMNS, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        show.say(line if edge is None or len(line) <= edge else f"{line[: max(edge - 1, len(row[0]))]}…")
