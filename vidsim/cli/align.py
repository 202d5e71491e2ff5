"""``vidsim align``: how closely models' similarities match people's, straight from the store."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.judgments.source import ContextName, ContextOption, SplitOption, load_split
from vidsim.cli.options import DEFAULT_ROOT, Captions, Json, Root, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.rsm import RSM
    from vidsim.store import EmbeddingTable, Store
    from vidsim.triplets import Triplets

AUTO = "auto"
TRAIN = "train"


class Protocol(StrEnum):
    """How models and people are compared."""

    default = "default"
    paper = "paper"


def align(
    judgments: Annotated[str, typer.Option("--judgments", help="Judgments in the store by name, a file or a folder.")],
    encoders: Annotated[
        list[str], typer.Option("--encoders", "-e", help="Encoders of the store; further ones may follow.")
    ],
    more: Annotated[list[str] | None, typer.Argument(help="Further encoders.", show_default=False)] = None,
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
            "stimuli best by cross-validation, or the default layer where these are reported on too; or a name.",
        ),
    ] = AUTO,
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="paper: first caption, trials wholly within the split.")
    ] = Protocol.default,
    resamples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Bootstrap resamples of the stimuli, for the interval of rho.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds, resamples and halves.")] = 0,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Compare encoders with people: rank correlation of similarities, and odd-one-out accuracy."""
    names = [name.strip() for given in [*encoders, *(more or [])] for name in given.split(",") if name.strip()]
    if not names:
        raise VidsimError("--encoders names none; expected encoders of the store, such as all-MiniLM-L6-v2")
    if protocol is Protocol.paper and (context is not ContextName.within or captions is Captions.mean):
        raise VidsimError("--protocol paper is with --context split and --captions first; leave the others out")
    caption = captions or (Captions.first if protocol is Protocol.paper else Captions.mean)
    every, ids = load_split(judgments, root, split)
    triplets = every.triplets.restrict(ids or every.ids)
    if not len(triplets):
        raise VidsimError(f"no trial of {judgments!r} lies wholly within split {split or 'all'!r}")
    chosen = _spaces(names, judgments, root, split, caption.value, layer, tuple(triplets.ids), seed)
    answers, reliable = _measure(triplets, context.value, chosen, resamples, seed)
    for answer in answers:
        answer |= {"split": split, "context": context.value, "protocol": protocol.value}
    if json:
        show.emit({"encoders": answers, **reliable, "judgments": judgments, "resamples": resamples, "seed": seed})
    else:
        _tell(answers, reliable, split)


def _spaces(
    names: list[str],
    source: str,
    root: str,
    split: str | None,
    captions: str,
    layer: str,
    ids: "tuple[str, ...]",
    seed: int,
) -> "dict[str, tuple[dict[str, Any], RSM]]":
    """Find the similarities of each encoder, and say of which layer and why."""
    from vidsim.rsm import cosine_rsm
    from vidsim.store import Store

    store = Store(root_of(root))
    found: dict[str, tuple[dict[str, Any], RSM]] = {}
    for name in dict.fromkeys(names):
        table = _table(store, name, captions)
        sentence = table.identity.get("family") == "sentence"
        curve = None
        if layer != AUTO:
            used, why = layer, "given"
        elif sentence or split in {None, TRAIN} or len(table.layers) == 1:
            used, why = table.default_layer, "default"
        else:
            choice = _choose(table, source, root, seed)
            used, why, curve = choice.layer, "cross-validated", dict(choice.curve)
        embeddings = table[used]
        present = [stimulus for stimulus in ids if stimulus in embeddings.position]
        facts = {"encoder": name, "layer": used, "layer_choice": why, "curve": curve, "table": table.name}
        if sentence:
            facts["captions"] = captions
        found[name] = facts, cosine_rsm(embeddings.take(present))
    return found


def _table(store: "Store", name: str, captions: str) -> "EmbeddingTable":
    """Find an encoder's most recent table; of a sentence encoder, one with these captions."""
    tables = store.tables(name)
    if not tables:
        _ = store[name]  # says which there are
    fitting = [t for t in tables if t.identity.get("family") != "sentence" or _captions(t) == captions]
    if not fitting:
        there = ", ".join(sorted({_captions(t) for t in tables}))
        raise VidsimError(
            f"{name!r} is stored for --captions {there}, not {captions}: vidsim extract --stimuli NAME "
            f"--encoder {name} --captions {captions}"
        )
    return fitting[0]


def _captions(table: "EmbeddingTable") -> str:
    features: Any = table.identity.get("features", {})
    return features.get("captions", "mean")


def _choose(table: "EmbeddingTable", source: str, root: str, seed: int) -> Any:
    """Choose a layer on the training split; the split that is reported on is not looked at."""
    from vidsim.analysis.layers import choose_layer
    from vidsim.rsm import cosine_rsm

    every, ids = load_split(source, root, TRAIN)
    human = every.triplets.restrict(ids or every.ids).rsm()
    return choose_layer(human, {name: cosine_rsm(table[name]) for name in table.layers}, seed=seed)


def _measure(
    triplets: "Triplets", context: str, spaces: "dict[str, tuple[dict[str, Any], RSM]]", resamples: int, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compare all encoders with people, best first; and say how reliable people are."""
    from vidsim.analysis.alignment import align as compare
    from vidsim.analysis.odd_one_out import CHANCE
    from vidsim.analysis.quality import plain
    from vidsim.analysis.reliability import reliability
    from vidsim.report.paper import published

    human = triplets.rsm(context)
    found = compare(human, triplets, {n: rsm for n, (_, rsm) in spaces.items()}, resamples=resamples, seed=seed)
    reliable = reliability(triplets, splits=200, context=context, resamples=0, seed=seed)
    answers: list[dict[str, Any]] = []
    for name, alignment in found.items():
        facts = {k: v for k, v in vars(alignment).items() if k != "accuracies"} | {"trials": len(triplets)}
        answers.append(plain({**spaces[name][0], **facts, **alignment.accuracies, "published": published(name)}))
    answers.sort(key=lambda answer: -(answer["rho2"] if answer["rho"] > 0 else -answer["rho2"]))
    return answers, plain({"reliability": reliable.spearman_brown, "chance": CHANCE, "stimuli": len(triplets.ids)})


def _tell(answers: list[dict[str, Any]], reliable: dict[str, Any], split: str | None) -> None:
    rows = [
        (
            answer["encoder"],
            answer["layer"],
            f"{answer['rho']:.4f}",
            _range(answer["interval"]),
            f"{answer['rho2']:.4f}",
            f"{answer['rho_a']:.4f}",
            *(f"{answer[name]:.4f}" for name in ("three_way", "two_way", "two_way_first")),
            f"{answer['published']['rho2']:.4f}" if answer["published"] else "-",
        )
        for answer in answers
    ]
    headers = ("rho", "95 %", "rho2", "rho-a", "three-way", "two-way", "first anchor", "paper rho2")
    show.table(("encoder", "layer", *headers), rows, right=headers)
    first = answers[0]
    known = reliable["reliability"]
    typer.echo(
        f"split {split or 'all'}, context {first['context']}, protocol {first['protocol']}: {first['pairs']:,} pairs "
        f"of {reliable['stimuli']} stimuli, {first['trials']:,} trials; chance 0.3333 three-way, 0.5 two-way"
    )
    typer.echo(
        f"reliability of people r_SB {'-' if known is None else f'{known:.3f}'}: compare it with rho2; the "
        "paper's numbers are of its 50 test videos"
    )


def _range(interval: list[float | None]) -> str:
    low, high = interval
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
