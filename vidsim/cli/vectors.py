"""Vectors of an encoder's layer for verbs that predict: from the store, or from an index that has come without one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidsim.cli.spaces import table_of
from vidsim.errors import NoStore, VidsimError

if TYPE_CHECKING:
    from vidsim.embeddings import Embeddings
    from vidsim.store import Store


@dataclass(frozen=True, eq=False)
class Vectors:
    """Hold the embeddings of a layer, and where they come from.

    Parameters
    ----------
    encoder, layer : str
        Whose.
    found : Embeddings
        Of all stimuli.
    identity : mapping
        JSON-able facts that determine the embeddings.
    facts : mapping
        JSON-able: revision, table and its version, index, adapter.
    """

    encoder: str
    layer: str
    found: "Embeddings"
    identity: Mapping[str, Any]
    facts: Mapping[str, Any]


def find_vectors(name: str, root: str, captions: str = "mean") -> Vectors:
    """Find the embeddings of a layer.

    Parameters
    ----------
    name : str
        ``ENCODER:LAYER``, or ``ENCODER`` for its default layer; an adapter goes by its own name.
    root : str
        Artefact root.
    captions : {"mean", "first"}
        Which embeddings of an encoder that reads.

    Returns
    -------
    Vectors
        Read from the store, the index being a copy of it; from the index where it is all there is.

    Raises
    ------
    VidsimError
        If there is nothing of that name; the nearest is suggested.
    """
    from vidsim.store import Store

    encoder, colon, layer = name.partition(":")
    try:
        store = Store(root)
    except NoStore as error:
        found = _indexed(encoder, layer or None, root)
        if found is None:
            raise VidsimError(f"no encoder {encoder!r}: {error}") from None
        return found
    if encoder not in store:
        found = _indexed(encoder, layer or None, root)
        if found is not None:
            return found
    return _stored(store, encoder, layer if colon else None, root, captions)


def _stored(store: "Store", encoder: str, layer: str | None, root: str, captions: str) -> Vectors:
    from vidsim.retrieval.freshness import adapter_files
    from vidsim.retrieval.manifest import manifest_or_none

    table = table_of(store, encoder, captions, layer)
    layer = layer or table.default_layer
    embeddings, _, version = table.snapshot(layer)
    manifest = manifest_or_none(root, encoder, layer)
    if manifest is not None and manifest["provenance"].get("table") != table.name:
        manifest = None
    facts = {
        "revision": table.provenance.get("revision"),
        "adapter": _adapter(encoder, adapter_files(root, encoder)),
        "table": {"name": table.name, "version": version},
        "index": None if manifest is None else _index_facts(manifest),
        "extracted_with": dict(table.versions),
    }
    return Vectors(encoder, layer, embeddings, table.identity, facts)


def _indexed(encoder: str, layer: str | None, root: str) -> Vectors | None:
    from vidsim.retrieval.indexes import load
    from vidsim.retrieval.manifest import built

    there = [own for name, own in built(root) if name == encoder and layer in {None, own}]
    if len(there) > 1:
        raise VidsimError(f"indexes of {encoder!r} hold layers {', '.join(there)}: say which, {encoder}:{there[0]}")
    if not there:
        return None
    found = load(root, encoder, there[0])
    made: Mapping[str, Any] = found.manifest["provenance"]
    facts = {
        "revision": made.get("revision"),
        "adapter": _adapter(encoder, made.get("adapter")),
        "table": {"name": made.get("table"), "version": made.get("version")},
        "index": _index_facts(found.manifest),
        "extracted_with": {},
    }
    return Vectors(encoder, there[0], _embeddings(found.ids, found), made.get("identity", {}), facts)


def _index_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": manifest["kind"],
        "created": manifest.get("created"),
        "version": manifest["provenance"].get("version"),
    }


def _embeddings(ids: Sequence[str], index: Any) -> "Embeddings":
    import numpy as np

    from vidsim.embeddings import Embeddings

    return Embeddings(tuple(ids), index.vectors(np.arange(len(ids))))


def _adapter(name: str, files: Mapping[str, str] | None) -> dict[str, Any] | None:
    """Say which adapter's files made the embeddings, by their SHA-256."""
    return None if files is None else {"name": name, "files": dict(files)}
