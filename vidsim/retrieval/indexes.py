"""Indexes: how they are built, brought up to date and loaded, with checksums, under a root. Loads without torch."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa

from vidsim.check import one_of
from vidsim.embeddings import Embeddings
from vidsim.errors import IndexCorrupted, VidsimError
from vidsim.retrieval import approximate, construct, flat, kinds
from vidsim.retrieval.index import Index
from vidsim.retrieval.manifest import command, folder_of, manifest_or_none, read_manifest, shape_of, verify

MIN_RECALL = 0.95

Kind = Literal["auto", "flat", "ivf-flat", "ivf-pq", "hnsw"]
"""Kinds of index that `build` makes; ``lancedb`` is `stored.build`'s."""


def build(
    root: str,
    embeddings: Embeddings,
    entries: pa.Table,
    *,
    encoder: str,
    layer: str,
    provenance: Mapping[str, object],
    kind: Kind = "auto",
    min_recall: float = MIN_RECALL,
    attributes: pa.Table | None = None,
    seed: int = 0,
) -> Index:
    """Build an index and put it under ``faiss/`` of the artefact root.

    Recall@10 is measured against exact search on rows of the index that serve as queries, and stands in the manifest.
    The new files are written first and the manifest that names them is replaced last, in one step, so a searching
    process sees the old index or the new one.

    Parameters
    ----------
    root : str
        Artefact root, a folder or URI.
    embeddings : Embeddings
        One layer. Those that are zero are left out: they have no direction.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``; a row for every id of ``embeddings``, in any order.
    encoder, layer : str
        Names under which it will be found.
    provenance : mapping
        JSON-able facts: table, store version, spec, checkpoint.
    kind : {"auto", "flat", "ivf-flat", "ivf-pq", "hnsw"}
        Kind; by the number of rows as `kinds.choose` has it.
    min_recall : float
        Least recall@10, 0 to 1; the search is made as thorough as it takes.
    attributes : pyarrow.Table, optional
        What is known of the stimuli: a column ``id`` and others, a row for every id, in any order.
    seed : int
        Seed of training and samples.

    Returns
    -------
    Index
        The index, ready to search.

    Raises
    ------
    VidsimError
        If faiss is missing, there is nothing to index, an embedding is not finite, an argument is out of range, the
        recall is not reached, or the files cannot be written; what was there is unchanged.
    """
    _check(kind, min_recall, seed)
    found = construct.material(embeddings, entries, encoder, layer)
    facts = {"encoder": encoder, "layer": layer, "provenance": dict(provenance)}
    return _of(construct.anew(root, found, facts, kind=kind, min_recall=min_recall, attributes=attributes, seed=seed))


def refresh(
    root: str,
    embeddings: Embeddings,
    entries: pa.Table,
    *,
    encoder: str,
    layer: str,
    provenance: Mapping[str, object],
    kind: Kind | None = None,
    min_recall: float = MIN_RECALL,
    attributes: pa.Table | None = None,
    seed: int = 0,
) -> tuple[Index, str]:
    """Bring an index up to date, without training it again where that is not needed.

    New rows are added to what was trained, rows that have gone or changed leave it, and recall is measured again. It is
    built anew where there is none or a damaged one, where its kind, its encoder or what shaped its embeddings is
    another, where it has doubled or halved since it was trained, where rows leave a graph (hnsw), and where recall
    would be too low. The swap is atomic, as in `build`.

    Parameters
    ----------
    root, embeddings, entries, encoder, layer, provenance, min_recall, attributes, seed
        As `build` has them; ``provenance`` tells what shaped the embeddings, but for its entries ``version`` and
        ``attributes``.
    kind : str, optional
        As `build` has it; by default what was asked for before, or ``"auto"``.

    Returns
    -------
    tuple of Index and str
        The index, and what was done: ``"built"``, or ``"refreshed"``.

    Raises
    ------
    VidsimError
        As `build` does.
    """
    _check(kind or "auto", min_recall, seed)
    found = construct.material(embeddings, entries, encoder, layer)
    facts: dict[str, Any] = {"encoder": encoder, "layer": layer, "provenance": dict(provenance)}
    before = manifest_or_none(root, encoder, layer)  # what was asked outlives damaged files
    asked = kind or (before["asked"] if before else "auto")
    wanted = kinds.choose(len(found.matrix)) if asked == "auto" else asked
    parts = None
    if (
        before
        and before["kind"] == wanted
        and shape_of(before["provenance"]) == shape_of(json.loads(json.dumps(facts["provenance"])))
    ):
        try:
            old = parts_of(root, encoder, layer, thorough=True, change=True)
        except IndexCorrupted:
            old = None
        if old is not None and old.manifest == before:
            parts = construct.refreshed(
                root, old, found, {**facts, "asked": asked}, min_recall=min_recall, attributes=attributes, seed=seed
            )
    done = "built" if parts is None else "refreshed"
    if parts is None:
        parts = construct.anew(root, found, facts, kind=asked, min_recall=min_recall, attributes=attributes, seed=seed)
    return _of(parts), done


def _check(kind: str, min_recall: float, seed: int) -> None:
    one_of("kind", kind, get_args(Kind))
    construct.check_numbers(min_recall, seed)


def _of(parts: construct.Parts) -> Index:
    return Index(parts.vectors, parts.entries, parts.manifest, parts.attributes)


def load(root: str, encoder: str, layer: str, *, thorough: bool = False) -> Index:
    """Load an index after checking its files; they are memory-mapped, and read as they are used.

    Parameters
    ----------
    root : str
        Artefact root.
    encoder, layer : str
        Names it was built under.
    thorough : bool
        Compare the whole content of the files with their SHA-256, instead of `seal.intact`'s quicker sums.

    Returns
    -------
    Index
        The index.

    Raises
    ------
    VidsimError
        If there is none, or faiss is missing where the kind needs it.
    IndexCorrupted
        If a file is missing, altered, or of a newer version.
    """
    return _of(parts_of(root, encoder, layer, thorough=thorough))


def parts_of(root: str, encoder: str, layer: str, *, thorough: bool = False, change: bool = False) -> construct.Parts:
    """Load what an index consists of; as `load`, with ``change`` into memory where it is to be changed."""
    folder = folder_of(root, encoder, layer)
    manifest = read_manifest(root, encoder, layer)
    if manifest is None:
        raise VidsimError(f"no index of {encoder} {layer} in {folder.place!r}; build one: {command(encoder)}")

    def checked(path: Path, what: str) -> Path:
        verify(path, manifest["files"][what], folder.place, encoder, thorough=thorough)
        return path

    files = {what: file["name"] for what, file in manifest["files"].items()}
    try:
        tables: dict[str, pa.Table] = {}
        for what in ("entries", "attributes"):
            if what in files:
                with folder.get(files[what]) as path:
                    tables[what] = mapped(checked(path, what))
        if manifest["kind"] == "lancedb":
            from vidsim.retrieval import stored

            vectors = stored.read(root, manifest, tables["entries"])
            return construct.Parts(vectors, tables["entries"], manifest, tables.get("attributes"))
        with folder.get(files["vectors"]) as path:
            matrix = flat.read(checked(path, "vectors"))
        if manifest["kind"] == "flat":
            vectors = flat.Flat(matrix)
        else:
            with folder.get(files["structure"]) as path:
                vectors = approximate.read(
                    checked(path, "structure"), manifest["kind"], matrix, manifest["parameters"], change=change
                )
    except FileNotFoundError as error:
        if manifest != read_manifest(root, encoder, layer):  # swapped between the manifest and its files
            return parts_of(root, encoder, layer, thorough=thorough, change=change)
        raise IndexCorrupted(
            f"the index in {folder.place!r} lacks a file that its manifest names; rebuild it: {command(encoder)}"
        ) from error
    return construct.Parts(vectors, tables["entries"], manifest, tables.get("attributes"))


def mapped(path: Path) -> pa.Table:
    """Read a table, memory-mapped: what is not asked for is not read."""
    from pyarrow import feather

    with suppress(ValueError):
        return feather.read_table(path, memory_map=True)
    raise IndexCorrupted(f"{path.name!r} is not a table; rebuild the index")
