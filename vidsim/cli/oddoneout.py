"""``vidsim oddoneout``: which of three stimuli people would single out, and how likely. An id never imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import Captions, Device, Json, Root
from vidsim.cli.query import choose_index, encode_clip, find_row, nearest_ids
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray


@dataclass(frozen=True, eq=False)
class _Three:
    """Hold three stimuli and where they come from."""

    encoder: str
    layer: str
    place: str
    identity: dict[str, Any]
    ids: list[str]
    paths: list[str | None]
    vectors: "list[Float[ndarray, ' d']]"


def oddoneout(
    a: Annotated[str, typer.Argument(help="An indexed id, or a video file (indexed or not).", show_default=False)],
    b: Annotated[str, typer.Argument(help="Another.", show_default=False)],
    c: Annotated[str, typer.Argument(help="A third.", show_default=False)],
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            "-e",
            help="Whose index, or embeddings in the store; needed only where there is not one index.",
        ),
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Which layer; needed only where there are several.")] = None,
    captions: Annotated[
        Captions | None,
        typer.Option(
            help="Which embeddings of encoders that read: of all captions, or the first; by default those of the "
            "index, or of all.",
            show_default=False,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of the probabilities, in place of the one that `vidsim calibrate` has fitted."),
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Name no odd one where the likeliest has a probability below this."),
    ] = None,
    device: Device = "auto",
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Predict which of three stimuli people would single out as the odd one."""
    from vidsim.analysis.choice import check_temperature
    from vidsim.retrieval.calibration import advice, captions_of, find

    if temperature is not None:
        check_temperature(temperature)
    place = root_of(root)
    three = _find((a, b, c), place, encoder, layer, captions, device)
    calibration = find(place, three.encoder, three.layer, three.identity) if temperature is None else None
    command = advice(three.encoder, three.layer, place, captions=captions_of(three.identity))
    if calibration is not None:
        temperature = calibration.temperature
    if temperature is None and abstain is not None:
        raise VidsimError(
            f"--abstain needs probabilities, and there is no calibration of {three.encoder} {three.layer}; make one: "
            f"{command}; or give --temperature"
        )
    answer = _predict(three, temperature, abstain)
    answer["temperature_from"] = calibration.summary if calibration is not None else "given" if temperature else None
    if json:
        show.emit(answer)
    else:
        _tell(answer, command)


def _find(
    queries: tuple[str, str, str],
    root: str,
    encoder: str | None,
    layer: str | None,
    captions: Captions | None,
    device: str,
) -> _Three:
    from vidsim.retrieval.manifest import built

    indexed = any(e == encoder and layer in {None, la} for e, la in built(root))
    three = (
        _indexed(queries, root, encoder, layer, captions, device)
        if indexed or encoder is None
        else _stored(queries, root, encoder, layer, (captions or Captions.mean).value)
    )
    _check(queries, three)
    return three


def _indexed(
    queries: Sequence[str], root: str, encoder: str | None, layer: str | None, captions: Captions | None, device: str
) -> _Three:
    from vidsim.retrieval.calibration import captions_of
    from vidsim.retrieval.freshness import stale
    from vidsim.retrieval.indexes import load

    index = load(root, *choose_index(root, encoder, layer))
    identity = dict(index.manifest["provenance"].get("identity", {}))
    used = captions_of(identity)
    if captions is not None and used not in {None, captions.value}:
        raise VidsimError(
            f"the index of {index.manifest['encoder']} {index.manifest['layer']} is of --captions {used}, not "
            f"{captions.value}; leave --captions out, or build it again with them: vidsim index"
        )
    behind = stale(root, index.manifest)
    if behind:
        typer.echo(f"vidsim: {show.printable(behind)}", err=True)
    rows = [find_row(index, query) for query in queries]
    ids = [query if row is None else index.value("id", row) for query, row in zip(queries, rows, strict=True)]
    _refuse_same(queries, [_content(query) if row is None else row for query, row in zip(queries, rows, strict=True)])
    return _Three(
        encoder=index.manifest["encoder"],
        layer=index.manifest["layer"],
        place="index",
        identity=identity,
        ids=ids,
        paths=[
            Path(query).resolve().as_posix() if row is None else index.value("path", row)
            for query, row in zip(queries, rows, strict=True)
        ],
        vectors=[
            encode_clip(index, Path(query), device, root)[0] if row is None else index.vector(row)
            for query, row in zip(queries, rows, strict=True)
        ],
    )


def _stored(queries: Sequence[str], root: str, encoder: str, layer: str | None, captions: str) -> _Three:
    from vidsim.cli.vectors import find_vectors

    known = find_vectors(encoder if layer is None else f"{encoder}:{layer}", root, captions)
    for query in queries:
        if query not in known.found.position:
            hint = (
                f"; a clip that is not stored is compared through an index: vidsim index FOLDER --encoder {encoder}"
                if Path(query).is_file()
                else nearest_ids(query, known.found.ids)
            )
            raise VidsimError(f"{query!r} has no embedding of {encoder} {known.layer} in the store{hint}")
    _refuse_same(queries, queries)
    vectors = list(known.found.take(queries).matrix)
    return _Three(encoder, known.layer, "store", dict(known.identity), list(queries), [None] * 3, vectors)


def _content(query: str) -> str:
    from vidsim.data.video import content_hash

    return content_hash(Path(query))


def _refuse_same(queries: Sequence[str], found: Sequence[object]) -> None:
    for later in range(1, len(queries)):
        earlier = found.index(found[later])
        if earlier < later:
            raise VidsimError(
                f"{queries[earlier]!r} and {queries[later]!r} are the same stimulus; expected three different ones"
            )


def _check(queries: Sequence[str], three: _Three) -> None:
    import numpy as np

    for query, vector in zip(queries, three.vectors, strict=True):
        if not np.isfinite(vector).all() or not vector.any():
            raise VidsimError(f"the embedding of {query!r} is zero or not finite; no direction to compare")


def _predict(three: _Three, temperature: float | None, abstain: float | None) -> dict[str, Any]:
    import numpy as np

    from vidsim.analysis.choice import PAIRS, odd_probabilities, triplet_similarities
    from vidsim.embeddings import unit_rows

    unit = unit_rows(np.stack(three.vectors).astype(np.float64))
    pairs = triplet_similarities(unit, np.arange(3)[None])[0]
    others = pairs[::-1]  # of each stimulus, the similarity of the two others
    chances = None if temperature is None else odd_probabilities(pairs[None], temperature)[0]
    first = np.flatnonzero(others == others.max())
    abstained = chances is not None and abstain is not None and bool(chances.max() < abstain)
    return {
        "encoder": three.encoder,
        "layer": three.layer,
        "from": three.place,
        "odd": None if abstained or len(first) > 1 else three.ids[int(first[0])],
        "abstained": abstained,
        "abstain": abstain,
        "stimuli": [
            {
                "id": three.ids[k],
                "path": three.paths[k],
                "rank": 1 + int((others > others[k]).sum()),
                "probability": None if chances is None else float(chances[k]),
            }
            for k in range(3)
        ],
        "similarities": [
            {"pair": [three.ids[i], three.ids[j]], "similarity": float(pairs[number])}
            for number, (i, j) in enumerate(PAIRS)
        ],
        "temperature": temperature,
    }


def _tell(answer: dict[str, Any], advice: str) -> None:
    from vidsim.report.label import calibrated_on

    stimuli = answer["stimuli"]
    likeliest = [stimulus for stimulus in stimuli if stimulus["rank"] == 1]
    chance = likeliest[0]["probability"]
    named = likeliest[0]["id"] if len(likeliest) == 1 else f"{len(likeliest)} of them alike"
    if answer["abstained"]:
        line = f"abstains: the likeliest ({named}) has a probability of {chance:.3f}, below {answer['abstain']:g}"
    elif answer["odd"] is None:
        line = f"undecided: {len(likeliest)} pairs are equally similar, and more so than any other"
    else:
        line = f"odd one out: {answer['odd']}" + ("" if chance is None else f" (probability {chance:.3f})")
    typer.echo(show.printable(line))
    numbers = ("rank", "probability", "similarity of the two others")
    rows = [
        (
            stimulus["id"],
            str(stimulus["rank"]),
            "-" if stimulus["probability"] is None else f"{stimulus['probability']:.3f}",
            f"{pair['similarity']:.4f}",
        )
        for stimulus, pair in zip(stimuli, reversed(answer["similarities"]), strict=True)
    ]
    show.table(("stimulus", *numbers), rows, right=numbers)
    source = answer["temperature_from"]
    if source is None:
        line = (
            f"no calibration of {answer['encoder']} {answer['layer']}, so no probabilities; make one: {advice}; or "
            "give --temperature"
        )
    elif source == "given":
        line = f"temperature {answer['temperature']:g}, as given; {answer['encoder']} {answer['layer']}"
    else:
        line = (
            f"temperature {answer['temperature']:.4f}, calibrated on {calibrated_on(source)} ({source['trials']:,} "
            f"trials, {source['created']}); {answer['encoder']} {answer['layer']}"
        )
    typer.echo(show.printable(line))
