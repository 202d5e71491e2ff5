"""Making an index: of new, or from the one that is there by what has changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Int64, UInt64
from numpy import ndarray
from pyarrow import feather

from vidsim.check import at_least
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.retrieval import approximate, exact, flat, kinds, manifest, pairs
from vidsim.retrieval.approximate import Approximate
from vidsim.retrieval.flat import Flat
from vidsim.retrieval.recall import AT, reach, samples

ENTRIES = ("id", "path", "content")
FINGERPRINT = "fingerprint"
FLAT_QUERIES = 32
"""Queries of each sample for a flat index, which is exact: they show that the file gives back what was put in."""


@dataclass(frozen=True)
class Parts:
    """What an index consists of.

    Parameters
    ----------
    vectors : Vectors
        Unit vectors that can be searched.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``, ``fingerprint``.
    manifest : dict
        What it was built from, and how.
    attributes : pyarrow.Table or None
        What is known of the rows.
    """

    vectors: kinds.Vectors
    entries: pa.Table
    manifest: dict[str, Any]
    attributes: pa.Table | None


@dataclass(frozen=True)
class Material:
    """Rows to index, with a direction each.

    Parameters
    ----------
    matrix : array of shape (n, d)
        Unit vectors.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``, ``fingerprint``.
    left_out : int
        Stimuli that were left out because their embeddings are zero.
    """

    matrix: Float32[ndarray, "n d"]
    entries: pa.Table
    left_out: int


def material(embeddings: Embeddings, entries: pa.Table, encoder: str, layer: str) -> Material:
    """Scale embeddings to length 1 and bring their entries into the same order.

    Embeddings that are zero have no direction; they are left out.

    Parameters
    ----------
    embeddings : Embeddings
        One layer.
    entries : pyarrow.Table
        Columns ``id``, ``path``, ``content``, a row for every id.
    encoder, layer : str
        For messages.

    Returns
    -------
    Material
        What can be indexed.

    Raises
    ------
    VidsimError
        If there are none, an entry is missing, or an embedding holds NaN or infinity.
    """
    if not len(embeddings):
        raise VidsimError(f"no embeddings of {encoder} {layer} to index")
    position = {name: row for row, name in enumerate(entries["id"].to_pylist())}
    missing = next((i for i in embeddings.ids if i not in position), None)
    if missing is not None:
        raise VidsimError(f"{missing!r} has an embedding of {encoder} {layer} but no entry; expected one for every id")
    table = entries.select(list(ENTRIES)).take([position[i] for i in embeddings.ids]).combine_chunks()
    matrix, finite = flat.units(embeddings.matrix)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise VidsimError(
            f"{len(bad)} embeddings of {encoder} {layer} hold NaN or infinity, the first is of "
            f"{embeddings.ids[bad[0]]!r}; extract them again"
        )
    there = matrix.any(axis=1)
    if not there.any():
        raise VidsimError(f"all embeddings of {encoder} {layer} are zero; no direction to compare, index another layer")
    if not there.all():
        matrix, table = matrix[there], table.filter(pa.array(there))
    table = table.append_column(FINGERPRINT, pa.array(fingerprints(matrix)))
    return Material(matrix, table, int((~there).sum()))


def fingerprints(matrix: Float32[ndarray, "n d"]) -> UInt64[ndarray, " n"]:
    """Hash every row: 64 bits that differ where a row differs, but for one chance in about 10**19.

    Parameters
    ----------
    matrix : array of shape (n, d)
        Any values.

    Returns
    -------
    array of shape (n,)
        Sums of the rows' bits, weighted by random odd numbers that never change (multilinear hashing).
    """
    weights = np.random.default_rng(20150).integers(1 << 63, size=matrix.shape[1], dtype=np.uint64) * 2 + 1
    found = np.empty(len(matrix), np.uint64)
    for start, rows in exact.blocks(matrix):
        bits = np.ascontiguousarray(rows).view(np.uint32).astype(np.uint64)
        found[start : start + len(rows)] = (bits * weights).sum(axis=1, dtype=np.uint64)
    return found


def anew(
    root: str,
    found: Material,
    facts: Mapping[str, Any],
    *,
    kind: str,
    min_recall: float,
    attributes: pa.Table | None,
    seed: int,
) -> Parts:
    """Build an index and put it into the artefact root.

    Parameters
    ----------
    root : str
        Artefact root.
    found : Material
        Rows.
    facts : mapping
        ``encoder``, ``layer``, ``provenance``.
    kind : str
        A kind, or ``"auto"``.
    min_recall : float
        Least recall@10, 0 to 1.
    attributes : pyarrow.Table or None
        What is known of the rows, with a column ``id``.
    seed : int
        Seed of training and samples.

    Returns
    -------
    Parts
        The index.

    Raises
    ------
    VidsimError
        If the recall is not reached, or files cannot be written; what was there is unchanged.
    """  # noqa: DOC501 - refusal returns it
    chosen = kinds.choose(len(found.matrix)) if kind == "auto" else kind
    vectors = Flat(found.matrix) if chosen == "flat" else approximate.build(chosen, found.matrix, seed)
    recall = measured(vectors, min_recall, seed)
    if recall["recall"] < min_recall:
        raise refusal(chosen, recall["recall"], min_recall)
    return _published(
        root,
        vectors,
        found,
        {**facts, "kind": chosen, "asked": kind, "recall": recall, "min_recall": min_recall},
        attributes,
        seed,
    )


def refreshed(
    root: str,
    old: Parts,
    found: Material,
    facts: Mapping[str, Any],
    *,
    min_recall: float,
    attributes: pa.Table | None,
    seed: int,
) -> Parts | None:
    """Bring an index up to date: rows that are gone or have changed leave it, new ones are added, nothing is trained.

    Parameters
    ----------
    root : str
        Artefact root.
    old : Parts
        The index that is there, with a structure that can be changed; it is used up.
    found : Material
        Rows as they are now.
    facts : mapping
        ``encoder``, ``layer``, ``provenance``.
    min_recall : float
        Least recall@10, 0 to 1.
    attributes : pyarrow.Table or None
        What is known of the rows, with a column ``id``.
    seed : int
        Seed of samples.

    Returns
    -------
    Parts or None
        The index; None where what was trained no longer serves and it must be built anew.

    Raises
    ------
    VidsimError
        If files cannot be written; what was there is unchanged.
    """
    kept, order = _difference(old.entries, found.entries)
    facts = {**facts, "min_recall": min_recall}
    entries = found.entries.take(pa.array(order)).combine_chunks()
    change = {"added": len(order) - int(kept.sum()), "removed": int((~kept).sum())}
    if not any(change.values()) and old.manifest["recall"]["recall"] >= min_recall:
        return _described_anew(root, old, replace(found, entries=entries), facts, attributes)
    found = Material(found.matrix[order], entries, found.left_out)
    if isinstance(old.vectors, Approximate):
        vectors, again = approximate.extend(old.vectors, kept, found.matrix, seed)
        if again:
            return None
    else:
        vectors = Flat(found.matrix)
    recall = measured(vectors, min_recall, seed)
    if recall["recall"] < min_recall:
        return None
    told = {
        **facts,
        "kind": old.manifest["kind"],
        "recall": recall,
        "change": change,
    }
    return _published(root, vectors, found, told, attributes, seed)


def measured(vectors: Flat, min_recall: float, seed: int) -> dict[str, Any]:
    """Search as thoroughly as it takes, as `recall.reach` does, and say what a manifest says of the recall."""
    some = {"queries": FLAT_QUERIES} if vectors.exact else {}
    return reach(
        vectors, min_recall, *samples(len(vectors), vectors.rows, partial(exact.nearest, vectors.matrix), seed, **some)
    )


def check_numbers(min_recall: float, seed: int) -> None:
    """Refuse numbers that no index is built with.

    Parameters
    ----------
    min_recall : float
        That is wanted.
    seed : int
        Of the samples.

    Raises
    ------
    VidsimError
        If the recall is not a number from 0 to 1, or the seed is below 0.
    """
    if not 0 <= min_recall <= 1:
        raise VidsimError(f"min_recall {min_recall:g}: expected a number from 0 to 1")
    at_least(0, seed=seed)


def refusal(kind: str, reached: float, wanted: float) -> VidsimError:
    """Return the error that says that an index is not good enough, and what to do."""
    return VidsimError(
        f"an index of kind {kind} reaches recall@{AT} {reached:.3f} here, below --min-recall {wanted:g}; choose another"
        " --kind (flat is exact) or a lower --min-recall; nothing was written"
    )


def _published(
    root: str, vectors: Flat, found: Material, facts: Mapping[str, Any], attributes: pa.Table | None, seed: int
) -> Parts:
    writers, known = tables(found.entries, attributes)
    writers["vectors"] = lambda path: flat.write(path, vectors.matrix)
    if isinstance(vectors, Approximate):
        structure = vectors
        writers["structure"] = lambda path: approximate.write(path, structure)
    described_as = {
        **facts,
        "metric": "cosine",
        "rows": len(found.matrix),
        "dims": found.matrix.shape[1],
        "left_out": found.left_out,
        "seed": seed,
        "parameters": vectors.parameters if isinstance(vectors, Approximate) else {},
        "pairs": pairs.quantiles(found.matrix, seed),
    }
    return Parts(vectors, found.entries, manifest.publish(root, described_as, writers), known)


def _described_anew(
    root: str, old: Parts, found: Material, facts: Mapping[str, Any], attributes: pa.Table | None
) -> Parts | None:
    """Publish an index whose vectors are what they were; None where another process has replaced them meanwhile."""
    writers, known = tables(found.entries, attributes)
    keep = {what: file for what, file in old.manifest["files"].items() if what in {"vectors", "structure"}}
    same = {k: v for k, v in old.manifest.items() if k not in {"format", "created", "files"}}
    told = {**same, **facts, "left_out": found.left_out, "change": {"added": 0, "removed": 0}}
    whole = manifest.publish(root, told, writers, keep)
    there = manifest.folder_of(root, facts["encoder"], facts["layer"]).files()
    return Parts(old.vectors, found.entries, whole, known) if manifest.names(whole) <= there.keys() else None


def tables(entries: pa.Table, attributes: pa.Table | None) -> tuple[dict[str, Callable[[Path], None]], pa.Table | None]:
    """Prepare the tables of an index for `manifest.publish`.

    Parameters
    ----------
    entries : pyarrow.Table
        A column ``id``, and others.
    attributes : pyarrow.Table or None
        What is known of the rows, with a column ``id``, in any order.

    Returns
    -------
    tuple of dict and pyarrow.Table or None
        What writes either at a path, by its name; and the attributes in the order of the entries.

    Raises
    ------
    VidsimError
        If an id has no row among the attributes.
    """
    writers = {"entries": partial(_write_table, entries)}
    if attributes is None:
        return writers, None
    position = {name: row for row, name in enumerate(attributes["id"].to_pylist())}
    wanted: Sequence[str] = entries["id"].to_pylist()
    missing = next((i for i in wanted if i not in position), None)
    if missing is not None:
        raise VidsimError(f"{missing!r} has no row among the attributes; expected one for every id")
    known = attributes.take([position[i] for i in wanted]).combine_chunks()
    return {**writers, "attributes": partial(_write_table, known)}, known


def _write_table(table: pa.Table, path: Path) -> None:
    """Write a table that can be memory-mapped."""
    feather.write_feather(table, path, compression="uncompressed")


def _difference(old: pa.Table, new: pa.Table) -> tuple[Bool[ndarray, " old"], Int64[ndarray, " new"]]:
    """Tell which old rows stay, and the order of new rows in which these come first, as they stood.

    A row stays if its id and its vector are the same; its path may have changed.

    Parameters
    ----------
    old, new : pyarrow.Table
        Columns ``id`` and ``fingerprint``.

    Returns
    -------
    tuple of arrays of shape (old,) and (new,)
        Which rows stay, and rows of the new table in their order: those that stay, then the others.
    """
    place = {key: row for row, key in enumerate(zip(new["id"].to_pylist(), new[FINGERPRINT].to_pylist(), strict=True))}
    where = [place.pop(key, -1) for key in zip(old["id"].to_pylist(), old[FINGERPRINT].to_pylist(), strict=True)]
    found = np.array(where, np.int64)
    kept = found >= 0
    return kept, np.concatenate([found[kept], np.array(list(place.values()), np.int64)])
