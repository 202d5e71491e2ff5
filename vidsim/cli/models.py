"""``vidsim models``: what encoders there are. Imports no torch."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import Json

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard


def models(
    name: Annotated[str | None, typer.Argument(help="Show this encoder's card and layers.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """List the encoders, or show one encoder's card and layers."""
    from vidsim.encoders import catalog

    if name is not None:
        facts = _facts(catalog.card(name))
        if json:
            show.emit(facts)
            return
        for key, value in facts.items():
            shown = "\n".join(f"  {layer}" for layer in value) if key == "layers" else value
            typer.echo(f"{key}:\n{shown}" if key == "layers" else f"{key}: {'-' if shown in (None, '') else shown}")
        return
    cards = list(catalog.CARDS.values())
    if json:
        show.emit([_facts(card) for card in cards])
        return
    rows = [
        (
            card.name,
            card.modality,
            f"{card.parameters / 1e6:.1f} M" if card.parameters else "-",
            str(card.sampling.frames) if card.sampling else "-",
            str(len(card.layers)),
            str(card.width or "varies"),
            card.pooling,
            card.licence or "-",
            card.checkpoint or "no weights, works offline",
        )
        for card in cards
    ]
    headers = ("name", "takes", "parameters", "frames", "layers", "width", "pooling", "licence", "checkpoint")
    show.table(headers, rows, right=("parameters", "frames", "layers", "width"))


def _facts(card: "EncoderCard") -> dict[str, Any]:
    facts = asdict(card)
    facts["layers"] = list(card.layers)
    facts["lora_targets"] = list(card.lora_targets)
    facts["options"] = dict(card.options)
    return facts
