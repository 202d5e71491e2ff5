"""Stimulus sets of the store, by name."""

from typing import TYPE_CHECKING

from vidsim.errors import NoStore

if TYPE_CHECKING:
    from vidsim.data.stimuli import StimulusSet


def stored_stimuli(name: str, root: str) -> "StimulusSet":
    """Read a stimulus set of the store.

    Parameters
    ----------
    name : str
        Its name.
    root : str
        Artefact root.

    Returns
    -------
    StimulusSet
        Whole, in its order.

    Raises
    ------
    NotStored
        If it is not there, or there is no store; says which there are, or how a store is made.
    """
    from vidsim.data.stimuli import StimulusSet
    from vidsim.store import NotStored, Store

    try:
        named = Store(root).stimuli
    except NoStore as error:
        raise NotStored(str(error)) from None
    return StimulusSet.from_arrow(named[name], name)
