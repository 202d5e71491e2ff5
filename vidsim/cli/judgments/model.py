"""What ``--model`` names: a similarity matrix of the store, or a layer of an encoder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidsim.errors import VidsimError

if TYPE_CHECKING:
    from vidsim.rsm import RSM


def model_rsm(name: str, root: str, ids: Sequence[str] | None = None) -> "RSM":
    """Find similarities in the store: a matrix by name, or the cosines of an encoder's layer.

    Parameters
    ----------
    name : str
        Name of a matrix, or ``ENCODER:LAYER``.
    root : str
        Artefact root.
    ids : sequence of str, optional
        Only these stimuli, in this order; all by default.

    Returns
    -------
    RSM
        Their similarities.

    Raises
    ------
    VidsimError
        If the store has neither, or one that lacks a stimulus.
    """
    from vidsim.embeddings import Embeddings
    from vidsim.rsm import RSM, cosine_rsm
    from vidsim.store import Store

    store = Store(root)
    found: RSM | Embeddings
    stored = store.rsms.get(name)
    encoder, colon, layer = name.partition(":")
    if stored is not None:
        found = RSM.from_table(stored)
    elif colon:
        found = store[encoder][layer]
    else:
        known = ", ".join(store.rsms) or "none"
        raise VidsimError(
            f"--model {name!r}: expected ENCODER:LAYER, or a similarity matrix by name; there are: {known}"
        )
    if ids is not None:
        lacking = [stimulus for stimulus in ids if stimulus not in found.position]
        if lacking:
            raise VidsimError(
                f"--model {name!r} lacks {len(lacking)} of {len(ids)} judged stimuli, the first is {lacking[0]!r}; "
                "extract them, or choose among fewer with --split"
            )
        found = found.take(ids)
    return found if isinstance(found, RSM) else cosine_rsm(found)
