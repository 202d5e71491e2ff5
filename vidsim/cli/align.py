"""``vidsim align``: how closely models' similarities match people's, straight from the store."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.alignment import AUTO, Question, measure
from vidsim.cli.judgments.source import ContextName, ContextOption, SplitOption
from vidsim.cli.options import Captions, Json, Root
from vidsim.cli.output import FIGURE, PAGE, check_out, form_of, write_out
from vidsim.cli.root import DEFAULT_ROOT
from vidsim.cli.seen import warn_seen
from vidsim.cli.spaces import Similarity, SimilarityOption
from vidsim.cli.words import EncodersOption, names_of
from vidsim.errors import VidsimError

COMPARED = 15
"""Most differences between models that are printed."""

DIFFERENCES = ("difference", "95 %", "p", "p corrected", "McNemar p")
"""Columns of numbers in the table of differences."""

FORMS = {"--plot": FIGURE, "--curves": FIGURE, "--csv": (".csv",), "--html": PAGE}
"""Options that name a file to write, and what it may end in."""


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
        typer.Option("--captions", help="Which embeddings of encoders that read: mean (default) or first caption."),
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
    retrieval: Annotated[
        bool,
        typer.Option(
            "--retrieval", help="Also whether each stimulus's nearest neighbours are people's: nDCG@k and recall@k."
        ),
    ] = False,
    k: Annotated[
        int | None, typer.Option("-k", min=1, show_default="10", help="Neighbours that count, with --retrieval.")
    ] = None,
    resamples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Bootstrap resamples, for intervals and p-values; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, resamples and halves.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the encoders to this .png or .svg file.", show_default=False)
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option(
            help="Draw how closely each layer matches people to this .png or .svg file; with --layer auto.",
            show_default=False,
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write one row per encoder to this .csv file.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write tables and plots to this .html file.", show_default=False)
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that --plot, --curves, --csv or --html name.")
    ] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Compare encoders with people: rank correlation of similarities, and odd-one-out accuracy."""
    outs = {option: out for option, out in zip(FORMS, (plot, curves, csv, html), strict=True) if out is not None}
    _check_outs(outs, force=force)
    if curves is not None and layer != AUTO:
        raise VidsimError(f"--curves is with --layer {AUTO}, which measures every layer; leave one of the two out")
    compared = captions_under(protocol, context, captions)
    if k is not None and not retrieval:
        raise VidsimError("-k counts neighbours for --retrieval; add it, or leave -k out")
    answer = measure(
        Question(
            judgments=judgments,
            encoders=names_of(encoders),
            split=split,
            context=context.value,
            captions=compared.value,
            layer=layer,
            similarity=similarity.value,
            protocol=protocol.value,
            over=over.value,
            against=against,
            neighbours=(k or 10) if retrieval else None,
            resamples=resamples,
            seed=seed,
            root=root,
        )
    )
    # all is made before anything is written
    files = {option: _make(option, out, answer) for option, out in outs.items()}
    for option, content in files.items():
        write_out(outs[option], lambda file, content=content: file.write(content), force=force, option=option)
    warn_seen(answer["encoders"], answer["stimuli"])
    if json:
        show.emit(answer)
    else:
        _tell(answer)
        for out in outs.values():
            typer.echo(show.printable(str(out)))


def captions_under(protocol: Protocol, context: ContextName, captions: Captions | None) -> Captions:
    """Choose the captions whose embeddings are compared where nobody has; the paper's protocol takes the first.

    Parameters
    ----------
    protocol : Protocol
        How models and people are compared.
    context : ContextName
        Which trials count.
    captions : Captions, optional
        Those asked for.

    Returns
    -------
    Captions
        Of each stimulus.

    Raises
    ------
    VidsimError
        If the paper's protocol is asked for with trials or captions that are not its own.
    """
    if protocol is not Protocol.paper:
        return captions or Captions.mean
    if context is not ContextName.within or captions is Captions.mean:
        raise VidsimError("--protocol paper is with --context split and --captions first; leave the others out")
    return Captions.first


def _check_outs(outs: Mapping[str, Path], *, force: bool) -> None:
    for option, out in outs.items():
        check_out(out, FORMS[option], force=force, option=option)
    if len({out.resolve() for out in outs.values()}) < len(outs):
        raise VidsimError(f"--plot and --curves both name {str(outs['--plot'])!r}; expected a file for each")


def _make(option: str, out: Path, answer: dict[str, Any]) -> bytes:
    """Make the content of the file that an option names."""
    from vidsim.analysis.layers import FOLDS, LEAST
    from vidsim.report.alignment import alignment_csv, alignment_page, layers_plot, models_plot

    if option == "--csv":
        return alignment_csv(answer)
    if option == "--html":
        return alignment_page(answer).html().encode()
    if option == "--plot":
        return models_plot(answer, form_of(out))
    if not answer["curves"]:
        raise VidsimError(
            "--curves: no encoder has a curve; expected one in the store with two layers or more, and "
            f"{FOLDS * LEAST} stimuli or more to measure them on"
        )
    return layers_plot(answer, form_of(out))


def _tell(answer: dict[str, Any]) -> None:
    from vidsim.report import alignment, neighbours

    models = (("encoder", "layer"), alignment.TABLE, alignment.table_rows(answer))
    _tell_part(models, DIFFERENCES, alignment.comparison_rows(answer), alignment.notes(answer))
    found = answer["retrieval"]
    if found:
        models = (("encoder",), neighbours.columns(found), neighbours.neighbour_rows(found))
        differences = neighbours.neighbour_comparisons(found)
        _tell_part(models, neighbours.COMPARED, differences, neighbours.neighbour_notes(found))


def _tell_part(
    models: tuple[Sequence[str], Sequence[str], Sequence[Sequence[str]]],
    columns: Sequence[str],
    differences: Sequence[Sequence[str]],
    notes: Sequence[str],
) -> None:
    """Print models (columns of words, columns of numbers, rows), the first differences between them, and notes."""
    words, numbers, rows = models
    show.table((*words, *numbers), rows, right=numbers)
    if differences:
        show.table(("encoders", "in", *columns), differences[:COMPARED], right=columns)
    if len(differences) > COMPARED:
        typer.echo(f"{len(differences) - COMPARED} further differences are in --json and --html")
    for note in notes:
        typer.echo(show.printable(note))
