"""Files that have been deleted or changed since they were encoded."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa


@dataclass(frozen=True)
class Altered:
    """Hold what became of files.

    Parameters
    ----------
    gone : frozenset of str
        Stimuli whose files have been deleted. A folder that is missing or empty may be a disk that is not there: what
        was below it counts as not deleted.
    changed : int
        Files that have another size or modification time.
    """

    gone: frozenset[str] = frozenset()
    changed: int = 0


def altered(entries: pa.Table) -> Altered:
    """Look at every file, but not into it.

    Parameters
    ----------
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``size`` and ``mtime_ns``, 0 where not known; the folder that was indexed is what of a
        path comes before the id.

    Returns
    -------
    Altered
        What became of the files.
    """
    there: dict[Path, bool] = {}
    gone: set[str] = set()
    changed = 0
    columns = (entries[name].to_pylist() for name in ("id", "path", "size", "mtime_ns"))
    for name, path, size, mtime_ns in zip(*columns, strict=True):
        if not path:
            continue
        try:
            now = Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            folder = Path(path[: -len(name)]) if path.endswith(f"/{name}") else Path(path).parent
            if folder not in there:
                there[folder] = _has_any(folder)
            if there[folder]:
                gone.add(name)
        except OSError:  # nobody can tell
            pass
        else:
            changed += mtime_ns > 0 and (now.st_size, now.st_mtime_ns) != (size, mtime_ns)
    return Altered(frozenset(gone), changed)


def _has_any(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return False
