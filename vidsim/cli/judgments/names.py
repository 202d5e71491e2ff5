"""Names in the store that verbs give to what they make: found by every verb, and never taken by accident."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from vidsim.cli.stored import is_path
from vidsim.errors import NoStore, VidsimError

if TYPE_CHECKING:
    from vidsim.store import Store

MEANINGS = {"judgments": "judgments", "rsms": "similarities"}


def check_name(name: str, root: str, kind: str, *, force: bool) -> None:
    """Refuse a name that cannot be given, before any work is done.

    Parameters
    ----------
    name : str
        Wanted name.
    root : str
        Artefact root; there need not be a store yet.
    kind : {"judgments", "rsms"}
        What gets the name.
    force : bool
        Whether what has the name may be replaced.

    Raises
    ------
    VidsimError
        If it is taken, or none that verbs find.
    """
    refuse_hidden(name, root, kind)
    store = _store(root)
    if store is not None and name in getattr(store, kind) and not force:
        raise VidsimError(
            f"the name {name!r} is taken by {MEANINGS[kind]} in {root!r}; choose another, or --force replaces them"
        )


def refuse_hidden(name: str, root: str, kind: str) -> None:
    """Refuse a name under which verbs would look for something else, whether or not it is taken.

    Parameters
    ----------
    name : str
        Wanted name.
    root : str
        Artefact root; there need not be a store yet.
    kind : {"judgments", "rsms"}
        What gets the name.

    Raises
    ------
    VidsimError
        If it is empty, is read as a path, or, of similarities, is an encoder's or adapter's, or that of its layer.
    """
    if not name.strip():
        raise VidsimError(f"--name is empty; expected a name for {MEANINGS[kind]}")
    if is_path(name):
        raise VidsimError(
            f"--name {name!r} would be read as a path; expected a name for {MEANINGS[kind]} that does not begin with "
            "'.', '/' or '~'"
        )
    encoder = name.partition(":")[0]
    if kind == "rsms" and _encodes(encoder, root):
        raise VidsimError(f"--name {name!r}: {encoder!r} is an encoder or adapter; choose another for similarities")


def refuse_matrices(names: Iterable[str], root: str) -> None:
    """Refuse names for adapters that would hide similarities of that name.

    Parameters
    ----------
    names : iterable of str
        Wanted names.
    root : str
        Artefact root; there need not be a store yet.

    Raises
    ------
    VidsimError
        If similarities of that name are stored.
    """
    store = _store(root)
    for name in names:
        if store is not None and name in store.rsms:
            raise VidsimError(f"{name!r} is the name of similarities in {root!r}; choose another for the adapter")


def _store(root: str) -> "Store | None":
    from vidsim.store import Store

    try:
        return Store(root)
    except NoStore:
        return None


def _encodes(name: str, root: str) -> bool:
    """Tell whether an encoder has the name, also one that is known by its embeddings alone, or an adapter."""
    from vidsim.adapt.card import taken_names
    from vidsim.adapt.folder import find_adapter

    if name.lower() in taken_names() or find_adapter(root, name) is not None:
        return True
    store = _store(root)
    return store is not None and name in store
