"""``vidsim search``: the stimuli most similar to an indexed one, or to a clip. An id query never imports torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidsim.cli import show
from vidsim.cli.options import DEFAULT_ROOT, Device, Json, Root, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from vidsim.retrieval.index import Index

RESULTS = 10


def search(
    query: Annotated[str, typer.Argument(help="An indexed id, or a video file (indexed or not).", show_default=False)],
    n: Annotated[int | None, typer.Option("-n", help=f"How many results, at least 1; {RESULTS} by default.")] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", "-e", help="Which index; needed only where there are several.")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Which layer's index; needed only where there are several.")] = None,
    include_self: Annotated[
        bool, typer.Option("--include-self", help="Keep the query itself among the results.")
    ] = False,
    device: Device = "auto",
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Find the stimuli most similar to an indexed one or to a clip."""
    if n is not None and n < 1:
        raise VidsimError(f"-n {n}: expected at least 1 result")
    from vidsim.retrieval.index import load

    place = root_of(root)
    index = load(place, *_choose(place, encoder, layer))
    row = _row(index, query)
    vector = index.vector(row) if row is not None else _encode(index, Path(query), device, place)
    hits = index.search(vector, n or RESULTS, exclude=None if include_self else row)
    if json:
        for hit in hits:
            show.emit({"rank": hit.rank, "id": hit.id, "path": hit.path, "similarity": hit.similarity})
    else:
        rows = [(str(hit.rank), f"{hit.similarity:.4f}", hit.id, show.place(hit.path)) for hit in hits]
        show.table(("rank", "similarity", "id", "path"), rows, right=("rank", "similarity"))
    if n is not None and len(hits) < n:
        typer.echo(f"vidsim: {n} were asked for, the index holds no more than {len(hits)} others", err=True)


def _choose(root: str, encoder: str | None, layer: str | None) -> tuple[str, str]:
    from vidsim.retrieval.index import built

    there = built(root)
    fitting = [(e, la) for e, la in there if encoder in {None, e} and layer in {None, la}]
    if len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(f"--encoder {e} --layer {la}" for e, la in fitting or there)
    if fitting:
        raise VidsimError(f"{len(fitting)} indexes are in {root!r}; say which: {listed}")
    if there:
        raise VidsimError(f"no index of {' '.join(filter(None, (encoder, layer)))} in {root!r}; there are: {listed}")
    raise VidsimError(f"no index in {root!r}; build one: vidsim index FOLDER")


def _row(index: "Index", query: str) -> int | None:
    """Find the query's row by id, path, content, or file name without suffix; None for a clip that is not indexed."""
    row = index.find("id", query)
    if row is not None:
        return row
    path = Path(query)
    if path.is_file():
        from vidsim.data.video import content_hash, file_content

        # by content: a file that has changed since it was indexed is not what stands in the index
        content = content_hash(path)
        row = index.find("path", path.resolve().as_posix())
        same = row is not None and file_content(index.value("content", row)) == content
        return row if same else index.find("content", content)
    named = [i for i in index.ids if i.rsplit("/", 1)[-1] == query or i.rsplit("/", 1)[-1].rsplit(".", 1)[0] == query]
    if len(named) == 1:
        return index.find("id", named[0])
    if named:
        raise VidsimError(f"{query!r} fits {len(named)} ids, such as {named[0]!r} and {named[1]!r}; give one in full")
    raise VidsimError(f"{query!r} is neither an indexed id nor a video file{_nearest(query, index.ids)}")


def _nearest(query: str, ids: list[str]) -> str:
    from difflib import get_close_matches

    # close matches cost time for every id: in a large index look first among those that contain the query
    holding = [i for i in ids if query.lower() in i.lower()]
    near = get_close_matches(query, holding[:2000] or ids[:2000], 3, 0.4)
    return f"; the nearest ids are {', '.join(map(repr, near))}" if near else ""


def _encode(index: "Index", path: Path, device: str, root: str) -> "Float[ndarray, ' d']":
    from vidsim.cli.encoders import find_card, resolve
    from vidsim.extract import FeatureSpec, embed_file

    made = index.manifest["provenance"]
    spec = FeatureSpec(**made["spec"])
    resolved = resolve(
        find_card(index.manifest["encoder"], root),
        checkpoint=made["checkpoint"],
        revision=made["revision"],
        pooling=made["pooling"],
    )
    if resolved.card.modality == "text":
        raise VidsimError(
            f"{str(path)!r} is not indexed, and {resolved.card.name} reads captions, not videos; query by id"
        )
    if spec.identity(resolved.identity, resolved.card.modality) != made["identity"]:
        raise VidsimError(
            f"{resolved.card.name} is not what the index was built with (weights, sampling or preprocessing changed); "
            f"rebuild it: vidsim index FOLDER --encoder {resolved.card.name}"
        )
    return embed_file(path, resolved, spec, index.manifest["layer"], device)
