"""``vidsim train``: judgments -> an adapter, which is itself an encoder."""

import os
from dataclasses import replace
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidsim.cli import show
from vidsim.cli.options import Checkpoint, Device, Json, Revision, Root, workers_of
from vidsim.cli.output_folder import refuse_closed
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.adapt.recipe import Recipe
    from vidsim.embeddings import Embeddings
    from vidsim.encoders.base import EncoderCard

LONGEST = 128
"""Characters of an adapter's name: files and tables are named after it, and file systems take 255."""

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
Unlabelled = Annotated[
    str | None,
    typer.Option(
        "--unlabelled",
        help="Stimuli that nobody judged, for loss.retention: a set in the store, a folder of videos, or a table.",
    ),
]
Participants = Annotated[
    Path | None, typer.Option("--participants", help="Use these people's judgments alone: a file with a name a line.")
]
Method = Annotated[
    Literal["recipe", "linear"],
    typer.Option(
        "--method",
        help="recipe: as it says; linear: a linear transform of the recipe's encoder alone, which stays as it is.",
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", min=1, max=1_000_000, help="Epochs, instead of the recipe's.")]
Seeds = Annotated[str | None, typer.Option("--seeds", help="Seeds, instead of the recipe's, such as 0,1,2.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Decoding threads; by default one per core, at most 16.")]
Tensorboard = Annotated[
    Path | None,
    typer.Option("--tensorboard", metavar="FOLDER", help="Log the run there for TensorBoard, in a folder of its name."),
]
Restart = Annotated[bool, typer.Option("--restart", help="Drop what an interrupted run has left, and start over.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an adapter of that name.")]


def train(
    recipe: RecipeName,
    judgments: JudgmentsOption,
    name: Name,
    method: Method = "recipe",
    source: Source = None,
    unlabelled: Unlabelled = None,
    participants: Participants = None,
    epochs: Epochs = None,
    seeds: Seeds = None,
    checkpoint: Checkpoint = None,
    revision: Revision = None,
    device: Device = "auto",
    workers: Workers = None,
    tensorboard: Tensorboard = None,
    restart: Restart = False,
    force: Force = False,
    root: Root = DEFAULT_ROOT,
    json: Json = False,
) -> None:
    """Fine-tune an encoder on odd-one-out judgments, and keep the result as an adapter.

    A run that was killed goes on behind its last epoch when the same command is given again.
    """  # noqa: DOC501
    from vidsim.adapt.card import check_name
    from vidsim.adapt.claim import claimed
    from vidsim.adapt.drafts import remove_abandoned
    from vidsim.adapt.folder import adapters_of
    from vidsim.adapt.recipe import Unfit
    from vidsim.adapt.recipe_file import naming, read_recipe
    from vidsim.cli.encoders import resolve
    from vidsim.cli.judgments.names import refuse_matrices
    from vidsim.cli.material import facts_of, find_judged, find_material
    from vidsim.cli.seeds import names_of, unfinished
    from vidsim.cli.tensorboard import check_tensorboard
    from vidsim.encoders import catalog

    place = root_of(root)
    told = _changed(read_recipe(recipe), method, epochs, seeds)
    check_name(name)
    _refuse_long(name)
    folder = adapters_of(place) / name
    names = names_of(name, told.run.seeds)
    refuse_matrices((name, *names.values()), place)
    check_tensorboard(tensorboard)
    refuse_closed(folder.parent, f"the adapter cannot be written to {os.fspath(folder)!r}")
    remove_abandoned(folder.parent)
    if folder.exists() and not unfinished(folder) and not force:
        raise VidsimError(f"an adapter {name!r} is in {place!r} already; --force replaces it, or give another --name")
    with naming(recipe):
        card = _trainable(told, place)
        if "text" not in card.modality and "captions" in told.run.model_fields_set:
            raise Unfit("run.captions", f"run.captions has no effect with {card.name}, which reads none; leave it out")
    _refuse_idle(told, card, source, unlabelled)
    catalog.resolve_device_name(device)
    read, stimuli = find_judged(judgments, place, participants)
    resolved = resolve(card, checkpoint=os.fspath(checkpoint) if checkpoint else None, revision=revision)

    from vidsim.adapt.evaluation import ceiling_of
    from vidsim.adapt.trainer import Trainer
    from vidsim.analysis.quality import plain
    from vidsim.cli.seeds import drop_finished, finished, keep_best, refill
    from vidsim.cli.trained import Run, evaluate_runs, find_baselines, named, only, summary, tell, write_cards
    from vidsim.cli.training import watch

    with claimed(Path(place), sorted({name, *names.values()})):
        with naming(recipe):
            material = find_material(told, resolved, read, stimuli, source, place, workers_of(workers), unlabelled)
        material = replace(material, facts=facts_of(judgments, participants, read, material))
        done = finished(folder, names, told, resolved, material, force=force)
        resumed = folder.exists()
        kept = set[str]() if restart else done
        held = material.validation
        ceiling = float("nan") if held is None else ceiling_of(held).rho
        runs: list[Run] = []
        first, transform = True, None
        others: dict[str, Embeddings] = {}
        for seed, own in names.items():
            made, state = folder.with_name(own), folder.parent / f".{own}.state.safetensors"
            if restart:
                state.unlink(missing_ok=True)
            drop_finished(state, made)
            with naming(recipe):
                trainer = Trainer(told, resolved, material, seed=seed, device=device, transform=transform)
            transform = trainer.transform
            first = trainer.accelerator.is_main_process
            if not runs and first:
                others = find_baselines(trainer, material)
            if own in kept:
                manifest = refill(trainer, made)
            else:
                with watch(trainer, ceiling=ceiling, tensorboard=tensorboard) as watcher:
                    manifest = trainer.run(made, state, own, watcher, force=force or own in done)
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
            made = Run(folder, keep_best(folder, best, force=force or resumed), None)
            write_cards(made, [run.manifest.curve for run in runs], named(evaluation, name, best))
        seen = [] if source is None else [os.fspath(source)]
        command = ["vidsim", "extract", *seen, "--stimuli", judgments, "--encoder", name, "--root", place]
        show.emit(plain(answer)) if json else tell(answer, evaluation, join(command))


def _refuse_long(name: str) -> None:
    if len(name) > LONGEST:
        raise VidsimError(f"--name has {len(name)} characters; expected at most {LONGEST}")


def _refuse_idle(recipe: "Recipe", card: "EncoderCard", source: Path | None, unlabelled: str | None) -> None:
    """Refuse options that have no effect."""
    if unlabelled is not None and not recipe.loss.retention:
        raise VidsimError(f"--unlabelled {unlabelled!r} has no effect without loss.retention in the recipe")
    if source is not None and card.modality == "text":
        raise VidsimError(
            f"--source {os.fspath(source)!r} has no effect with {card.name}, which reads captions and sees no videos; "
            "leave it out"
        )


def _trainable(recipe: "Recipe", root: str) -> "EncoderCard":
    """Find the card of a recipe's encoder, which can be trained."""
    from vidsim.adapt.card import refuse_folder
    from vidsim.adapt.folder import find_adapter
    from vidsim.adapt.manifest import read_manifest
    from vidsim.adapt.recipe import Unfit
    from vidsim.adapt.trainable import refuse_untrainable
    from vidsim.encoders import catalog

    name = recipe.encoder
    folder = find_adapter(root, name)
    if folder is not None:
        made = read_manifest(folder)
        refuse_folder(made, folder)
        base = made.base["encoder"]
        raise Unfit(
            "encoder", f"encoder {name!r} is an adapter, which cannot be trained further; name its base, {base!r}"
        )
    try:
        card = catalog.card(name)
        refuse_untrainable(card)
    except VidsimError as error:
        raise Unfit("encoder", f"encoder: {error}") from error
    return card


def _changed(recipe: "Recipe", method: str, epochs: int | None, seeds: str | None) -> "Recipe":
    from vidsim.adapt.recipe import linear_alone

    if method == "linear":
        recipe = linear_alone(recipe)
        if epochs is not None:
            raise VidsimError("--epochs has no effect with --method linear, which fits at once; leave it out")
    if epochs is not None:
        recipe = recipe.model_copy(update={"optimiser": recipe.optimiser.model_copy(update={"epochs": epochs})})
    if seeds is not None:
        parts = [part.strip() for part in seeds.split(",")]
        given = tuple(int(part) for part in parts if part.isdecimal() and len(part) <= 10)
        if len(set(given)) < len(parts) or max(given) >= 2**32:
            raise VidsimError(f"--seeds {seeds!r}: expected different whole numbers below 2^32, such as 0,1,2")
        recipe = recipe.model_copy(update={"run": recipe.run.model_copy(update={"seeds": given})})
    if not recipe.optimiser.epochs and len(recipe.run.seeds) > 1:
        raise VidsimError(
            f"{len(recipe.run.seeds)} seeds without an epoch: what is fitted is the same by every seed; give one, such "
            "as --seeds 0"
        )
    return recipe
