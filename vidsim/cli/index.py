"""``vidsim index``: a folder of videos becomes embeddings, an index, and something to search."""

from typing import TYPE_CHECKING, Any

import typer

from vidsim.cli import show
from vidsim.cli.extract import (
    AllFiles,
    BatchSize,
    CaptionsOption,
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
    Workers,
    run,
    summary,
    tell,
)
from vidsim.cli.options import (
    DEFAULT_ENCODER,
    DEFAULT_ROOT,
    Captions,
    Checkpoint,
    Device,
    Encoder,
    Json,
    Layers,
    Precision,
    Revision,
    Root,
    root_of,
)

if TYPE_CHECKING:
    from vidsim.encoders.catalog import Resolved
    from vidsim.extract import FeatureSpec
    from vidsim.store import EmbeddingTable


def index(
    source: Source,
    encoder: Encoder = DEFAULT_ENCODER,
    layers: Layers = None,
    device: Device = "auto",
    batch_size: BatchSize = None,
    workers: Workers = None,
    root: Root = DEFAULT_ROOT,
    limit: Limit = None,
    all_files: AllFiles = False,
    retry: Retry = False,
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
    json: Json = False,
) -> None:
    """Embed a folder of videos, keep every layer, and build the search index of the default layer."""
    options = dict(locals())
    as_json = options.pop("json")
    report, resolved, spec = run(**options)
    place = root_of(root)
    answer = summary(report, resolved, dims, place)
    answer["index"] = bring_up_to_date(report.table, resolved, spec, place) if report.table is not None else None
    if as_json:
        show.emit(answer)
        return
    tell(answer)
    if answer["index"] is None:
        typer.echo("no index was built: there is nothing to search")
    else:
        found = answer["index"]
        state = "built" if found["built"] else "up to date"
        typer.echo(f"index of {found['layer']}: {found['rows']} x {found['dims']}, cosine, {state}")
        typer.echo(f"search it: vidsim search ID_OR_CLIP{'' if place == DEFAULT_ROOT else f' --root {place}'}")


def bring_up_to_date(
    table: "EmbeddingTable", resolved: "Resolved", spec: "FeatureSpec", root: str
) -> dict[str, Any] | None:
    """Build the index of a table's default layer, unless the one that is there was built from the same version.

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
    dict or None
        Layer, rows, dims, and whether it was built now; None if the table is empty.
    """
    from dataclasses import asdict

    from vidsim.retrieval import index as indexes

    layer = table.default_layer
    provenance = {
        "table": table.name,
        "version": table.version,
        "identity": dict(table.identity),
        "spec": asdict(spec),
        "checkpoint": resolved.local,
        "revision": resolved.revision,
        "pooling": resolved.pooling,
    }
    manifest = indexes.read_manifest(root, table.encoder, layer)
    built = manifest is None or manifest["provenance"] != provenance
    if built:
        embeddings = table[layer]  # before the entries: another process may be adding rows
        if not len(embeddings):
            return None
        manifest = indexes.build(
            root, embeddings, table.entries(), encoder=table.encoder, layer=layer, provenance=provenance
        ).manifest
    assert manifest is not None
    return {"layer": layer, "rows": manifest["rows"], "dims": manifest["dims"], "built": built}
