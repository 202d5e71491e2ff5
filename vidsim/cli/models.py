"""``vidsim models``: what encoders there are."""

from typing import TYPE_CHECKING, Annotated

import typer

from vidsim.cli import show
from vidsim.cli.model_card import card_lines
from vidsim.cli.model_facts import facts_of
from vidsim.cli.model_list import list_models
from vidsim.cli.options import Json, Root
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.encoders.base import EncoderCard


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
    place = root_of(root)
    if name is None:
        list_models(place, family=family, modality=modality, cached=cached, search=search, json=json)
        return
    filters = {"--family": family, "--modality": modality, "--search": search, "--cached": cached}
    if given := [option for option, value in filters.items() if value]:
        raise VidsimError(f"{given[0]} filters the list; leave it out to see the card of {name}")
    card = _named(name, place)
    if json:
        show.emit(facts_of(card))
    else:
        typer.echo("\n".join(card_lines(card)))


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
