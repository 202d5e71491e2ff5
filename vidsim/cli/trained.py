"""What `vidsim train` leaves and says when it is done: scores beside baselines, a curve and a model card a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidsim.cli import show
from vidsim.report.text import number, span

if TYPE_CHECKING:
    from vidsim.adapt.evaluation import Evaluation
    from vidsim.adapt.manifest import Manifest
    from vidsim.adapt.material import Material
    from vidsim.adapt.recipe import Recipe
    from vidsim.adapt.trainer import Trainer
    from vidsim.embeddings import Embeddings

SHOWN = {"rho": "rho", "two_way": "two-way", "three_way": "three-way"}
"""Metrics that are told with intervals."""


@dataclass(frozen=True, eq=False)
class Run:
    """Hold what a run has left.

    Parameters
    ----------
    folder : Path
        The adapter's folder.
    manifest : Manifest
        What it says.
    validated : Embeddings or None
        Of the validation stimuli, by the adapter.
    """

    folder: Path
    manifest: "Manifest"
    validated: "Embeddings | None"


def find_baselines(trainer: "Trainer", material: "Material") -> "dict[str, Embeddings]":
    """Embed the validation stimuli by the baselines.

    Parameters
    ----------
    trainer : Trainer
        One that has not run.
    material : Material
        What it is trained on.

    Returns
    -------
    dict of str to Embeddings
        By the names that they have beside adapters, the base's first; empty without validation stimuli.
    """
    from vidsim.adapt.baselines import NAMED, baselines

    if material.validation is None:
        return {}
    held = material.validation.ids
    base = material.embed(trainer.encoder, None, trainer.layer, (*material.fit.ids, *held))
    found = baselines(base, material.fit, held, trainer.transform)
    return {NAMED[name].format(trainer.resolved.card.name): one for name, one in found.items()}


def evaluate_runs(
    runs: Sequence[Run], others: "Mapping[str, Embeddings]", material: "Material", resamples: int = 1000
) -> "Evaluation | None":
    """Compare what was trained, and baselines, with people.

    Parameters
    ----------
    runs : sequence of Run
        One a seed.
    others : mapping of str to Embeddings
        Of `find_baselines`.
    material : Material
        What it was trained on.
    resamples : int
        For intervals.

    Returns
    -------
    Evaluation or None
        None without validation stimuli.
    """
    from vidsim.adapt.evaluation import evaluate

    if material.validation is None:
        return None
    models = dict(others) | {run.manifest.name: run.validated for run in runs if run.validated is not None}
    names = [run.manifest.name for run in runs]
    return evaluate(material.validation, models, next(iter(others)), runs=names, resamples=resamples)


def write_cards(run: Run, curves: Sequence[Sequence[Mapping[str, Any]]], evaluation: "Evaluation | None") -> None:
    """Write the curve, where there is any to draw, and the model card into an adapter's folder.

    Parameters
    ----------
    run : Run
        The adapter.
    curves : sequence of sequence of mapping
        Its own, or those of all seeds.
    evaluation : Evaluation or None
        Its models are those that the card lists.
    """
    from vidsim.adapt.evaluation import drawable
    from vidsim.adapt.folder import CARD, CURVE
    from vidsim.cli.output import write_out
    from vidsim.report.curve import curve_plot
    from vidsim.report.train import model_card

    select = run.manifest.recipe.get("run", {}).get("select")
    files = {CURVE: curve_plot(curves, select, evaluation=evaluation)} if any(map(drawable, curves)) else {}
    files[CARD] = model_card(run.manifest, evaluation).encode()  # the last: `vidsim.cli.seeds.unfinished` looks for it
    for name, content in files.items():
        write_out(run.folder / name, lambda file, content=content: file.write(content), force=True, option="the file")


def only(evaluation: "Evaluation | None", run: Run) -> "Evaluation | None":
    """Leave out the runs with other seeds."""
    from vidsim.report.train import baselines_of

    if evaluation is None:
        return None
    names = [*baselines_of(evaluation), run.manifest.name]
    return replace(evaluation, models={name: evaluation.models[name] for name in names}, seeds={})


def named(evaluation: "Evaluation | None", name: str, best: str) -> "Evaluation | None":
    """Put the best of several seeds before them, under the name of all."""
    from vidsim.report.train import baselines_of

    if evaluation is None:
        return None
    first = {one: evaluation.models[one] for one in baselines_of(evaluation)} | {name: evaluation.models[best]}
    return replace(evaluation, models=first | dict(evaluation.models))


def summary(
    recipe: "Recipe", name: str, runs: Sequence[Run], evaluation: "Evaluation | None", root: str
) -> dict[str, Any]:
    """Say in JSON-able form what was trained.

    Parameters
    ----------
    recipe : Recipe
        How.
    name : str
        Name of the adapter.
    runs : sequence of Run
        One a seed.
    evaluation : Evaluation or None
        Scores; None without validation stimuli.
    root : str
        Artefact root.

    Returns
    -------
    dict
        ``name``, ``encoder``, ``select``, ``data``, ``runs``, ``best``, ``baselines``, ``reliability``, ``seeds`` and
        ``root``; scores are None without validation stimuli.
    """
    from vidsim.adapt.baselines import NAMED
    from vidsim.adapt.evaluation import kept_row
    from vidsim.report.train import early

    select = None if evaluation is None else recipe.run.select
    rows: list[dict[str, Any]] = []
    for run in runs:
        made = run.manifest
        rows.append(
            {
                "adapter": made.name,
                "seed": made.seed,
                "parameters": made.parameters,
                "epoch": kept_row(made.curve, select)["epoch"],
                "stopped": early(made) or None,
                **_measured(evaluation, made.name),
                "curve": list(made.curve),
            }
        )
    best = rows[0]
    if evaluation is not None and select is not None:
        best = max(rows, key=lambda row: (row["scores"][select] == row["scores"][select], row["scores"][select]))
    return {
        "name": name,
        "encoder": recipe.encoder,
        "select": select,
        "data": runs[0].manifest.origin,
        "runs": rows,
        "best": {key: best[key] for key in ("adapter", "seed")},
        "baselines": None
        if evaluation is None
        else {key: _measured(evaluation, form.format(evaluation.base)) for key, form in NAMED.items()},
        "reliability": None
        if evaluation is None
        else {
            "spearman_brown": evaluation.ceiling.spearman_brown,
            "interval": evaluation.ceiling.interval,
            "rho_of_perfect_model": evaluation.ceiling.rho,
        },
        "seeds": {}
        if evaluation is None
        else {key: {"mean": mean, "interval": ends} for key, (mean, *ends) in evaluation.seeds.items()},
        "root": root,
    }


def _measured(evaluation: "Evaluation | None", name: str) -> dict[str, Any]:
    if evaluation is None:
        return {"scores": None, "intervals": None, "differences": None}
    own = evaluation.models[name]
    return {
        "scores": dict(own.scores),
        "intervals": {metric: list(ends) for metric, ends in own.intervals.items()},
        "differences": {
            metric: {"difference": value, "interval": ends} for metric, (value, *ends) in own.differences.items()
        },
    }


def tell(answer: Mapping[str, Any], evaluation: "Evaluation | None", command: str) -> None:
    """Say in words what was trained.

    Parameters
    ----------
    answer : mapping
        Of `summary`.
    evaluation : Evaluation or None
        Scores.
    command : str
        What makes embeddings with it.
    """
    for row in answer["runs"]:
        last = row["curve"][-1]["epoch"]
        epochs = f", epoch {row['epoch']} of {last} kept" if last else ""
        epochs += f"; {row['stopped']}" if row["stopped"] else ""
        typer.echo(f"{row['adapter']}: {row['parameters']:,} weights trained, seed {row['seed']}{epochs}")
    if evaluation is not None:
        _tell_scores(evaluation)
    if len(answer["runs"]) > 1:
        which, where = ("first", "") if evaluation is None else ("best", " on validation stimuli")
        typer.echo(f"{answer['name']} is {answer['best']['adapter']}, the {which} of {len(answer['runs'])}{where}")
    typer.echo(f"use it as an encoder: {command}")


def _tell_scores(evaluation: "Evaluation") -> None:
    from vidsim.report.text import counted

    trials = counted(evaluation.trials, "trial")
    typer.echo(f"on {evaluation.stimuli} validation stimuli, {trials} (95 % over stimuli):")
    rows: list[tuple[str, ...]] = []
    for name, own in evaluation.models.items():
        told = [f"{number(own.scores[metric])} {_within(own.intervals[metric])}".rstrip() for metric in SHOWN]
        rows.append((name, told[0], number(own.scores["rho2"]), *told[1:]))
    scores = ("rho", "rho squared", "two-way", "three-way")
    show.table(("model", *scores), rows, prose=scores)
    for name, own in evaluation.models.items():
        if " " not in name and own.differences:
            told = [
                f"{words} {number(own.differences[metric][0], sign='+')} {_within(own.differences[metric][1:], '+')}"
                for metric, words in SHOWN.items()
            ]
            typer.echo(f"{name} less {evaluation.base}: {', '.join(told)}")
    if evaluation.seeds:
        told = [
            f"{words} {number(evaluation.seeds[metric][0])} {_within(evaluation.seeds[metric][1:])}"
            for metric, words in SHOWN.items()
        ]
        typer.echo(f"mean over seeds (95 % of the mean): {', '.join(told)}")
    ceiling = evaluation.ceiling
    if ceiling.spearman_brown == ceiling.spearman_brown:
        typer.echo(
            f"reliability of people {number(ceiling.spearman_brown)} {_within(ceiling.interval)}, to be compared with "
            f"rho squared; a perfect model's rho: {number(ceiling.rho)}"
        )


def _within(interval: Sequence[float], sign: str = "") -> str:
    told = span(interval, sign=sign)
    return f"({told})" if told else ""
