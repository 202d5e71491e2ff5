"""Which of the stimuli that a verb measures were used in an adapter's training."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from vidsim.cli import show
from vidsim.cli.root import root_of


def seen_in_training(name: str, layer: str | None, ids: Sequence[str], root: str) -> dict[str, int] | None:
    """Count the stimuli that an adapter was fitted to, and those that its epoch was chosen on.

    Stimuli are told by their ids.

    Parameters
    ----------
    name : str
        An encoder, an adapter or a file.
    layer : str or None
        Its layer: of an adapter that is a head alone, all other layers are its base's.
    ids : sequence of str
        Stimuli that are measured.
    root : str
        Artefact root, in which adapters lie.

    Returns
    -------
    dict of str to int or None
        ``fitted`` and ``validated``; None where nothing was trained, or nothing is known of it.
    """
    from vidsim.adapt.card import HEAD_LAYERS
    from vidsim.adapt.folder import WEIGHTS, find_adapter
    from vidsim.adapt.manifest import FITTED, VALIDATED, read_manifest
    from vidsim.errors import VidsimError

    folder = find_adapter(root_of(root), name)
    if folder is None:
        return None
    try:
        made = read_manifest(folder)
    except VidsimError:  # what it gave lies in the store all the same
        return None
    of_head = layer in HEAD_LAYERS and layer != made.layer
    if FITTED not in made.data or (WEIGHTS not in made.files and not of_head):
        return None
    asked = set(ids)
    # of a curve without epochs there was nothing to choose
    chosen = () if len(made.curve) == 1 else made.data.get(VALIDATED, ())
    return {FITTED: len(asked.intersection(made.data[FITTED])), VALIDATED: len(asked.intersection(chosen))}


def seen_by_space(name: str, ids: Sequence[str], root: str) -> dict[str, int] | None:
    """Count them for a space by its name.

    Parameters
    ----------
    name : str
        In full, as `vidsim.cli.spaces.Space` has it.
    ids : sequence of str
        Stimuli that are measured.
    root : str
        Artefact root, in which adapters lie.

    Returns
    -------
    dict of str to int or None
        As `seen_in_training` gives them.
    """
    encoder, _, layer = name.partition(":")
    return seen_in_training(encoder, layer or None, ids, root)


def warn_seen(encoders: Sequence[Mapping[str, Any]], stimuli: int) -> None:
    """Say on stderr of which adapters the scores are too good.

    Parameters
    ----------
    encoders : sequence of mapping
        As `vidsim.report.seen.seen_lines` takes them.
    stimuli : int
        Stimuli measured.
    """
    from vidsim.report.seen import seen_lines

    for line in seen_lines(encoders, stimuli):
        typer.echo(show.printable(line), err=True)
