"""``vidsim align``: how closely models' similarities match people's, straight from the store."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.alignment import AUTO, Question, measure
from vidsim.cli.judgments.source import ContextName, ContextOption, SplitOption
from vidsim.cli.options import DEFAULT_ROOT, Captions, Json, Root
from vidsim.cli.output import check_out, write_out
from vidsim.cli.spaces import Similarity, SimilarityOption
from vidsim.cli.words import EncodersOption, names_of
from vidsim.errors import VidsimError

COMPARED = 15
"""Most differences between models that are printed."""


class Protocol(StrEnum):
    """How models and people are compared."""

    default = "default"
    paper = "paper"


class Over(StrEnum):
    """What the bootstrap resamples."""

    stimuli = "stimuli"
    participants = "participants"
    both = "both"


def align(
    judgments: Annotated[str, typer.Option("--judgments", help="Judgments in the store by name, a file or a folder.")],
    encoders: EncodersOption,
    split: SplitOption = None,
    context: ContextOption = ContextName.within,
    captions: Annotated[
        Captions | None,
        typer.Option("--captions", help="Which embeddings of sentence encoders: mean (default) or first caption."),
    ] = None,
    layer: Annotated[
        str,
        typer.Option(
            "--layer",
            help="auto: a sentence encoder's sentence embedding; of other encoders the layer that fits training "
            "stimuli best by cross-validation, or the default layer where these are reported on too. all: every layer, "
            "each a model of its own. Or a name.",
        ),
    ] = AUTO,
    similarity: SimilarityOption = Similarity.cosine,
    protocol: Annotated[
        Protocol,
        typer.Option(
            "--protocol", help="paper: first caption, trials wholly within the split, reliability of shuffled votes."
        ),
    ] = Protocol.default,
    over: Annotated[
        Over, typer.Option("--over", help="What the bootstrap resamples: other stimuli, other people, or both.")
    ] = Over.stimuli,
    against: Annotated[
        str | None,
        typer.Option("--against", help="Compare all others with this encoder, rather than every two of up to 20."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Bootstrap resamples, for intervals and p-values; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, resamples and halves.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the encoders to this .png or .svg file.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write one row per encoder to this .csv file.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write tables and plots to this .html file.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that --plot, --csv or --html name.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Compare encoders with people: rank correlation of similarities, and odd-one-out accuracy."""
    for out, suffixes, option in (
        (plot, (".png", ".svg"), "--plot"),
        (csv, (".csv",), "--csv"),
        (html, (".html",), "--html"),
    ):
        if out is not None:
            check_out(out, suffixes, force=force, option=option)
    if protocol is Protocol.paper and (context is not ContextName.within or captions is Captions.mean):
        raise VidsimError("--protocol paper is with --context split and --captions first; leave the others out")
    caption = captions or (Captions.first if protocol is Protocol.paper else Captions.mean)
    answer = measure(
        Question(
            judgments=judgments,
            encoders=names_of(encoders),
            split=split,
            context=context.value,
            captions=caption.value,
            layer=layer,
            similarity=similarity.value,
            protocol=protocol.value,
            over=over.value,
            against=against,
            resamples=resamples,
            seed=seed,
            root=root,
        )
    )
    if plot is not None:
        from vidsim.report.alignment import models_plot

        image = models_plot(answer, "svg" if plot.suffix.lower() == ".svg" else "png")
        write_out(plot, lambda file: file.write(image), force=force, option="--plot")
    if csv is not None:
        from vidsim.report.alignment import alignment_csv

        table = alignment_csv(answer)
        write_out(csv, lambda file: file.write(table), force=force, option="--csv")
    if html is not None:
        from vidsim.report.alignment import alignment_page

        page = alignment_page(answer).html().encode()
        write_out(html, lambda file: file.write(page), force=force, option="--html")
    if json:
        show.emit(answer)
    else:
        _tell(answer)
        for out in (plot, csv, html):
            if out is not None:
                typer.echo(show.printable(str(out)))


def _tell(answer: dict[str, Any]) -> None:
    from vidsim.report.alignment import TABLE, comparison_rows, notes, table_rows

    show.table(("encoder", "layer", *TABLE), table_rows(answer), right=TABLE)
    rows = comparison_rows(answer)
    if rows:
        headers = ("difference", "95 %", "p", "p corrected", "McNemar p")
        show.table(("encoders", "in", *headers), rows[:COMPARED], right=headers)
    if len(rows) > COMPARED:
        typer.echo(f"{len(rows) - COMPARED} further differences are in --json and --html")
    for note in notes(answer):
        typer.echo(show.printable(note))
