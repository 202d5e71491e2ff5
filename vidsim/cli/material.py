"""What ``vidsim train`` trains on: judgments, stimuli, captions or frames, out of the store and folders."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vidsim.cli.stored import stored_stimuli
from vidsim.cli.unlabelled import find_unlabelled
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidsim.adapt.frames import FrameCache
    from vidsim.adapt.material import Material
    from vidsim.adapt.recipe import Recipe
    from vidsim.data.judgments.judgments import Judgments
    from vidsim.data.stimuli import Stimulus, StimulusSet
    from vidsim.encoders.catalog import Resolved
    from vidsim.triplets import Triplets


def find_judged(source: str, root: str, participants: Path | None) -> "tuple[Judgments, StimulusSet]":
    """Find the judgments and their stimuli.

    Parameters
    ----------
    source : str
        Name in the store.
    root : str
        Artefact root.
    participants : Path or None
        File with the names of those whose judgments count.

    Returns
    -------
    tuple of Judgments and StimulusSet
        Judgments, and all stimuli of their study.

    Raises
    ------
    VidsimError
        If there are no stimuli, or the file names nobody, or somebody unknown.
    """
    from vidsim.cli.judgments.source import load
    from vidsim.store import NotStored

    read = load(source, root)
    try:
        stimuli = stored_stimuli(source, root)
    except NotStored:
        raise VidsimError(
            f"the stimuli of {source!r} are not in {root!r}, so there is nothing to encode; import judgments with "
            "their stimuli first: vidsim judgments import"
        ) from None
    if participants is not None:
        read = _of_people(read, participants)
    return read, stimuli


def _of_people(read: "Judgments", path: Path) -> "Judgments":
    import numpy as np

    try:
        wanted = [line.strip() for line in expand(path).read_text("utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise VidsimError(f"--participants {os.fspath(path)!r} cannot be read: {why}") from error
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


def find_material(
    recipe: "Recipe",
    resolved: "Resolved",
    read: "Judgments",
    stimuli: "StimulusSet",
    source: Path | None,
    root: str,
    workers: int,
    unlabelled: str | None = None,
) -> "Material":
    """Find what a run is trained on.

    Parameters
    ----------
    recipe : Recipe
        Says which stimuli are held out.
    resolved : Resolved
        Encoder whose files have been found.
    read : Judgments
        Judgments.
    stimuli : StimulusSet
        Stimuli of their study.
    source : Path or None
        Folder with their videos.
    root : str
        Artefact root.
    workers : int
        Decoding threads.
    unlabelled : str, optional
        As `vidsim.cli.unlabelled.find_unlabelled` takes it.

    Returns
    -------
    Material
        Trials, and captions or frames, or both.

    Raises
    ------
    VidsimError
        If nothing is left to train on, or a stimulus has no caption or no video.
    Unfit
        If the share that is held out leaves nothing to fit, or to validate with.
    """
    from vidsim.adapt.material import Material
    from vidsim.adapt.recipe import Unfit

    judged = set(read.ids)
    training = [one for one in stimuli if one.id in judged and one.split in {"train", "", None}]
    if not training:
        raise VidsimError(f"none of {len(stimuli)} stimuli is judged and of split 'train'; nothing to train on")
    reads, sees = "text" in resolved.card.modality, resolved.card.modality != "text"
    if not sees:
        lacking = [one.id for one in training if not one.captions]
        if lacking:
            raise VidsimError(f"{len(lacking)} of {len(training)} stimuli have no caption, the first is {lacking[0]!r}")
    ids = [one.id for one in training]
    fit, held = _split(ids, recipe)
    order = {name: place for place, name in enumerate(ids)}
    trials = read.triplets
    chosen = [sorted(part, key=order.__getitem__) for part in (fit, held)]
    made = Material(shown_in(trials.restrict(chosen[0])), trials.restrict(chosen[1]) if held else None)
    if made.validation is not None and not len(made.validation):
        raise Unfit(
            "run.validation",
            f"none of {len(trials)} trials lies wholly among the {len(held)} validation stimuli, so nothing can choose "
            "an epoch; set run.validation to a larger share, or to 0",
        )
    more = () if unlabelled is None else tuple(find_unlabelled(unlabelled, root, judged, captions=not sees))
    if reads and sees:
        _tell_silent(training, recipe, resolved.card.name)
    kept = tuple(one.id for one in more)
    if sees:
        cache, kept = _frames(resolved, _located(stimuli.take(ids), source), more, root, workers)
        made = replace(made, frames=cache.get, clips=cache.digest)
    if reads:
        captions = {one.id: one.captions for one in (*training, *more)}
        # of clips that are used alone: a caption is part of the material's hash
        made = replace(made, captions={name: captions[name] for name in (*ids, *kept)})
    return replace(made, unlabelled=kept)


def _tell_silent(training: "Sequence[Stimulus]", recipe: "Recipe", encoder: str) -> None:
    """Say of how many stimuli an encoder that reads beside the frames sees these alone."""
    from vidsim.adapt.recipe import Unfit

    silent = [one.id for one in training if not one.captions]
    if len(silent) == len(training) and "captions" in recipe.run.model_fields_set:
        raise Unfit("run.captions", "run.captions has no effect, as no stimulus has a caption; leave it out")
    if silent:
        typer.echo(
            f"vidsim: {len(silent)} of {len(training)} stimuli have no caption, the first is {silent[0]!r}; of these "
            f"{encoder} is shown the frames alone",
            err=True,
        )


def shown_in(trials: "Triplets") -> "Triplets":
    """Keep the stimuli that trials show: of a few people they are fewer than those that were judged.

    Parameters
    ----------
    trials : Triplets
        Trials.

    Returns
    -------
    Triplets
        The same trials.
    """
    import numpy as np

    return trials.restrict([trials.ids[int(place)] for place in np.unique(trials.rows)])


def _split(ids: "Sequence[str]", recipe: "Recipe") -> "tuple[Sequence[str], Sequence[str]]":
    """Split stimuli into those to fit and those that choose the epoch."""
    from vidsim.adapt.recipe import Unfit
    from vidsim.data.splits import validation_split

    share = recipe.run.validation
    if not share:
        return ids, ()
    try:
        return validation_split(ids, share, recipe.run.split_seed)
    except VidsimError as error:
        raise Unfit("run.validation", f"run.validation: {error}; or set it to 0") from error


def _located(stimuli: "StimulusSet", source: Path | None) -> "StimulusSet":
    """Find the videos of all stimuli."""
    from vidsim.data.sources import from_source

    if source is None:
        return stimuli
    located = stimuli.located(from_source(expand(source)))
    if len(located) < len(stimuli):
        there = set(located.ids)
        first = next(name for name in stimuli.ids if name not in there)
        raise VidsimError(
            f"{len(stimuli) - len(located)} of {len(stimuli)} stimuli have no video in {os.fspath(source)!r}, the "
            f"first is {first!r}"
        )
    return located


def _frames(
    resolved: "Resolved", judged: "StimulusSet", more: "Sequence[Stimulus]", root: str, workers: int
) -> "tuple[FrameCache, tuple[str, ...]]":
    """Decode every clip once; return also the ids of those that nobody judged and that can be used."""
    from vidsim.adapt.frames import FrameCache
    from vidsim.cli.progress import Bar
    from vidsim.data.stimuli import StimulusSet
    from vidsim.encoders import catalog

    stimuli = StimulusSet((*judged, *more))
    cache = FrameCache(Path(root) / "frames", catalog.load(resolved, device="cpu"))  # pyright: ignore[reportArgumentType]
    with Bar() as bar:
        failures = cache.fill(stimuli, workers=workers, progress=bar)
    broken = [name for name in judged.ids if name in failures]
    if broken:
        reason = failures[broken[0]].reason
        if failures[broken[0]].kind == "no-path":
            reason = "no video is known of it; give the folder of the videos with --source"
        raise VidsimError(f"{len(broken)} of {len(judged)} clips cannot be used; {broken[0]!r}: {reason}")
    for name, error in failures.items():
        typer.echo(f"vidsim: {name!r}, which nobody judged, is left out: {error.reason}", err=True)
    usable = tuple(one.id for one in more if one.id not in failures)
    if more and len(usable) < 2:
        raise VidsimError(f"{len(usable)} of {len(more)} clips that nobody judged can be used; expected 2 or more")
    return cache, usable


def facts_of(name: str, participants: Path | None, read: "Judgments", material: "Material") -> dict[str, Any]:
    """Say where the judgments come from, for the manifest and the model card; of files, names and not places.

    Parameters
    ----------
    name : str
        Name of the judgments in the store.
    participants : Path or None
        File with those whose judgments count.
    read : Judgments
        Judgments.
    material : Material
        What was made of them.

    Returns
    -------
    dict
        JSON-able.
    """
    import numpy as np

    from vidsim.adapt.manifest import FITTED, VALIDATED
    from vidsim.data.judgments.predicted import note

    fit, held = material.fit, material.validation
    _, codes = read.participants

    def judged(among: "Triplets | None") -> set[int]:
        places = [] if among is None else [place for place, one in enumerate(read.ids) if one in among.position]
        inside = np.isin(read.rows, places).all(axis=1)
        return set(codes[inside & ~read.catch & (codes >= 0)].tolist())

    people, checked = judged(fit), judged(held)
    return {
        "judgments": name,
        "source": Path(read.source).name,
        "predicted": None if read.predicted is None else note(read.predicted),
        "participants": None if participants is None else participants.name,
        "people": len(people) or None,
        "validation_people": len(checked) or None,
        "people_of_both": len(people & checked) if checked else None,
        "stimuli": len(fit.ids),
        "validation_stimuli": 0 if held is None else len(held.ids),
        "unlabelled_stimuli": len(material.unlabelled),
        "validation_trials": 0 if held is None else len(held),
        FITTED: list(fit.ids),
        VALIDATED: [] if held is None else list(held.ids),
    }
