"""``vidsim train``: judgments -> an adapter, which is itself an encoder."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import DEFAULT_ROOT, Checkpoint, Device, Json, Revision, Root, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.adapt.frames import FrameCache
    from vidsim.adapt.recipe import Recipe
    from vidsim.adapt.trainer import Material
    from vidsim.data.judgments.judgments import Judgments
    from vidsim.data.stimuli import StimulusSet
    from vidsim.embeddings import Embeddings
    from vidsim.encoders.catalog import Resolved

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A TOML file, or the name of a recipe that comes with vidsim.")
]
JudgmentsOption = Annotated[
    str, typer.Option("--judgments", help="Judgments in the store: `vidsim judgments import` puts them there.")
]
Name = Annotated[str, typer.Option("--name", help="Name of the adapter; other verbs take it as an encoder's.")]
Source = Annotated[
    Path | None,
    typer.Option("--source", help="Folder with the videos, for encoders that see; each is named by its stimulus."),
]
Participants = Annotated[
    Path | None, typer.Option("--participants", help="Use these people's judgments alone: a file with a name a line.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Epochs, instead of the recipe's.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Seeds, instead of the recipe's, such as 0,1,2.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Decoding threads; by default one per core, at most 8.")]
Restart = Annotated[bool, typer.Option("--restart", help="Drop what an interrupted run has left, and start over.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an adapter of that name.")]


def train(
    recipe: RecipeName,
    judgments: JudgmentsOption,
    name: Name,
    source: Source = None,
    participants: Participants = None,
    epochs: Epochs = None,
    seeds: Seeds = None,
    checkpoint: Checkpoint = None,
    revision: Revision = None,
    device: Device = "auto",
    workers: Workers = None,
    restart: Restart = False,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Fine-tune an encoder on odd-one-out judgments, and keep the result as an adapter.

    A run that was killed goes on behind its last epoch when the same command is given again.
    """  # noqa: DOC501
    from vidsim.adapt.manifest import adapters_of, check_name
    from vidsim.adapt.recipe import read_recipe
    from vidsim.cli.encoders import resolve
    from vidsim.encoders import catalog

    place = root_of(root)
    told = _changed(read_recipe(recipe), epochs, seeds)
    check_name(name)
    folder = adapters_of(place) / name
    if folder.exists() and not force:
        raise VidsimError(f"an adapter {name!r} is in {place!r} already; --force replaces it, or give another --name")
    card = catalog.card(told.encoder)
    _refuse_untrainable(card.name, card.lora_targets)
    catalog.resolve_device_name(device)
    read, stimuli = _judged(judgments, place, participants)
    resolved = resolve(card, checkpoint=os.fspath(checkpoint) if checkpoint else None, revision=revision)

    from vidsim.adapt.evaluation import ceiling_of
    from vidsim.adapt.trainer import Trainer
    from vidsim.analysis.quality import plain
    from vidsim.cli.seeds import finished, keep_best, names_of, refill
    from vidsim.cli.trained import Run, evaluate_runs, find_baselines, named, only, summary, tell, write_cards
    from vidsim.cli.training import Lines

    material = _material(told, resolved, read, stimuli, source, place, workers or min(8, os.cpu_count() or 1))
    material = replace(material, facts=_facts(judgments, participants, read, material))
    names = names_of(name, told.run.seeds)
    kept = set[str]() if restart else finished(folder, names, told, resolved, material, force=force)
    held = material.validation
    ceiling = float("nan") if held is None else ceiling_of(held).rho
    runs: list[Run] = []
    first = True
    others: dict[str, Embeddings] = {}
    for seed, own in names.items():
        made, state = folder.with_name(own), folder.parent / f".{own}.state.safetensors"
        if restart:
            state.unlink(missing_ok=True)
        trainer = Trainer(told, resolved, material, seed=seed, device=device)
        first = trainer.accelerator.is_main_process
        if not runs and first:
            others = find_baselines(trainer, material)
        if own in kept:
            manifest = refill(trainer, made)
        else:
            with Lines(forwards=trainer.batches.counts().forwards, ceiling=ceiling, quiet=not first) as lines:
                manifest = trainer.run(made, state, own, lines)
        validated = trainer.embed(held.ids) if first and held is not None else None
        runs.append(Run(made, manifest, validated))
    if not first:  # the first process of several leaves and says it all
        return
    evaluation = evaluate_runs(runs, others, material)
    answer = summary(told, name, runs, evaluation, place)
    for run in runs:
        write_cards(run, [run.manifest.curve], only(evaluation, run))
    if len(runs) > 1:
        best = answer["best"]["adapter"]
        made = Run(folder, keep_best(folder, best), None)
        write_cards(made, [run.manifest.curve for run in runs], named(evaluation, name, best))
    show.emit(plain(answer)) if json else tell(answer, evaluation, place)


def _changed(recipe: "Recipe", epochs: int | None, seeds: str | None) -> "Recipe":
    if epochs is not None:
        recipe = recipe.model_copy(update={"optimiser": recipe.optimiser.model_copy(update={"epochs": epochs})})
    if seeds is not None:
        parts = [part.strip() for part in seeds.split(",")]
        if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
            raise VidsimError(f"--seeds {seeds!r}: expected different whole numbers, such as 0,1,2")
        recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"seeds": tuple(map(int, parts))})})
    return recipe


def _refuse_untrainable(name: str, targets: tuple[str, ...]) -> None:
    # as `vidsim.adapt.tower.refuse_untrainable`, before torch is imported
    if not targets:
        raise VidsimError(
            f"{name} has no LoRA targets: its card names no linear layers to train; expected a transformer"
        )


def _judged(source: str, root: str, participants: Path | None) -> "tuple[Judgments, StimulusSet]":
    """Find the judgments and their stimuli."""
    from vidsim.cli.judgments.source import load
    from vidsim.data.stimuli import StimulusSet
    from vidsim.store import Store

    read = load(source, root)
    named = Store(root).stimuli if "://" in root or Path(root, "store").exists() else {}
    stimuli = StimulusSet.from_arrow(named[source], source) if source in named else None
    if stimuli is None:
        raise VidsimError(
            f"the stimuli of {source!r} are not in {root!r}, so there is nothing to encode; import judgments with "
            "their stimuli first: vidsim judgments import"
        )
    if participants is not None:
        read = _of_people(read, participants)
    return read, stimuli


def _of_people(read: "Judgments", path: Path) -> "Judgments":
    import numpy as np

    try:
        wanted = [line.strip() for line in path.expanduser().read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise VidsimError(f"--participants {os.fspath(path)!r} cannot be read: {error}") from error
    names, codes = read.participants
    if not wanted:
        raise VidsimError(f"--participants {os.fspath(path)!r} names nobody; expected a participant a line")
    known = {name: number for number, name in enumerate(names)}
    for number, one in enumerate(wanted, 1):
        if one not in known:
            raise VidsimError(
                f"--participants {os.fspath(path)!r}, name {number}: nobody is called {one!r} in the judgments"
            )
    return read.select(np.isin(codes, [known[one] for one in wanted]))


def _material(
    recipe: "Recipe",
    resolved: "Resolved",
    read: "Judgments",
    stimuli: "StimulusSet",
    source: Path | None,
    root: str,
    workers: int,
) -> "Material":
    from vidsim.adapt.trainer import Material
    from vidsim.data.splits import validation_split

    judged = set(read.ids)
    training = [one for one in stimuli if one.id in judged and one.split in {"train", "", None}]
    if not training:
        raise VidsimError(f"none of {len(stimuli)} stimuli is judged and of split 'train'; nothing to train on")
    if resolved.card.modality == "text":
        lacking = [one.id for one in training if not one.captions]
        if lacking:
            raise VidsimError(f"{len(lacking)} of {len(training)} stimuli have no caption, the first is {lacking[0]!r}")
    ids = [one.id for one in training]
    share = recipe.run.validation
    fit, held = validation_split(ids, share, recipe.run.split_seed) if share else (ids, ())
    order = {name: place for place, name in enumerate(ids)}
    trials = read.triplets
    chosen = [sorted(part, key=order.__getitem__) for part in (fit, held)]
    made = Material(trials.restrict(chosen[0]), trials.restrict(chosen[1]) if held else None)
    if made.validation is not None and not len(made.validation):
        raise VidsimError(
            f"none of {len(trials)} trials lies wholly among the {len(held)} validation stimuli, so nothing can choose "
            "an epoch; set run.validation to a larger share, or to 0"
        )
    if resolved.card.modality == "text":
        return replace(made, captions={one.id: one.captions for one in training})
    cache = _frames(resolved, stimuli.take(ids), source, root, workers)
    return replace(made, frames=cache.get, clips=cache.digest)


def _frames(resolved: "Resolved", stimuli: "StimulusSet", source: Path | None, root: str, workers: int) -> "FrameCache":
    """Decode every clip once."""
    from vidsim.adapt.frames import FrameCache
    from vidsim.cli.progress import Bar
    from vidsim.data.stimuli import from_source
    from vidsim.encoders import catalog

    if source is not None:
        located = stimuli.located(from_source(source.expanduser()))
        if len(located) < len(stimuli):
            there = set(located.ids)
            first = next(name for name in stimuli.ids if name not in there)
            raise VidsimError(
                f"{len(stimuli) - len(located)} of {len(stimuli)} stimuli have no video in {os.fspath(source)!r}, the "
                f"first is {first!r}"
            )
        stimuli = located
    cache = FrameCache(Path(root) / "frames", catalog.load(resolved, device="cpu"))  # pyright: ignore[reportArgumentType]
    with Bar() as bar:
        failures = cache.fill(stimuli, workers=workers, progress=bar)
    if failures:
        name, error = next(iter(failures.items()))
        raise VidsimError(f"{len(failures)} of {len(stimuli)} clips cannot be used; {name!r}: {error.reason}")
    return cache


def _facts(name: str, participants: Path | None, read: "Judgments", material: "Material") -> dict[str, Any]:
    """Say where the judgments come from, for the manifest and the model card; of files, names and not places."""
    import numpy as np

    fit, held = material.fit, material.validation
    _, codes = read.participants
    inside = np.isin(read.rows, [place for place, one in enumerate(read.ids) if one in fit.position]).all(axis=1)
    people = len(np.unique(codes[inside & ~read.catch & (codes >= 0)]))
    return {
        "judgments": name,
        "source": Path(read.source).name,
        "participants": None if participants is None else participants.name,
        "people": people or None,
        "stimuli": len(fit.ids),
        "validation_stimuli": 0 if held is None else len(held.ids),
        "validation_trials": 0 if held is None else len(held),
    }
