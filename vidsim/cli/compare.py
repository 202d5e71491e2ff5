"""``vidsim compare``: two spaces on the same trials, and what two encoders attend to."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.flips import describe, find_flips, find_look
from vidsim.cli.judgments.source import ContextName, ContextOption, SplitOption
from vidsim.cli.options import Captions, Device, Json, Root, checkpoint_of
from vidsim.cli.output import FIGURE, PAGE, check_out, form_of, write_out
from vidsim.cli.rollout import rollout
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.seen import seen_by_space, warn_seen
from vidsim.cli.spaces import CaptionsOption, Similarity, SimilarityOption
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.analysis.comparison import Comparison
    from vidsim.report.compare import Look
    from vidsim.report.page import Section

WIDTH = 48
"""Most letters of a caption in a table."""


def compare(
    a: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="The first space: ENCODER:LAYER, ENCODER (its default layer), a similarity matrix by name, or a file.",
            show_default=False,
        ),
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="The second, such as the first fine-tuned.", show_default=False)
    ],
    clips: Annotated[
        list[Path] | None, typer.Argument(metavar="[CLIP]...", help="Further clips for --rollout.", show_default=False)
    ] = None,
    judgments: Annotated[
        str | None,
        typer.Option(
            "--judgments", metavar="SOURCE", help="Judgments in the store by name, a file or a folder: find the flips."
        ),
    ] = None,
    split: SplitOption = None,
    context: ContextOption = ContextName.within,
    captions: CaptionsOption = Captions.mean,
    similarity: SimilarityOption = Similarity.cosine,
    examples: Annotated[
        int, typer.Option("--examples", "-n", min=1, max=1000, help="Trials shown in each direction, the clearest.")
    ] = 5,
    resamples: Annotated[
        int, typer.Option(min=0, max=100_000, help="Bootstrap resamples of the stimuli, for the interval; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    csv: Annotated[
        Path | None, typer.Option(help="Write all trials that flip to this .csv file.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page to this .html file; it needs no network.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw the examples, ten at most in each direction, to this .png or .svg file.", show_default=False
        ),
    ] = None,
    attention: Annotated[
        list[Path] | None,
        typer.Option(
            "--rollout",
            metavar="CLIP",
            help="Draw what the encoders A and B attend to in this clip (attention rollout); further clips may follow.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="Where --rollout puts one .png a clip.", show_default=False),
    ] = None,
    checkpoint_a: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint-a", parser=checkpoint_of, metavar="<path>", help="Folder with A's checkpoint, for --rollout."
        ),
    ] = None,
    checkpoint_b: Annotated[
        Path | None, typer.Option("--checkpoint-b", parser=checkpoint_of, metavar="<path>", help="Likewise, B's.")
    ] = None,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Compare two spaces: which trials flip towards people, which away; or what two encoders attend to."""
    start = time.perf_counter()
    outs = (("--csv", csv, (".csv",)), ("--html", html, PAGE), ("--plot", plot, FIGURE))
    _check_outs(outs, judgments, split, force=force)
    drawing = {"--out": out, "--checkpoint-a": checkpoint_a, "--checkpoint-b": checkpoint_b}
    clips = _clips(attention, clips, drawing | {"--device": None if device == "auto" else device})
    if judgments is None and not clips:
        raise VidsimError("nothing to compare by: give --judgments SOURCE, or --rollout CLIP --out FOLDER, or both")
    found = (
        None
        if judgments is None
        else find_flips((a, b), judgments, root, split, context, captions, similarity, resamples, seed)
    )
    attended = None
    if clips and out is not None:
        names, checkpoints = (a.partition(":")[0], b.partition(":")[0]), (checkpoint_a, checkpoint_b)
        attended = rollout(names, clips, out, checkpoints=checkpoints, device=device, root=root_of(root), force=force)
    from vidsim.report.seen import SEEN, seen_lines

    answer: dict[str, Any] = {}
    models: list[dict[str, Any]] = []
    if judgments is not None and found is not None:
        look = find_look(found, judgments, root, examples, images=bool(html or plot))
        told = {
            "judgments": judgments,
            "split": split,
            "context": context.value,
            "captions": captions.value,
            "similarity": similarity.value,
        }
        answer = {
            **told,
            "protocol": "default",
            **describe(found, look, examples),
            "resamples": resamples,
            "seed": seed,
        }
        seen = {way: seen_by_space(name, found.stimuli, root) for way, name in (("a", found.a), ("b", found.b))}
        answer |= {"stimuli": len(found.stimuli), SEEN: seen}
        models = [{"encoder": answer[way], SEEN: one} for way, one in seen.items()]
        source = ", ".join(f"{name} {value}" for name, value in told.items() if value)
        source = "; ".join((source, *seen_lines(models, answer["stimuli"])))
        _write(outs, found, look, examples, source, attended.sections if attended else (), force=force)
    if attended is not None:
        attended.write(force=force)
        answer["rollout"] = attended.describe()
    from vidsim.analysis.quality import plain

    answer |= {option.removeprefix("--"): None if path is None else str(path) for option, path, _ in outs}
    answer = plain({**answer, "seconds": round(time.perf_counter() - start, 3)})
    warn_seen(models, answer.get("stimuli", 0))
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def _check_outs(
    outs: Sequence[tuple[str, Path | None, tuple[str, ...]]], judgments: str | None, split: str | None, *, force: bool
) -> None:
    for option, path, suffixes in outs:
        check_out(path, suffixes, force=force, option=option)
    needless = [option for option, value, *_ in (("--split", split), *outs) if value is not None]
    if judgments is None and needless:
        raise VidsimError(f"{needless[0]} goes with --judgments SOURCE; give it, or leave the option out")


def _clips(first: list[Path] | None, more: list[Path] | None, options: Mapping[str, Path | str | None]) -> list[Path]:
    """Put the clips together; refuse options that make sense with clips alone."""
    if first:
        if options["--out"] is None:
            raise VidsimError("--rollout needs --out FOLDER, where it puts one .png a clip")
        return [*first, *(more or [])]
    if more:
        raise VidsimError(f"{str(more[0])!r} is a third argument; expected two spaces, and clips behind --rollout only")
    needless = [option for option, value in options.items() if value is not None]
    if needless:
        raise VidsimError(f"{needless[0]} goes with --rollout CLIP; give it, or leave the option out")
    return []


def _write(
    outs: Sequence[tuple[str, Path | None, object]],
    found: "Comparison",
    look: "Look",
    n: int,
    source: str,
    more: "Sequence[Section]",
    *,
    force: bool,
) -> None:
    from vidsim.report.compare import compare_page, compare_plot

    def made(option: str, path: Path) -> bytes:
        if option == "--csv":
            return _csv(found, look)
        if option == "--html":
            return compare_page(found, look, n=n, source=source, more=more).html().encode()
        return compare_plot(found, look, n=n, form=form_of(path))

    ready = [(option, path, made(option, path)) for option, path, _ in outs if path is not None]
    for option, path, data in ready:
        write_out(path, lambda file, data=data: file.write(data), force=force, option=option)


def _csv(found: "Comparison", look: "Look") -> bytes:
    from vidsim.report.csv_rows import csv_of

    facts = ("trial", "kept_1", "kept_2", "odd", "odd_a", "odd_b", "margin_a", "margin_b", "same", "judged")
    rows: list[list[object]] = [["flip", *facts, "caption_1", "caption_2", "caption_odd"]]
    for way, flipped in (("towards", found.towards), ("away", found.away)):
        for example in flipped:
            facts = (example.odd_a, example.odd_b, example.margin_a, example.margin_b, example.same, example.judged)
            told = (look.captions.get(name) for name in example.stimuli)
            rows.append([way, example.trial, *example.stimuli, *facts, *told])
    return csv_of(rows)


def _tell(answer: dict[str, Any]) -> None:
    if "a" in answer:
        _tell_flips(answer)
    for drawn in answer.get("rollout") or ():
        typer.echo(show.printable(drawn["plot"]))
    for out in (answer["csv"], answer["html"], answer["plot"]):
        if out:
            typer.echo(show.printable(out))


def _tell_flips(answer: dict[str, Any]) -> None:
    accuracy, trials = answer["accuracy"], answer["trials"]
    rows = [
        (label.upper(), answer[label], f"{accuracy[label]:.4f}", f"{answer['both'] + alone:,}", f"{alone:,}")
        for label, alone in (("a", answer["away"]), ("b", answer["towards"]))
    ]
    headers = ("three-way", "agrees with people", "it alone")
    show.table(("", "space", *headers), rows, right=headers)
    low, high = accuracy["interval"]
    known = "" if low is None else f", 95 % {low:+.4f} to {high:+.4f} (bootstrap over stimuli)"
    typer.echo(f"change {accuracy['change']:+.4f}{known}")
    typer.echo(
        f"{answer['towards']:,} trials flip towards people, {answer['away']:,} away, of {trials:,} (both agree on "
        f"{answer['both']:,}, neither on {answer['neither']:,}); McNemar's exact p {answer['mcnemar']:.3g}"
    )
    for way, agreeing, other in (("towards", "b", "a"), ("away", "a", "b")):
        examples = answer["examples"][way]
        if not examples:
            continue
        headers = (f"{way}: people and {agreeing.upper()} single out", f"{other.upper()} singles out", "the third")
        margins = ("margin A", "margin B")
        rows = [_row(example, other) for example in examples]
        show.table((*headers, *margins, "people"), rows, right=(*margins, "people"))
    typer.echo(
        f"split {answer['split'] or 'all'}, context {answer['context']}, protocol {answer['protocol']}; chance 0.3333; "
        "margins in sd of the space's similarities; the trials shown are the clearest"
    )


def _row(example: dict[str, Any], other: str) -> tuple[str, ...]:
    odd, singled = example["people"], example[other]
    rest = [s for s in example["stimuli"] if s["id"] not in {odd, singled}]
    chosen = [next((s for s in example["stimuli"] if s["id"] == name), None) for name in (odd, singled)]
    third = " / ".join(_short(stimulus) for stimulus in rest)
    return (
        *map(_short, chosen),
        third,
        f"{example['margin_a']:+.2f}",
        f"{example['margin_b']:+.2f}",
        f"{example['same']} of {example['judged']}",
    )


def _short(stimulus: dict[str, Any] | None) -> str:
    if stimulus is None:
        return "none: a tie"
    text = stimulus["caption"] or stimulus["id"]
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"
