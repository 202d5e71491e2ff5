"""``vidsim index``: a folder of videos becomes embeddings, an index, and something to search."""

from shlex import quote
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
    StimuliOption,
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
    table = report.table
    answer["index"] = None if table is None else bring_up_to_date(table, report.layer, resolved, spec, place)
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
        typer.echo(f"search it: vidsim search ID_OR_CLIP{'' if place == DEFAULT_ROOT else f' --root {quote(place)}'}")


def bring_up_to_date(
    table: "EmbeddingTable", layer: str, resolved: "Resolved", spec: "FeatureSpec", root: str
) -> dict[str, Any] | None:
    """Build the index of a layer, unless the one that is there is intact and was built from the same version.

    Parameters
    ----------
    table : EmbeddingTable
        Table to index.
    layer : str
        Its layer.
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

    provenance: dict[str, Any] = {
        "table": table.name,
        "identity": dict(table.identity),
        "spec": asdict(spec),
        "checkpoint": resolved.local,
        "revision": resolved.revision,
        "pooling": resolved.pooling,
    }
    manifest = indexes.intact(root, table.encoder, layer)
    built = False
    while manifest is None or manifest["provenance"] != {**provenance, "version": table.version}:
        # again if another process has written meanwhile: whoever ends last must have indexed everything
        embeddings, entries, version = table.snapshot(layer)
        if not len(embeddings):
            return None
        facts = {**provenance, "version": version}
        manifest = indexes.build(
            root, embeddings, entries, encoder=table.encoder, layer=layer, provenance=facts
        ).manifest
        built = True
    return {"layer": layer, "rows": manifest["rows"], "dims": manifest["dims"], "built": built}
