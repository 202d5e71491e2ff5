"""``vidsim search``: the stimuli most similar to one, to a clip or to a text. An id query never imports torch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsim.cli import hits, show
from vidsim.cli.options import Device, Json, Root
from vidsim.cli.query import choose_index, encode_clip, encode_text, find_row
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from jaxtyping import Bool
    from numpy import ndarray

    from vidsim.retrieval.duplicates import Clip
    from vidsim.retrieval.index import Index

RESULTS = 10


@dataclass(frozen=True)
class _Query:
    """What is searched for: a stimulus or a clip by its name, or a text."""

    name: str | None
    text: str | None
    device: str
    root: str

    def clip(self, index: "Index") -> "Clip":
        """Find it in an index, or encode it as what stands there was."""
        from vidsim.data.video import file_content
        from vidsim.retrieval.duplicates import Clip, Guard

        if self.text is not None:
            return Clip(encode_text(index, self.text, self.device, self.root))
        assert self.name is not None
        row = find_row(index, self.name)
        if row is not None:
            return Guard(index).clip(row)
        vector, entry = encode_clip(index, Path(self.name), self.device, self.root)
        return Clip(vector, file_content(entry.content), float("nan") if entry.duration is None else entry.duration)

    def called(self, index: "Index", clip: "Clip") -> str:
        """Name it for people."""
        if clip.row is not None:
            return index.value("id", clip.row)
        return self.text if self.text is not None else Path(self.name or "").name


def search(
    query: Annotated[
        str | None, typer.Argument(help="An indexed id, or a video file (indexed or not).", show_default=False)
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            "--text", help="Search by this text instead: in an index of captions, or of an encoder with a text tower."
        ),
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help=f"How many results, at least 1; {RESULTS} by default.")] = None,
    least: Annotated[bool, typer.Option("--least", help="Find the least similar instead.")] = False,
    where: Annotated[
        str | None,
        typer.Option(
            "--where",
            help="Only stimuli of which this is known: \"valence > 3 and (split = 'test' or duration < 3)\".",
        ),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", "-e", help="Which index; needed only where there are several.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Which layer's index; needed only where there are several.")] = None,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Another index, ENCODER or ENCODER:LAYER: show its ranks beside these."),
    ] = None,
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Keep the query itself among the results.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="List copies and re-encodings as results of their own.")] = False,
    device: Device = "auto",
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Find the stimuli most similar to an indexed one, to a clip, or to a text."""
    if n is not None and n < 1:
        raise VidsimError(f"-n {n}: expected at least 1 result")
    if (query is None) == (text is None):
        raise VidsimError("expected one query: an indexed id, a video file, or --text TEXT")
    if against is not None and (least or include_self):
        raise VidsimError(
            f"--against shows the most similar others; leave {'--least' if least else '--include-self'} out"
        )
    if text is not None and include_self:
        raise VidsimError("--include-self has no effect with --text, which is not among the results; leave it out")
    from vidsim.retrieval.indexes import load

    asked = _Query(query, text, device, root_of(root))
    place = asked.root
    index = load(place, *(choose_index if text is None else _choose_for_text)(place, encoder, layer))
    other = None if against is None else load(place, *_against(place, against, index))
    for one in (index, other):
        _warn_if_stale(place, one)
    within = None if where is None else _mask(index, where)
    clip = asked.clip(index)
    answer = hits.Answer(index, clip, asked.called(index, clip), text)
    if other is not None:
        there = _in_other(asked, answer, other, str(against))
        _compare(answer, other, there, n or RESULTS, within, every=every, as_json=json)
        return
    from vidsim.retrieval.duplicates import distinct

    groups, aside = distinct(
        index, clip, n or RESULTS, keep_query=include_self, least=least, within=within, every=every
    )
    (hits.emit if json else hits.tell)(answer, groups, aside)
    hidden = bool(aside) or any(group.twins for group in groups)
    _say_fewer(n, len(groups), index, filtered=within is not None, hidden=hidden)


def _in_other(asked: _Query, answer: "hits.Answer", other: "Index", against: str) -> "Clip":
    """Find the query in the second index, by its id in the first."""
    name = answer.name if answer.clip.row is not None else asked.name
    try:
        return replace(asked, name=name).clip(other)
    except VidsimError as error:
        raise VidsimError(f"--against {against!r}: {error}") from None


def _compare(
    answer: "hits.Answer",
    other: "Index",
    clip: "Clip",
    n: int,
    within: "Bool[ndarray, ' rows'] | None",
    *,
    every: bool,
    as_json: bool,
) -> None:
    from vidsim.cli.against import compare, emit, tell

    found = compare(answer, other, clip, n, within, every=every)
    (emit if as_json else tell)(answer, found)
    if found.missing:
        typer.echo(f"vidsim: {found.missing} stimuli that stand in one of the two indexes only are left out", err=True)


def _say_fewer(n: int | None, found: int, index: "Index", *, filtered: bool, hidden: bool) -> None:
    if n is not None and found < n:
        what = (
            f"the filter lets no more than {found} through"
            if filtered
            else f"there are no more than {found}{'; --all lists copies and re-encodings too' if hidden else ''}"
        )
        typer.echo(f"vidsim: {n} were asked for, {what}", err=True)
    elif filtered and not found:
        typer.echo(f"vidsim: the filter is true of none of the {len(index)} stimuli but the query", err=True)


def _mask(index: "Index", where: str) -> "Bool[ndarray, ' rows']":
    from vidsim.retrieval.where import matching, parse

    known = index.attributes
    if known is None:
        raise VidsimError(
            f"the index of {index.manifest['encoder']} holds nothing that --where could ask for; bring it up to date: "
            f"vidsim index --refresh --encoder {index.manifest['encoder']}"
        )
    try:
        expression = parse(where, known.schema)
    except VidsimError as error:
        raise VidsimError(f"--where: {error}") from None
    return matching(known, expression)


def _against(root: str, name: str, index: "Index") -> tuple[str, str]:
    """Find the index to compare with: of another encoder, or of another layer of the same."""
    from vidsim.retrieval.manifest import built
    from vidsim.store.missing import nearest

    there = built(root)
    own = (index.manifest["encoder"], index.manifest["layer"])
    encoder, _, layer = name.partition(":")
    fitting = [pair for pair in there if pair[0] == encoder and layer in {"", pair[1]} and pair != own]
    fitting = fitting or [pair for pair in there if pair[0] == name and pair != own]  # names may hold a colon
    if len(fitting) == 1:
        return fitting[0]
    names = [f"{e}:{la}" for e, la in fitting or there if (e, la) != own]
    if fitting:
        raise VidsimError(f"--against {name!r}: {len(fitting)} indexes are of that name; say which: {', '.join(names)}")
    if (encoder, layer or own[1]) == own:
        raise VidsimError(f"--against {name!r}: that is the index that is searched{nearest(name, names)}")
    raise VidsimError(
        f"--against {name!r}: no such index{nearest(name, names)}; build one: vidsim index FOLDER --encoder ..."
    )


def _choose_for_text(root: str, encoder: str | None, layer: str | None) -> tuple[str, str]:
    """Choose among the indexes that have a place for texts."""
    from vidsim.cli.encoders import find_card
    from vidsim.extract.text import takes_text, who_takes_text
    from vidsim.retrieval.manifest import built

    there = built(root)
    fitting = [pair for pair in there if encoder in {None, pair[0]} and layer in {None, pair[1]}]
    taking = [pair for pair in fitting if takes_text(find_card(pair[0], root), pair[1])]
    if len(taking) == 1:
        return taking[0]
    if taking or not fitting:
        return choose_index(root, encoder, layer)
    able = [f"--encoder {e} --layer {la}" for e, la in there if takes_text(find_card(e, root), la)]
    hint = f"; search {', '.join(able)}" if able else ""
    names = " and ".join(f"{e} ({la})" for e, la in fitting[:3])
    raise VidsimError(f"--text: {names} cannot place a text; encoders that can: {who_takes_text()}{hint}")


def _warn_if_stale(root: str, index: "Index | None") -> None:
    from vidsim.retrieval.freshness import stale

    behind = None if index is None else stale(root, index.manifest)
    if behind:
        typer.echo(f"vidsim: {show.printable(behind)}", err=True)
