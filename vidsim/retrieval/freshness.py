"""Freshness: whether an index is what the store and the adapters of its root would give now. Imports no lancedb."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidsim.errors import VidsimError
from vidsim.paths import root_option
from vidsim.retrieval.artefacts import artefacts
from vidsim.store.version import version_of


def stale(root: str, manifest: Mapping[str, Any]) -> str | None:
    """Say what an index is behind, and how to refresh it.

    Reads the names of the files of the table's versions, and the manifest of the adapter if the encoder is one.

    Parameters
    ----------
    root : str
        Artefact root of the index.
    manifest : mapping
        The index's.

    Returns
    -------
    str or None
        One line; None where the index is up to date, or nothing can be told.
    """
    made = manifest["provenance"]
    what = f"the index of {manifest['encoder']} {manifest['layer']}"
    where = root_option(root)
    adapter = made.get("adapter")
    if adapter is not None and adapter != adapter_files(root, manifest["encoder"]):
        return (
            f"{what} was built with other weights than the adapter of that name has now; extract with it again: "
            f"vidsim index FOLDER --encoder {manifest['encoder']}{where}"
        )
    if "table" not in made or "version" not in made:
        return None
    latest = table_version(root, made["table"])
    if latest is None or latest == made["version"]:
        return None
    behind = f"version {made['version']} of the store's table, which is at {latest}"
    return f"{what} was built from {behind}; refresh it: vidsim index --refresh{where}"


def table_version(root: str, table: str) -> int | None:
    """Tell the latest version of a table of the store, None where nothing tells it.

    Parameters
    ----------
    root : str
        Artefact root.
    table : str
        Table name.

    Returns
    -------
    int or None
        The version.
    """
    try:
        files = artefacts(root, "store", f"{table}.lance", "_versions").files()
    except (VidsimError, OSError):
        return None
    return max((version for version in map(version_of, files) if version is not None), default=None)


def adapter_files(root: str, encoder: str) -> Mapping[str, str] | None:
    """Return the SHA-256 of an adapter's files, as its manifest has them; None where there is no such adapter.

    Parameters
    ----------
    root : str
        Artefact root.
    encoder : str
        Name of the adapter.

    Returns
    -------
    mapping or None
        By the name of the file.
    """
    try:
        return json.loads(Path(root, "adapters", encoder, "vidsim.json").read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
