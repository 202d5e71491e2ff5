"""Names that a user types: what is a path, and the stimulus sets of the store."""

from typing import TYPE_CHECKING

from vidsim.errors import NoStore

if TYPE_CHECKING:
    from vidsim.data.stimuli import StimulusSet
    from vidsim.store import Store


def is_path(name: str) -> bool:
    """Tell a path, as ``./name`` always is, from what may be a name in the store."""
    return name.startswith((".", "/", "~"))


def put_stimuli(store: "Store", name: str, stimuli: "StimulusSet", source: bytes | None = None) -> None:
    """Store a stimulus set, and say on stderr what its reader noted.

    Parameters
    ----------
    store : Store
        Where.
    name : str
        Its name there.
    stimuli : StimulusSet
        Whole.
    source : bytes, optional
        Place of the table that may update the set, to be kept with it.
    """
    from vidsim.cli.show import printable, say

    store.stimuli.put(name, stimuli.table().replace_schema_metadata(None if source is None else {"source": source}))
    for note in stimuli.notes:
        say(f"vidsim: {printable(note)}", err=True)


def stimuli_of(store: "Store", name: str) -> "StimulusSet | None":
    """Read the stimulus set of that name, if the store has one."""
    from vidsim.data.stimuli import StimulusSet

    table = store.stimuli.get(name)
    return None if table is None else StimulusSet.from_arrow(table, name)


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
