"""Presence: whether a checkpoint is on this machine already, told without the hub's client, whose import is slow."""

import os
from importlib.util import find_spec
from pathlib import Path

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.checkpoint import Source, needed_beside_weights, weights_of
from vidsim.encoders.zoo import find_file, in_zoo
from vidsim.errors import VidsimError


def find_copy(card: EncoderCard) -> tuple[Source, Path | None] | None:
    """Find the files of an encoder on this machine.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.

    Returns
    -------
    tuple, optional
        Where they are (``"none"`` for a model without weights) and their folder, or their file where there is one only;
        None if they would be downloaded.
    """
    if card.checkpoint is None:
        return "none", None
    if in_zoo(card):
        file = find_file(card)
        return None if file is None else ("zoo", file)
    if Path(card.checkpoint).is_absolute():
        folder = Path(card.checkpoint)
        return ("folder", folder) if _complete(card, folder) else None
    if (folder := _snapshot(card)) is not None and _complete(card, folder):
        return "hub", folder
    if package := card.options.get("package"):
        found = find_spec(package)
        for place in (found.submodule_search_locations if found else None) or ():
            return "package", Path(place) / "model"
    return None


def hub_cache() -> Path:
    """Return the folder in which the hub's client keeps its downloads.

    Returns
    -------
    Path
        ``HF_HUB_CACHE``, else ``hub`` in ``HF_HOME``, else in ``huggingface`` of the user's cache folder.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if place := os.environ.get(name):
            return _expand(place)
    if home := os.environ.get("HF_HOME"):
        return _expand(home) / "hub"
    return _expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface" / "hub"


def _snapshot(card: EncoderCard) -> Path | None:
    assert card.checkpoint is not None
    repository = hub_cache() / f"models--{card.checkpoint.replace('/', '--')}"
    revision = card.revision or "main"
    try:
        commit = (repository / "refs" / revision).read_text("utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    folder = repository / "snapshots" / commit
    return folder if folder.is_dir() else None


def _complete(card: EncoderCard, folder: Path) -> bool:
    try:
        weights_of(folder)
    except (VidsimError, OSError):
        return False
    return (folder / needed_beside_weights(card)).is_file()


def _expand(place: str) -> Path:
    return Path(os.path.expandvars(place)).expanduser()
