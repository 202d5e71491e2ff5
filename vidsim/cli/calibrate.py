"""``vidsim calibrate``: the temperature that turns an encoder's similarities into probabilities of people's choices."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.judgments.source import SplitOption, load_split
from vidsim.cli.options import Captions, Json, Root
from vidsim.cli.output import FIGURE, check_out, form_of, write_out
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.seen import seen_in_training, warn_seen
from vidsim.cli.spaces import CaptionsOption, Space, table_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.retrieval.calibration import Calibration
    from vidsim.store import EmbeddingTable
    from vidsim.triplets import Triplets


def calibrate(
    encoder: Annotated[
        str,
        typer.Argument(
            metavar="ENCODER[:LAYER]",
            help="An encoder or adapter of the store; its default layer unless another is named.",
            show_default=False,
        ),
    ],
    judgments: Annotated[str, typer.Option("--judgments", help="Judgments in the store by name, a file or a folder.")],
    split: SplitOption = None,
    captions: CaptionsOption = Captions.mean,
    resamples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Bootstrap resamples of the stimuli, for intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and resamples.")] = 0,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the reliability of the probabilities to this .png or .svg file.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that --plot names.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Fit the temperature at which an encoder predicts people's choices, and test it on stimuli not fitted to."""
    check_out(plot, FIGURE, force=force, option="--plot")
    from vidsim.analysis.calibration import CHANCE
    from vidsim.analysis.quality import plain
    from vidsim.report.seen import SEEN
    from vidsim.retrieval.calibration import Calibration, now

    place = root_of(root)
    table, layer = _table(encoder, place, captions.value)
    triplets = _triplets(judgments, root, split)
    found = _fit(table, layer, triplets, resamples, seed)
    calibration = Calibration(
        encoder=table.encoder,
        layer=layer,
        temperature=found["temperature"],
        judgments=judgments,
        split=split,
        identity=dict(table.identity),
        trials=found["trials"],
        nll=found["calibrated"]["nll"],
        ece=found["calibrated"]["ece"],
        created=now(),
        versions=_versions(),
    )
    answer = plain(
        {
            "encoder": table.encoder,
            "layer": layer,
            "table": table.name,
            "judgments": judgments,
            "split": split,
            **found,
            "chance": {"nll": CHANCE, "accuracy": 1 / 3},
            SEEN: seen_in_training(table.encoder, layer, triplets.ids, root),
            "resamples": resamples,
            "seed": seed,
            "plot": None if plot is None else str(plot),
        }
    )
    if plot is not None:
        from vidsim.report.calibration import reliability_plot

        image = reliability_plot(answer, form_of(plot))
        write_out(plot, lambda file: file.write(image), force=force, option="--plot")
    replaced = _replaced(calibration, place)
    answer["file"] = calibration.write(place)
    if replaced is not None:
        typer.echo(f"vidsim: {show.printable(replaced)}", err=True)
    warn_seen([answer], found["stimuli"])
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def _table(name: str, root: str, captions: str) -> "tuple[EmbeddingTable, str]":
    from vidsim.store import Store
    from vidsim.store.missing import nearest

    store = Store(root)
    encoder, colon, layer = name.partition(":")
    if encoder not in store:
        raise VidsimError(f"no encoder {encoder!r} in the store{nearest(encoder, store) or '; it is empty'}")
    table = table_of(store, encoder, captions, layer if colon else None)
    return table, layer if colon else table.default_layer


def _triplets(judgments: str, root: str, split: str | None) -> "Triplets":
    """Find the trials, over those stimuli alone that they show: others need not be stored."""
    import numpy as np

    from vidsim.triplets import Triplets

    known, ids = load_split(judgments, root, split)
    if known.predicted is not None:
        raise VidsimError(f"{judgments!r} holds predictions of a model; a temperature is fitted to judgments of people")
    triplets = known.triplets if ids is None else known.triplets.restrict(ids)
    if not len(triplets):
        raise VidsimError(f"no trial of {judgments!r} lies wholly within split {split or 'all'!r}")
    shown, flat = np.unique(triplets.rows, return_inverse=True)
    return Triplets(tuple(triplets.ids[int(k)] for k in shown), flat.reshape(triplets.rows.shape))


def _fit(table: "EmbeddingTable", layer: str, triplets: "Triplets", resamples: int, seed: int) -> dict[str, Any]:
    import numpy as np

    from vidsim.analysis.calibration import calibrate as fit
    from vidsim.analysis.choice import triplet_similarities

    embeddings = Space(f"{table.encoder}:{layer}", table[layer]).embeddings(triplets.ids)
    similarities = triplet_similarities(embeddings.unit.matrix, triplets.rows)
    odd = np.full(len(triplets), 2)  # the last of each trial
    return asdict(fit(similarities, triplets.rows, odd, resamples=resamples, seed=seed))


def _replaced(made: "Calibration", root: str) -> str | None:
    """Say where a calibration takes the place of one of other captions: a layer has one."""
    from vidsim.retrieval.calibration import captions_of, read

    try:
        earlier = read(root, made.encoder, made.layer)
    except VidsimError:  # damaged, or of a newer vidsim: it is made again
        return None
    used, now = (None if one is None else captions_of(one.identity) for one in (earlier, made))
    if None in {used, now} or used == now:
        return None
    return (
        f"this replaces the calibration of {made.encoder} {made.layer} that was made from --captions {used}; a layer "
        "has one"
    )


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("vidsim", "numpy", "scipy")}


def _tell(answer: dict[str, Any]) -> None:
    from vidsim.report.calibration import TABLE, notes, score_rows

    show.table(("probabilities", *TABLE), score_rows(answer), right=TABLE)
    for note in notes(answer):
        typer.echo(show.printable(note))
    for file in (answer["plot"], answer["file"]):
        if file:
            typer.echo(show.printable(file))
