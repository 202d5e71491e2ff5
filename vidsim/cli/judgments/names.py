"""Names in the store that verbs give to what they make: never one that is taken, by accident."""

from vidsim.errors import NoStore, VidsimError

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
        If it is empty, or taken.
    """
    from vidsim.store import Store

    if not name.strip():
        raise VidsimError(f"--name is empty; expected a name for {MEANINGS[kind]}")
    try:
        taken = name in getattr(Store(root), kind)
    except NoStore:
        return
    if taken and not force:
        raise VidsimError(
            f"the name {name!r} is taken by {MEANINGS[kind]} in {root!r}; choose another, or --force replaces them"
        )
