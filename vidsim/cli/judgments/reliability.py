"""``vidsim judgments reliability``: how much of the human RSM is signal, and how well people agree."""

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.judgments.source import ContextName, ContextOption, JudgmentsSource, SplitOption, load_split
from vidsim.cli.options import Json, Root
from vidsim.cli.root import DEFAULT_ROOT
from vidsim.errors import VidsimError
from vidsim.report.text import number, span

if TYPE_CHECKING:
    from vidsim.data.judgments.judgments import Judgments


class Protocol(StrEnum):
    """How halves are made."""

    default = "default"
    paper = "paper"


class By(StrEnum):
    """What is split by the default protocol."""

    trials = "trials"
    participants = "participants"


def reliability(
    source: JudgmentsSource,
    protocol: Annotated[
        Protocol,
        typer.Option("--protocol", help="default: split trials or people; paper: shuffle and split each pair's votes."),
    ] = Protocol.default,
    by: Annotated[By, typer.Option("--by", help="What the default protocol splits in halves.")] = By.trials,
    splits: Annotated[int, typer.Option(min=1, max=1_000_000, help="Random splits.")] = 1000,
    resamples: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Bootstrap resamples of the stimuli, for intervals; 0 for none.")
    ] = 1000,
    split: SplitOption = None,
    context: ContextOption = ContextName.within,
    seed: Annotated[int, typer.Option(min=0, help="Seed of splits and resamples.")] = 0,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Estimate the split-half reliability of the human RSM, and how well people agree on repeated trials."""
    if protocol is Protocol.paper and by is By.participants:
        raise VidsimError("--by participants belongs to the default protocol, the paper's splits votes; drop one")
    judgments, ids = load_split(source, root, split)
    start = time.perf_counter()
    method = "votes" if protocol is Protocol.paper else by.value
    answer = measure(judgments, ids, method, splits=splits, context=context.value, resamples=resamples, seed=seed)
    answer["seconds"] = round(time.perf_counter() - start, 3)
    if json:
        show.emit(answer)
    else:
        _tell(answer)


def measure(
    judgments: "Judgments",
    ids: tuple[str, ...] | None,
    method: str,
    *,
    splits: int,
    context: str,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Put reliability and agreement together.

    Parameters
    ----------
    judgments : Judgments
        All that were given.
    ids : tuple of str, optional
        Stimuli of a split; None for all.
    method : {"trials", "participants", "votes"}
        What is split in halves.
    splits, resamples, seed : int
        As for `vidsim.analysis.reliability.reliability`.
    context : {"split", "any"}
        Whether trials whose third stimulus lies outside count.

    Returns
    -------
    dict
        What ``--json`` prints, but for the time taken.

    Raises
    ------
    VidsimError
        If there are too few judgments, or participants.
    """
    from vidsim.analysis.agreement import agreement
    from vidsim.analysis.quality import plain
    from vidsim.analysis.reliability import reliability, restrict_people

    triplets, who = judgments.triplets, judgments.participants[1][~judgments.catch]
    if ids is not None:
        triplets, who = restrict_people(triplets, who, ids)
    own = who[: len(triplets)]
    people = (who if context == "any" else own) if method == "participants" else None
    found = reliability(
        triplets,
        method=method,
        participants=people,
        splits=splits,
        context=context,
        resamples=resamples,
        seed=seed,
    )
    agreed = agreement(triplets, own, resamples=resamples, seed=seed)
    return plain({**vars(found), "context": context, "agreement": vars(agreed)})


def _tell(answer: dict[str, Any]) -> None:
    agreed = answer["agreement"]
    rows = [
        ("correlation of halves (Spearman, mean)", number(answer["r"]), ""),
        ("reliability r_SB (Spearman-Brown)", number(answer["spearman_brown"]), span(answer["interval"]) or "-"),
        ("  by chance of splitting alone", "", span(answer["split_interval"]) or "-"),
        ("r_SB squared (the paper's figure)", number(answer["spearman_brown_squared"]), ""),
        ("rho expected of a perfect model", number(answer["expected_rho_of_perfect_model"]), ""),
        ("agreement between people, chance 0.333", number(agreed["agreement"]), span(agreed["interval"]) or "-"),
        ("agreement of a person with themselves", number(agreed["within"]), span(agreed["interval_within"]) or "-"),
        ("accuracy of the others' majority", number(agreed["best_accuracy"]), ""),
        ("accuracy that no model exceeds", number(agreed["accuracy_bound"]), ""),
    ]
    show.table(("measure", "value", "95 %"), rows, right=("value", "95 %"), prose=("measure",))
    what = "votes" if answer["method"] == "votes" else "trials"
    halves = "participants" if answer["method"] == "participants" else what
    typer.echo(
        f"{answer['splits']:,} random halves of {halves}, {answer['trials']:,} {what}, "
        f"{answer['pairs']:,.0f} pairs in both halves; {agreed['triplets']:,} triplets judged by different people, "
        f"{agreed['triplets_within']:,} by one person again"
    )
    if answer["left_out"]:
        typer.echo(f"{answer['left_out']:,} trials name no participant and were left out", err=True)
    if answer["undefined"]:
        typer.echo(f"{answer['undefined']:,} splits gave no correlation: too few judgments", err=True)
    typer.echo(
        "Compare a model's rho squared with r_SB, not with its square: rho of a perfect model is about sqrt(r_SB)."
    )
