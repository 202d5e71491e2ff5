"""``vidsim index``: a folder of videos becomes embeddings, an index, and something to search."""

import os
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vidsim.cli import show
from vidsim.cli.extract import (
    AllFiles,
    BatchSize,
    CaptionsOption,
    Checksum,
    ColumnsOption,
    DecoderOption,
    Dims,
    Dtype,
    Limit,
    PoolingOption,
    Retry,
    Seed,
    Shard,
    Source,
    StimuliOption,
    Workers,
    run,
    summary,
    tell,
)
from vidsim.cli.options import (
    DEFAULT_ENCODER,
    Captions,
    Checkpoint,
    Device,
    Encoder,
    Json,
    Layers,
    Precision,
    Revision,
    Root,
)
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.errors import VidsimError
from vidsim.paths import root_option

if TYPE_CHECKING:
    import pyarrow as pa

    from vidsim.encoders.catalog import Resolved
    from vidsim.extract import FeatureSpec
    from vidsim.retrieval.altered import Altered
    from vidsim.retrieval.indexes import Kind
    from vidsim.store import EmbeddingTable, Store


SHOWN = ("nprobe", "refine", "efSearch")
"""Parameters of a search that people are told."""


class IndexKind(StrEnum):
    """Kind of search index."""

    auto = "auto"
    flat = "flat"
    ivf_flat = "ivf-flat"
    ivf_pq = "ivf-pq"
    hnsw = "hnsw"
    lancedb = "lancedb"


KindOption = Annotated[
    IndexKind | None,
    typer.Option(
        "--kind",
        help="Kind of index: by size (auto), or as named. By default what it was, or by size. lancedb searches in the "
        "store, for sets larger than memory.",
    ),
]
MinRecall = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Least recall@10 against exact search; the search is made as thorough as it takes. By default what was "
        "asked before, or 0.95.",
    ),
]
Refresh = Annotated[
    bool,
    typer.Option(
        "--refresh", help="Encode nothing: bring every index, or those of --encoder, up to date with the store."
    ),
]


REFRESHING = frozenset({"encoder", "root", "kind", "min_recall", "refresh", "json"})
"""Options that refreshing reads."""


def index(
    source: Source = None,
    encoder: Encoder = DEFAULT_ENCODER,
    stimuli: StimuliOption = None,
    layers: Layers = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    workers: Workers = None,
    root: Root = DEFAULT_ROOT,
    limit: Limit = None,
    all_files: AllFiles = False,
    retry: Retry = False,
    checksum: Checksum = False,
    shard: Shard = None,
    checkpoint: Checkpoint = None,
    revision: Revision = None,
    pooling: PoolingOption = None,
    dims: Dims = 4732,
    seed: Seed = 0,
    dtype: Dtype = Precision.float32,
    decoder: DecoderOption = "pyav",
    captions: CaptionsOption = Captions.mean,
    columns: ColumnsOption = None,
    kind: KindOption = None,
    min_recall: MinRecall = None,
    refresh: Refresh = False,
    json: Json = False,
) -> None:
    """Embed a folder of videos, keep every layer, and build the search index of the default layer."""
    options = dict(locals())
    for name in ("json", "kind", "min_recall", "refresh"):
        options.pop(name)
    how: dict[str, Any] = {"kind": kind.value if kind else None, "min_recall": min_recall}
    place = root_of(root)
    if refresh:
        given = _given()
        idle = [label for name, label in given.items() if name not in REFRESHING]
        if idle:
            raise VidsimError(
                f"--refresh encodes nothing: leave it out, or what has no effect with it: {', '.join(idle)}"
            )
        _refresh(place, encoder if "encoder" in given else None, as_json=json, **how)
        return
    report, resolved, spec = run(**options)
    answer = summary(report, resolved, dims, place)
    table = report.table
    answer["index"] = None
    if table is not None:
        answer["index"] = bring_up_to_date(table, report.layer, provenance(table, resolved, spec, place), place, **how)
    if json:
        show.emit(answer)
        return
    tell(answer)
    if answer["index"] is None:
        typer.echo("no index was built: there is nothing to search")
    else:
        _tell_index(answer["index"], answer["encoder"], place, named=False)
        typer.echo(f"search it: vidsim search ID_OR_CLIP{root_option(place)}")


def _given() -> dict[str, str]:
    """Map the parameters that the user gave to what they are called on the command line."""
    # as a parameter, typer.Context would not be the class of what is passed
    from typer.main import get_current_context  # pyright: ignore[reportPrivateImportUsage]

    context = get_current_context()
    return {
        one.name: next((word for word in one.opts if word.startswith("--")), one.name.upper())
        for one in context.command.params
        if one.name and (source := context.get_parameter_source(one.name)) and source.name == "COMMANDLINE"
    }


def provenance(table: "EmbeddingTable", resolved: "Resolved", spec: "FeatureSpec", root: str) -> dict[str, Any]:
    """Say where an index's embeddings come from.

    Parameters
    ----------
    table : EmbeddingTable
        Table to index.
    resolved : Resolved
        Its encoder.
    spec : FeatureSpec
        Its feature spec.
    root : str
        Artefact root.

    Returns
    -------
    dict
        JSON-able: ``table``, ``identity``, ``spec``, ``checkpoint``, ``revision``, ``pooling``, and of an adapter
        ``adapter``, the SHA-256 of its files.
    """
    from dataclasses import asdict

    from vidsim.retrieval.freshness import adapter_files

    made = {
        "table": table.name,
        "identity": dict(table.identity),
        "spec": asdict(spec),
        "checkpoint": resolved.local,
        "revision": resolved.revision,
        "pooling": resolved.pooling,
    }
    files = adapter_files(root, table.encoder) if "adapter" in resolved.card.options else None
    return made if files is None else {**made, "adapter": files}


def bring_up_to_date(
    table: "EmbeddingTable",
    layer: str,
    made: Mapping[str, Any],
    root: str,
    *,
    kind: str | None,
    min_recall: float | None,
) -> dict[str, Any] | None:
    """Build the index of a layer or refresh it, unless it is intact and was built from what the store holds now.

    Parameters
    ----------
    table : EmbeddingTable
        Table to index.
    layer : str
        Its layer.
    made : mapping
        As `provenance` gives it.
    root : str
        Artefact root.
    kind : str or None
        Kind of index; what was asked before where None, or by size.
    min_recall : float or None
        Least recall@10; what was asked before where None, or 0.95.

    Returns
    -------
    dict or None
        Layer, rows, dims, kind, recall, what of it was done now, how many were left out since their files are gone, of
        how many the files have changed; None if nothing is left to index.
    """
    from vidsim.retrieval import indexes
    from vidsim.retrieval.altered import Altered, altered
    from vidsim.retrieval.manifest import intact, manifest_or_none
    from vidsim.store import Store

    store = Store(root)
    of_files = "decoder" in made.get("identity", {}).get("features", {})
    manifest = before = manifest_or_none(root, table.encoder, layer)  # what was asked outlives damaged files
    asked = kind or (before["asked"] if before else "auto")
    least = min_recall if min_recall is not None else before["min_recall"] if before else indexes.MIN_RECALL
    done = "up to date"
    while True:
        # again if another process has written meanwhile: whoever ends last must have indexed everything
        version, entries = table.version, table.entries()
        files = altered(entries) if of_files else Altered()
        left = files.gone
        facts = {
            **made,
            "attributes": _hash_of_known(store, entries),
            **({"gone": _hash(sorted(left))} if left else {}),
        }
        if manifest is not None and _fits(manifest, asked, least, {**facts, "version": version}):
            if manifest is not before or intact(root, table.encoder, layer) is not None:
                return _describe(manifest, done, files)
            manifest = None  # damaged
        if entries.num_rows == len(left):
            return None
        _warn_of_memory(len(table), table.layers[layer], asked)
        manifest, done = _build(root, store, table, layer, facts, left, manifest, asked, least)


def _fits(manifest: Mapping[str, Any], asked: str, least: float, facts: Mapping[str, Any]) -> bool:
    """Tell whether an index is of the kind, as thorough and of the embeddings that are asked for."""
    return manifest["asked"] == asked and manifest["recall"]["recall"] >= least and manifest["provenance"] == facts


def _build(
    root: str,
    store: "Store",
    table: "EmbeddingTable",
    layer: str,
    facts: Mapping[str, Any],
    left: Collection[str],
    earlier: Mapping[str, Any] | None,
    asked: str,
    least: float,
) -> tuple[Mapping[str, Any], str]:
    """Build or refresh an index from what the store holds now, without the stimuli that are left out.

    Returns
    -------
    tuple of mapping and str
        Its manifest, and what was done.
    """
    if asked == "lancedb":
        from vidsim.retrieval import stored

        again = earlier is None or earlier["kind"] != asked
        found = stored.build(
            root,
            table,
            layer,
            provenance=facts,
            min_recall=least,
            attributes=partial(_known, store),
            again=again,
            without=left,
        )
        return found.manifest, "built" if again else "refreshed"
    from vidsim.retrieval import indexes

    embeddings, entries, version = table.snapshot(layer)
    if left:
        embeddings = embeddings.take([name for name in embeddings.ids if name not in left])
    found, done = indexes.refresh(
        root,
        embeddings,
        entries,
        encoder=table.encoder,
        layer=layer,
        provenance={**facts, "version": version},
        kind=cast("Kind", asked),
        min_recall=least,
        attributes=_known(store, entries),
    )
    return found.manifest, done


def _describe(manifest: Mapping[str, Any], done: str, files: "Altered") -> dict[str, Any]:
    return {
        "layer": manifest["layer"],
        **{name: manifest[name] for name in ("rows", "dims", "kind", "recall", "parameters", "left_out")},
        "built": done != "up to date",
        "done": done,
        **({"gone": len(files.gone)} if files.gone else {}),
        **({"changed": files.changed} if files.changed else {}),
        **({"change": manifest["change"]} if done == "refreshed" and "change" in manifest else {}),
    }


def _refresh(root: str, encoder: str | None, *, kind: str | None, min_recall: float | None, as_json: bool) -> None:
    from vidsim.retrieval.manifest import built, read_manifest, shape_of
    from vidsim.store import Store
    from vidsim.store.missing import nearest

    store = Store(root)
    there = [(e, layer) for e, layer in built(root) if encoder in {None, e}]
    if not there:
        of = f" of {encoder!r}" if encoder else ""
        known = nearest(encoder, dict.fromkeys(e for e, _ in built(root))) if encoder else ""
        raise VidsimError(f"no index{of} in {root!r} to refresh{known}; build one: vidsim index FOLDER")
    for name, layer in there:
        manifest = read_manifest(root, name, layer)
        if manifest is None:  # deleted meanwhile
            continue
        made = shape_of(manifest["provenance"])
        table = next((t for t in store.tables(name) if t.name == made["table"]), None)
        if table is None:
            raise VidsimError(
                f"the index of {name} {layer} was built from table {made['table']!r}, which is no longer in {root!r}; "
                f"build it again: vidsim index FOLDER --encoder {name}"
            )
        answer = bring_up_to_date(table, layer, made, root, kind=kind, min_recall=min_recall)
        if answer is None:
            raise VidsimError(
                f"table {made['table']!r} is empty, or all its files are gone: nothing is left to search; "
                "delete its index"
            )
        if as_json:
            show.emit({"encoder": name, **answer})
        else:
            _tell_index(answer, name, root, named=True)


def _tell_index(found: dict[str, Any], encoder: str, root: str, *, named: bool) -> None:
    recall = found["recall"]
    exact = "exact" if found["kind"] == "flat" else f"recall@{recall['at']} {recall['recall']:.3f}"
    settings = ", ".join(f"{key} {value}" for key, value in found["parameters"].items() if key in SHOWN)
    typer.echo(
        f"index of {f'{encoder} ' * named}{found['layer']}: {found['rows']} x {found['dims']}, cosine, "
        f"{found['kind']}, {exact}{f' ({settings})' * bool(settings)}, {found['done']}{_changes(found)}"
    )
    if found["left_out"]:
        typer.echo(f"left out, as their embeddings are zero and have no direction: {found['left_out']}")
    if "gone" in found:
        typer.echo(f"left out, as their files are gone (the store keeps their embeddings): {found['gone']}")
    if "changed" in found:
        typer.echo(
            f"files whose size or time has changed since they were embedded: {found['changed']}; embed what changed: "
            f"vidsim index FOLDER --encoder {encoder}{root_option(root)}"
        )


def _changes(found: dict[str, Any]) -> str:
    change = {what: count for what, count in found.get("change", {}).items() if count}
    return f": {', '.join(f'{count} {what}' for what, count in change.items())}" if change else ""


def _known(store: "Store", entries: "pa.Table") -> "pa.Table":
    """Return what the store knows of the stimuli of a table."""
    from vidsim.retrieval.attributes import gather

    return gather(store, entries["id"].to_pylist(), entries)


def _hash_of_known(store: "Store", entries: "pa.Table") -> str:
    """Hash what the store knows of the stimuli of a table, whatever their order."""
    known = _known(store, entries).sort_by("id")
    return _hash((name, column.to_pylist()) for name, column in zip(known.column_names, known.columns, strict=True))


def _hash(parts: Iterable[object]) -> str:
    from hashlib import sha256

    digest = sha256()
    for part in parts:
        digest.update(repr(part).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _warn_of_memory(rows: int, dims: int, kind: str) -> None:
    """Say that the vectors do not fit into memory, where they do not."""
    needed = 8 * rows * dims  # as the store has them, and scaled
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return
    if kind != "lancedb" and needed > there:
        typer.echo(
            f"vidsim: {rows} x {dims} vectors take about {needed / 1e9:.0f} GB while they are indexed and there are "
            f"{there / 1e9:.0f} GB of memory; --kind lancedb searches them in the store",
            err=True,
        )
