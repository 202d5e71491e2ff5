"""Several seeds in one command: which of them it had finished when it was cut off, and the best under one name."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.adapt.manifest import Manifest
    from vidsim.adapt.material import Material
    from vidsim.adapt.recipe import Recipe
    from vidsim.adapt.trainer import Trainer
    from vidsim.encoders.catalog import Resolved


ANOTHER = "an adapter {name!r} is there already, of another run; --force replaces it, or give another --name"


def names_of(name: str, seeds: tuple[int, ...]) -> dict[int, str]:
    """Name the adapter of each seed.

    Parameters
    ----------
    name : str
        Name of the adapter.
    seeds : tuple of int
        Different ones.

    Returns
    -------
    dict of int to str
        The name itself where there is one seed.

    Examples
    --------
    >>> names_of("social", (0, 7))
    {0: 'social.seed-0', 7: 'social.seed-7'}
    """
    return {seed: name if len(seeds) == 1 else f"{name}.seed-{seed}" for seed in seeds}


def finished(
    folder: Path,
    names: Mapping[int, str],
    recipe: "Recipe",
    resolved: "Resolved",
    material: "Material",
    *,
    force: bool,
) -> set[str]:
    """Find the seeds that the same command has trained before it was interrupted.

    Parameters
    ----------
    folder : Path
        Where the adapter will be, under the name of all.
    names : mapping of int to str
        Of `names_of`.
    recipe : Recipe
        How.
    resolved : Resolved
        The base.
    material : Material
        On what.
    force : bool
        Whether adapters that are there may be replaced. Those of a command that came to its end are.

    Returns
    -------
    set of str
        Names.

    Raises
    ------
    VidsimError
        If another adapter has the name of a seed's, or the name of all, and may not be replaced.
    """
    from vidsim.adapt.folder import MANIFEST
    from vidsim.extract.run import library_versions

    def of_this_run(place: Path, seeds: Collection[int]) -> bool:
        made = _manifest(place)
        return (
            made is not None
            and made.seed in seeds
            and (made.recipe, made.versions) == (recipe.resolved(), dict(library_versions()))
            and made.data.get("hash") == material.digest
            and made.other(resolved.identity) is None
        )

    found: set[str] = set()
    for seed, name in names.items():
        own = folder.with_name(name)
        if not own.exists() or _older(own / MANIFEST, folder / MANIFEST):
            continue
        if of_this_run(own, {seed}):
            found.add(name)
        elif not force:
            raise VidsimError(ANOTHER.format(name=name))
    if len(names) > 1 and folder.exists() and not force and not of_this_run(folder, names):
        raise VidsimError(ANOTHER.format(name=folder.name))
    return found


def _manifest(folder: Path) -> "Manifest | None":
    """Read the manifest of an adapter; one that is damaged tells nothing, and may be replaced."""
    from vidsim.adapt.manifest import read_manifest

    try:
        return read_manifest(folder)
    except VidsimError:
        return None


def unfinished(folder: Path) -> bool:
    """Tell whether the command that left an adapter was cut off: the model card is written last.

    Parameters
    ----------
    folder : Path
        The adapter's folder, which may be missing.

    Returns
    -------
    bool
        Whether there is an adapter without a card.
    """
    from vidsim.adapt.folder import CARD, MANIFEST

    return (folder / MANIFEST).is_file() and not (folder / CARD).is_file()


def _older(own: Path, best: Path) -> bool:
    """Tell whether an adapter is of an earlier command, which came to its end; of one seed it is the best itself."""
    there = own.is_file() and best.is_file() and not unfinished(best.parent)
    return there and best.stat().st_mtime_ns >= own.stat().st_mtime_ns


def drop_finished(state: Path, folder: Path) -> None:
    """Remove the state of a run that was killed between its adapter's coming into place and the state's removal.

    Parameters
    ----------
    state : Path
        The file, which may be missing. That of a run that is not finished stays.
    folder : Path
        Where the run's adapter is.
    """
    from vidsim.adapt.state import is_of

    made = _manifest(folder)
    if made is not None and is_of(state, made.curve):
        state.unlink(missing_ok=True)


def refill(trainer: "Trainer", folder: Path) -> "Manifest":
    """Fill a trainer with the weights that it has left before.

    Parameters
    ----------
    trainer : Trainer
        New, of the same run.
    folder : Path
        The adapter's folder.

    Returns
    -------
    Manifest
        What the folder says.

    Raises
    ------
    VidsimError
        If a file is not what was saved.
    """
    from vidsim.adapt.adapter import read_weights
    from vidsim.adapt.manifest import check_files, read_manifest

    manifest = read_manifest(folder)
    check_files(manifest, folder)
    trainer.attached.fill(read_weights(manifest, folder), str(folder))
    return manifest


def keep_best(folder: Path, best: str, *, force: bool) -> "Manifest":
    """Let the best of several seeds have the name of all.

    Parameters
    ----------
    folder : Path
        Where the adapter will be.
    best : str
        Name of the best one.
    force : bool
        Whether what is there by then is replaced.

    Returns
    -------
    Manifest
        What the folder says.

    Raises
    ------
    Taken
        If something is there by then, and is not to be replaced.
    """
    from vidsim.adapt.drafts import replaced
    from vidsim.adapt.folder import CARD
    from vidsim.adapt.manifest import read_manifest

    with replaced(folder, force=force) as made:
        shutil.copytree(folder.with_name(best), made, dirs_exist_ok=True, ignore=shutil.ignore_patterns(CARD))
        manifest = replace(read_manifest(made), name=folder.name)
        manifest.write(made)
    return manifest
