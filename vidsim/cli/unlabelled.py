"""Stimuli that nobody judged, for the retention term of ``vidsim train``."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from vidsim.cli.stored import stored_stimuli
from vidsim.errors import VidsimError
from vidsim.paths import expand

if TYPE_CHECKING:
    from vidsim.data.stimuli import StimulusSet


def find_unlabelled(source: str, root: str, judged: Collection[str], *, captions: bool) -> "StimulusSet":
    """Find stimuli whose embeddings are to stay as they are.

    Parameters
    ----------
    source : str
        A stimulus set in the store, or a folder of videos or a table.
    root : str
        Artefact root.
    judged : collection of str
        Stimuli that somebody judged, whatever their split: these are left out.
    captions : bool
        Whether the encoder reads captions alone; stimuli without any are then left out.

    Returns
    -------
    StimulusSet
        At least two.

    Raises
    ------
    VidsimError
        If there is no such source, or nothing is left of it.
    """
    from vidsim.data.sources import from_source
    from vidsim.store import NotStored

    try:
        found = stored_stimuli(source, root)
    except NotStored:
        path = expand(source)
        if not path.exists():
            raise VidsimError(
                f"--unlabelled {source!r} is neither a stimulus set in {root!r} nor a folder or a table"
            ) from None
        found = from_source(path).spelt_as(judged)
    free = [one for one in found if one.id not in judged]
    left = found.take([one.id for one in free if one.captions or not captions])
    if len(left) < 2:
        why = "none of these has a caption" if captions and free else "the others were judged"
        raise VidsimError(
            f"--unlabelled {source!r}: {len(left)} of {len(found)} stimuli can be used, expected 2 or more ({why})"
        )
    return left
