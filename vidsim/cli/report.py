"""``vidsim report``: one page with everything that is known about how models compare with people."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from vidsim.cli import show
from vidsim.cli.align import Over, Protocol, captions_under
from vidsim.cli.alignment import AUTO, Question, measure
from vidsim.cli.judgments.source import ContextName, ContextOption, SplitOption
from vidsim.cli.options import Captions, Device, Json, Root, checkpoint_of
from vidsim.cli.output import PAGE, check_out, write_out
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.seen import warn_seen
from vidsim.cli.spaces import Similarity, SimilarityOption, find_space
from vidsim.cli.words import EncodersOption, names_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.report.page import Page, Section

PARTITIONED = 3
"""Models among which variance is partitioned, the best: of more the parts are too many to read."""


_Part: TypeAlias = "tuple[list[Section], Any]"
"""Sections of a page, and what is in them in numbers."""


@dataclass(frozen=True)
class Wishes:
    """Hold what a report shows beside alignment.

    Parameters
    ----------
    ratings : str, optional
        Where ratings are; those of the judged stimuli by default.
    actions : Path, optional
        Folder with the lists of an action-recognition split.
    before, after : str, optional
        Spaces whose flips are shown; the two best encoders, or the best other one, by default.
    examples : int
        Flips shown in each direction.
    clips : tuple of Path
        Clips whose attention rollout is shown.
    checkpoints : tuple of Path or None
        Folders with the checkpoints of before and after, for rollouts.
    device : str
        For rollouts.
    """

    ratings: str | None
    actions: Path | None
    before: str | None
    after: str | None
    examples: int
    clips: tuple[Path, ...]
    checkpoints: tuple[Path | None, Path | None]
    device: str


def report(
    judgments: Annotated[str, typer.Option("--judgments", help="Judgments in the store by name, a file or a folder.")],
    encoders: EncodersOption,
    out: Annotated[
        Path,
        typer.Option(
            metavar="PAGE.html", help="Page to write; the same goes to PAGE.md, figures beside it.", show_default=False
        ),
    ],
    split: SplitOption = None,
    context: ContextOption = ContextName.within,
    captions: Annotated[
        Captions | None,
        typer.Option("--captions", help="Which embeddings of encoders that read: mean (default) or first caption."),
    ] = None,
    layer: Annotated[str, typer.Option("--layer", help="As for vidsim align: auto, all or a name.")] = AUTO,
    similarity: SimilarityOption = Similarity.cosine,
    protocol: Annotated[Protocol, typer.Option("--protocol", help="As for vidsim align.")] = Protocol.default,
    over: Annotated[Over, typer.Option("--over", help="What the bootstrap of align resamples.")] = Over.stimuli,
    ratings: Annotated[
        str | None,
        typer.Option(
            "--ratings",
            metavar="SOURCE",
            help="Rated stimuli in the store by name, or a table, for probes; those judged by default.",
        ),
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", help="Space whose flips are shown; the best other encoder by default.")
    ] = None,
    after: Annotated[str | None, typer.Option("--after", help="Space they flip to; the best by default.")] = None,
    examples: Annotated[
        int, typer.Option("--examples", "-n", min=1, max=100, help="Flips shown in each direction.")
    ] = 5,
    actions: Annotated[
        Path | None,
        typer.Option(
            "--actions",
            metavar="FOLDER",
            help="Also recognise actions, on split 1 of this folder, as vidsim classify --splits does.",
            show_default=False,
        ),
    ] = None,
    clips: Annotated[
        list[Path] | None,
        typer.Option(
            "--rollout",
            metavar="CLIP...",
            help="Also what --before and --after attend to in these clips.",
            show_default=False,
        ),
    ] = None,
    checkpoint_before: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint-before",
            parser=checkpoint_of,
            metavar="<path>",
            help="Folder with the checkpoint of --before, for --rollout.",
        ),
    ] = None,
    checkpoint_after: Annotated[
        Path | None,
        typer.Option("--checkpoint-after", parser=checkpoint_of, metavar="<path>", help="Likewise, of --after."),
    ] = None,
    device: Device = "auto",
    resamples: Annotated[int, typer.Option(min=0, max=100_000, help="Bootstrap resamples; 0 for no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, resamples and halves.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Write one page, and its Markdown twin, with alignment, variance partition, probes and flips."""
    start = time.perf_counter()
    for option, given in (("--checkpoint-before", checkpoint_before), ("--checkpoint-after", checkpoint_after)):
        if given is not None and not clips:
            raise VidsimError(f"{option} {str(given)!r} has no effect without --rollout; leave it out")
    twin, folder = out.with_suffix(".md"), out.with_name(f"{out.stem}-figures")
    check_out(out, PAGE, force=force)
    check_out(twin, (".md",), force=force)
    if folder.exists() and not force:
        raise VidsimError(f"{str(folder)!r} exists already; --force writes into it, or give another --out")
    if folder.exists() and not folder.is_dir():
        raise VidsimError(
            f"{str(folder)!r} is a file, where a folder for the figures is to be; move it, or give another --out"
        )
    compared = captions_under(protocol, context, captions)
    question = Question(
        judgments=judgments,
        encoders=names_of(encoders),
        split=split,
        context=context.value,
        captions=compared.value,
        layer=layer,
        similarity=similarity.value,
        protocol=protocol.value,
        over=over.value,
        against=None,
        resamples=resamples,
        seed=seed,
        root=root,
    )
    wishes = Wishes(
        ratings, actions, before, after, examples, tuple(clips or ()), (checkpoint_before, checkpoint_after), device
    )
    page, answer = make(question, wishes, folder)
    _write(page, out, twin, folder, force=force)
    warn_seen(answer["align"]["encoders"], answer["align"]["stimuli"])
    answer |= {"html": str(out), "markdown": str(twin), "seconds": round(time.perf_counter() - start, 3)}
    if json:
        show.emit(answer)
        return
    for part, why in answer["left_out"].items():
        typer.echo(f"{part} left out: {show.printable(why)}")
    typer.echo(show.printable(f"{out} and {twin}: {', '.join(s.title for s in page.sections)}"))


def make(question: Question, wishes: Wishes, folder: Path) -> "tuple[Page, dict[str, Any]]":
    """Put a report together.

    Parameters
    ----------
    question : Question
        What is compared with people.
    wishes : Wishes
        What else is shown.
    folder : Path
        Where figures will be.

    Returns
    -------
    Page
        The report.
    dict
        All numbers in it: ``align``, ``partition``, ``probe``, ``classify``, ``compare`` and ``rollout``, None for what
        is left out, which ``left_out`` gives the reasons for.

    Raises
    ------
    VidsimError
        If alignment cannot be measured, or what was asked for by name cannot be done. A part that nobody asked for by
        name and that cannot be done is left out.
    """
    from vidsim import __version__
    from vidsim.report.alignment import alignment_sections
    from vidsim.report.page import Page

    answer: dict[str, Any] = {"align": measure(question)}
    named = [_space_name(encoder) for encoder in answer["align"]["encoders"]]
    pair = _pair(named, wishes)
    if wishes.clips and not all(pair):
        raise VidsimError(
            f"--rollout shows what two encoders attend to, and {pair[0] or pair[1]} is alone; name the other with "
            f"--{'after' if pair[0] else 'before'}, or among --encoders"
        )
    rated = wishes.ratings or question.judgments
    parts: dict[str, Callable[[], _Part]] = {
        "partition": lambda: _partition(question, named, answer["align"]["reliability"]),
        "probe": lambda: _probe(question, named, rated),
        "compare": lambda: _compare(question, pair, wishes.examples),
    }
    asked = {"probe": wishes.ratings is not None, "compare": bool(wishes.before or wishes.after)}
    if wishes.actions is not None:
        folder_of_lists = wishes.actions
        parts["classify"] = lambda: _classify(question, named, folder_of_lists)
    if wishes.clips:
        parts["rollout"] = lambda: _rollout(pair, wishes, folder, root_of(question.root))
    sections = [_people(question, answer["align"]), *alignment_sections(answer["align"])]
    left_out: dict[str, str] = {}
    answer |= dict.fromkeys(("partition", "probe", "classify", "compare", "rollout"))
    for part, measured in parts.items():
        try:
            found, answer[part] = measured()
        except VidsimError as error:
            if asked.get(part, part in {"classify", "rollout"}):
                raise
            left_out[part] = str(error)
        else:
            sections += found
    models = ", ".join(dict.fromkeys(encoder["encoder"] for encoder in answer["align"]["encoders"]))
    lead = f"{models} on {question.judgments}, split {question.split or 'all'}"
    footer = f"vidsim {__version__}; protocol {question.protocol}, seed {question.seed}."
    return Page("Models and people", lead, sections, footer), {**answer, "left_out": left_out}


def _pair(named: list[str], wishes: Wishes) -> tuple[str, str]:
    """Choose which flips are shown: for what nobody named the best encoder but the other, empty where there is none."""
    after = wishes.after or _best(named, wishes.before)
    return wishes.before or _best(named, after), after


def _best(named: list[str], other: str | None) -> str:
    return next((name for name in named if other not in {name, name.partition(":")[0]}), "")


def _space_name(encoder: dict[str, Any]) -> str:
    return f"{encoder['encoder']}:{encoder['layer']}" if encoder["layer"] else encoder["encoder"]


def _people(question: Question, answer: dict[str, Any]) -> "Section":
    """Say what people judged, and how reliably."""
    from vidsim.report.page import Section
    from vidsim.report.text import number, span

    first = answer["encoders"][0]
    shown = question.trials(question.split)[0].counts(question.context).shown
    agreed, within = answer["agreement"], span(answer["reliability_interval"] or (None, None))
    facts = {
        "stimuli": f"{answer['stimuli']:,}",
        "trials wholly among them": f"{first['trials']:,}",
        "participants": f"{answer['participants']:,}" if answer["participants"] else "not named",
        "pairs judged": f"{first['pairs']:,} of {len(shown):,}",
        "judgments per judged pair": f"{shown[shown > 0].mean():.2f}",
        "reliability r_SB (95 %)": f"{number(answer['reliability'])} ({within})",
        "agreement on repeated triplets (chance 33.3 %)": "none" if agreed is None else f"{100 * agreed:.1f} %",
    }
    return Section("People", facts=facts)


def _partition(question: Question, named: list[str], reliability: float | None) -> _Part:
    from vidsim.analysis.partition import partition, shared_pairs
    from vidsim.analysis.quality import plain
    from vidsim.cli.partition import describe
    from vidsim.report.partition import section

    if len(named) < 2:
        raise VidsimError("variance is partitioned among two models or more")
    triplets = question.trials(question.split)[0]
    models = {
        name: find_space(name, question.root, question.captions).rsm(triplets.ids, question.similarity)
        for name in named[:PARTITIONED]
    }
    human = shared_pairs(triplets.rsm(question.context), models)
    found = partition(human, models, resamples=question.resamples, seed=question.seed)
    return [section(found, ceiling=reliability)], plain(describe(found))


def _probe(question: Question, named: list[str], source: str) -> _Part:
    from vidsim.analysis.probe import probe
    from vidsim.cli.probe import choose, describe, find_ratings, parts
    from vidsim.embeddings import Embeddings
    from vidsim.report.probe import section

    rated = find_ratings(source, question.root)
    ids, held_out, part = parts(rated, question.split, source)
    chosen, _, left_out = choose(rated, (), ids, held_out, 5)
    found = [find_space(name, question.root, question.captions) for name in named]
    spaces = {space.name: space.embeddings(chosen.ids) for space in found if isinstance(space.found, Embeddings)}
    if not spaces:
        raise VidsimError("similarities alone predict no ratings; expected encoders")
    known = set(chosen.ids)
    measured = probe(
        spaces,
        chosen,
        held_out=[name for name in held_out if name in known],
        resamples=question.resamples,
        seed=question.seed,
    )
    return [section(measured, stimuli=f"{source}, {part}", left_out=left_out)], describe(measured)


def _classify(question: Question, named: list[str], folder: Path) -> _Part:
    from vidsim.cli.classify import recognise
    from vidsim.report.classify import section

    found = recognise(named, folder, 1, range(question.seed, question.seed + 3), question.resamples, question.root)
    return [section(found)], found


def _compare(question: Question, pair: tuple[str, str], examples: int) -> _Part:
    from vidsim.analysis.quality import plain
    from vidsim.cli.flips import describe, find_flips, find_look
    from vidsim.report.compare import sections

    if not all(pair):
        raise VidsimError("flips are between two models; name both with --before and --after")
    found = find_flips(
        pair,
        question.judgments,
        question.root,
        question.split,
        ContextName(question.context),
        Captions(question.captions),
        Similarity(question.similarity),
        question.resamples,
        question.seed,
    )
    seen = find_look(found, question.judgments, question.root, examples, images=True)
    return sections(found, seen, n=examples), plain(describe(found, seen, examples))


def _rollout(pair: tuple[str, str], wishes: Wishes, folder: Path, root: str) -> _Part:
    from vidsim.cli.rollout import rollout

    first, second = (name.partition(":")[0] for name in pair)
    found = rollout(
        (first, second),
        wishes.clips,
        folder,
        checkpoints=wishes.checkpoints,
        device=wishes.device,
        root=root,
        force=True,  # the figures go into the page, and to the folder under other names
        called=("--before", "--after"),
    )
    return found.sections, [{name: value for name, value in one.items() if name != "plot"} for one in found.describe()]


def _write(page: "Page", out: Path, twin: Path, folder: Path, *, force: bool) -> None:
    from vidsim.report.markdown import markdown

    text, files = markdown(page, folder.name)
    html = page.html().encode()
    if files:
        folder.mkdir(exist_ok=True)
    for name, content in files.items():
        write_out(folder / name, lambda file, content=content: file.write(content), force=force)
    write_out(twin, lambda file: file.write(text.encode()), force=force)
    write_out(out, lambda file: file.write(html), force=force)
