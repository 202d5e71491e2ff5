"""Files that have been deleted since they were encoded."""

from pathlib import Path

import pyarrow as pa

from vidsim.paths import vanished


def gone(entries: pa.Table) -> frozenset[str]:
    """Find the stimuli whose files have been deleted.

    A folder that is missing or empty may be a disk that is not there: what was below it counts as not deleted.

    Parameters
    ----------
    entries : pyarrow.Table
        Columns ``id`` and ``path``; the folder that was indexed is what of a path comes before the id.

    Returns
    -------
    frozenset of str
        Their ids.
    """
    there: dict[Path, bool] = {}
    found: set[str] = set()
    for name, path in zip(entries["id"].to_pylist(), entries["path"].to_pylist(), strict=True):
        if not path or not vanished(path):
            continue
        folder = Path(path[: -len(name)]) if path.endswith(f"/{name}") else Path(path).parent
        if folder not in there:
            there[folder] = _has_any(folder)
        if there[folder]:
            found.add(name)
    return frozenset(found)


def _has_any(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
