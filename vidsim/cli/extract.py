"""``vidsim extract``: stimuli -> embeddings in the store."""

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidsim.cli import show
from vidsim.cli.options import (
    DEFAULT_ENCODER,
    Captions,
    Checkpoint,
    ComputePrecision,
    Device,
    Encoder,
    Json,
    Layers,
    Pooling,
    Precision,
    Revision,
    Root,
    columns_of,
    shard_of,
    workers_of,
)
from vidsim.cli.root import DEFAULT_ROOT, root_of
from vidsim.cli.stored import put_stimuli, stored_stimuli
from vidsim.errors import VidsimError
from vidsim.paths import expand, vanished

if TYPE_CHECKING:
    from vidsim.data.stimuli import StimulusSet
    from vidsim.encoders.catalog import Resolved
    from vidsim.extract import FeatureSpec, Report
    from vidsim.store import Store

Source = Annotated[
    Path | None,
    typer.Argument(
        help="A folder of videos, one video, or a CSV or Parquet table (id, path, caption, split, ratings).",
        show_default=False,
    ),
]
StimuliOption = Annotated[
    str | None,
    typer.Option(
        "--stimuli",
        help="A stimulus set in the store, such as `vidsim judgments import` leaves there: its captions, or, with a "
        "folder as SOURCE, those of its stimuli that have a video of their id there.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Stimuli per forward pass; by default 64 captions, 1 clip on a CPU, up to 32 on a GPU."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Decoding threads, or processes for a GPU; by default one per core, at most 16."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many stimuli.")]
AllFiles = Annotated[bool, typer.Option("--all-files", help="Try every file, whatever its suffix, hidden ones too.")]
Retry = Annotated[bool, typer.Option("--retry", help="Try files again that stand in the failure ledger.")]
Checksum = Annotated[
    bool,
    typer.Option(
        "--checksum", help="Read every file, also those whose size and time are as before, to see whether it changed."
    ),
]
Shard = Annotated[
    str | None, typer.Option(metavar="I/N", help="Only part I of N, so that several processes share the work.")
]
AllModules = Annotated[
    bool,
    typer.Option(
        "--all-modules",
        help="Every leaf module of the network beside the blocks, as the paper's extraction did; each is the mean over "
        "everything but its features, or with --pooling flatten all its values.",
    ),
]
PoolingOption = Annotated[
    Pooling | None, typer.Option(help="How token maps become vectors; the card's rule by default.")
]
Dims = Annotated[
    int,
    typer.Option(
        min=0, help="Layers wider than this are projected to it (sparse random projection); 0 never projects."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the projection.")]
Compute = Annotated[
    ComputePrecision,
    typer.Option(
        help="Precision of the model's matrix products; bfloat16 is quicker on GPUs, and agrees to two digits."
    ),
]
Dtype = Annotated[Precision, typer.Option(help="Precision in the store.")]
DecoderOption = Annotated[str, typer.Option("--decoder", help="pyav, or decord where it is installed.")]
CaptionsOption = Annotated[
    Captions,
    typer.Option(
        "--captions", help="For encoders that read: the mean over a stimulus's captions, or its first caption."
    ),
]


ColumnsOption = Annotated[
    str | None, typer.Option("--columns", help="What a table calls its columns, such as id=video_name,caption=text.")
]


def extract(
    source: Source = None,
    encoder: Encoder = DEFAULT_ENCODER,
    stimuli: StimuliOption = None,
    layers: Layers = None,
    all_modules: AllModules = False,
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
    compute: Compute = ComputePrecision.float32,
    decoder: DecoderOption = "pyav",
    captions: CaptionsOption = Captions.mean,
    columns: ColumnsOption = None,
    json: Json = False,
) -> None:
    """Write every layer's embeddings of the stimuli to the store, without an index."""
    options = dict(locals())
    as_json = options.pop("json")
    report, resolved, _ = run(**options)
    answer = summary(report, resolved, dims, root_of(root))
    show.emit(answer) if as_json else tell(answer)


def run(
    *,
    source: Path | None,
    encoder: str,
    stimuli: str | None,
    layers: str | None,
    all_modules: bool = False,
    device: str,
    batch_size: int | None,
    workers: int | None,
    root: str,
    limit: int | None,
    all_files: bool,
    retry: bool,
    checksum: bool,
    shard: str | None,
    checkpoint: Path | None,
    revision: str | None,
    pooling: Pooling | None,
    dims: int,
    seed: int,
    dtype: Precision,
    decoder: str,
    captions: Captions,
    columns: str | None,
    compute: ComputePrecision = ComputePrecision.float32,
) -> "tuple[Report, Resolved, FeatureSpec]":
    """Run an extraction as the options of the command line say.

    Returns
    -------
    tuple
        The report, the encoder that was found, and the feature spec.

    Raises
    ------
    VidsimError
        If an option is wrong or has no effect, or the extraction cannot be made.
    """
    from vidsim.cli.encoders import find_card, resolve
    from vidsim.cli.progress import Bar
    from vidsim.data.cells import COLUMNS
    from vidsim.encoders import catalog

    place = root_of(root)
    part = shard_of(shard)
    catalog.resolve_device_name(device)
    card = find_card(encoder, place)
    if checksum and card.modality == "text":
        raise VidsimError(f"--checksum has no effect with {card.name}, which reads captions and no files; leave it out")
    chosen = _stimuli(source, stimuli, place, all_files=all_files, columns=columns_of(columns, COLUMNS))
    resolved = resolve(
        card,
        checkpoint=os.fspath(checkpoint) if checkpoint else None,
        revision=revision,
        pooling=pooling.value if pooling else None,
    )

    from vidsim.extract import FeatureSpec
    from vidsim.extract import extract as extract_all
    from vidsim.store import Store

    store = Store(place, create=True)
    if source is not None and chosen.name:
        _keep(chosen, expand(source), store)
    if part is not None:
        chosen = chosen.shard(*part)
    if limit is not None:
        chosen = chosen.first(limit)
    spec = FeatureSpec(
        dims=dims or None,
        seed=seed,
        dtype=dtype.value,
        decoder=decoder,
        captions=captions.value,
        compute=compute.value,
    )
    with Bar() as bar:
        report = extract_all(
            chosen,
            resolved,
            store,
            spec=spec,
            layers=[name.strip() for name in layers.split(",")] if layers is not None else None,
            all_modules=all_modules,
            device=device,
            batch_size=batch_size,
            workers=workers_of(workers),
            retry=retry,
            checksum=checksum,
            progress=bar,
        )
    return report, resolved, spec


def _stimuli(
    source: Path | None, name: str | None, root: str, *, all_files: bool, columns: dict[str, str]
) -> "StimulusSet":
    """Find the stimuli: those of a source, of a named set, or of a named set that have files in the source."""
    from vidsim.data import sources

    if source is None and name is None:
        raise VidsimError("nothing to encode: give a folder, a video or a table, or --stimuli NAME")
    exclude = () if "://" in root else (Path(root, "store"), Path(root, "faiss"))
    files = None
    if source is not None:
        files = sources.from_source(expand(source), all_files=all_files, exclude=exclude, columns=columns)
    if name is None:
        assert files is not None
        return files
    named = stored_stimuli(name, root)
    return named if files is None else named.located(files)


def _keep(stimuli: "StimulusSet", path: Path, store: "Store") -> None:
    """Store a table's stimuli under its name; the same table is an update, what comes from elsewhere stays."""
    name = stimuli.name
    here = os.fsencode(path.resolve())
    there = store.stimuli.get(name)
    if there is not None:
        if there == stimuli.table():
            return
        earlier = (there.schema.metadata or {}).get(b"source")
        if earlier != here and name in store.judgments:
            raise VidsimError(
                f"{str(path)!r} would replace the stimuli of judgments {name!r} in {store.root!r} by others; rename "
                f"the table, or leave it out and give --stimuli {quote(name)}, which encodes theirs"
            )
        # a table that was moved, or of which no place is known, is told by its ids
        lives = earlier is not None and not vanished(os.fsdecode(earlier))
        if earlier != here and (lives or not set(there["id"].to_pylist()) & set(stimuli.ids)):
            of = f" from {os.fsdecode(earlier)!r}" if earlier is not None else ""
            raise VidsimError(
                f"{str(path)!r} would replace other stimuli {name!r}{of} in {store.root!r}; rename the table, or "
                "choose another --root"
            )
    put_stimuli(store, name, stimuli, here)


def summary(report: "Report", resolved: "Resolved", dims: int, root: str) -> dict[str, Any]:
    """Say in JSON-able form what an extraction did; a layer of ``dims`` dimensions was projected to them."""
    table = report.table
    return {
        "stimuli": report.stimuli,
        "encoded": report.encoded,
        "skipped": report.skipped,
        "moved": report.moved,
        "failures": len(report.failures),
        "new_failures": report.new_failures,
        "encoder": resolved.card.name,
        "revision": resolved.revision,
        "table": table.name if table is not None else None,
        "rows": len(table) if table is not None else 0,
        "layers": dict(table.layers) if table is not None else {},
        "default_layer": table.default_layer if table is not None else None,
        "projected": [name for name, width in table.layers.items() if width == dims] if table is not None else [],
        "seconds": round(report.seconds, 3),
        "root": root,
    }


def tell(answer: dict[str, Any]) -> None:
    """Say in words what an extraction did."""
    rate = f" ({answer['encoded'] / answer['seconds']:.1f} a second)" if answer["encoded"] and answer["seconds"] else ""
    typer.echo(
        f"{_counted(answer['stimuli'])}: {answer['encoded']} encoded{rate}, {answer['skipped']} already there, "
        f"{answer['moved']} moved"
    )
    if answer["table"]:
        widths = sorted(set(answer["layers"].values()))
        span = f"{widths[0]}" if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
        count = len(answer["layers"])
        typer.echo(
            f"{count} layer{'s' * (count != 1)} of {span} dimensions in table {answer['table']} under {answer['root']}"
        )
        if answer["projected"]:
            typer.echo(f"{len(answer['projected'])} of them were projected; narrower layers are stored as they are")
        else:
            typer.echo("none was wide enough to be projected; all are stored as they are")
    if answer["failures"]:
        whole = _counted(answer["failures"])
        typer.echo(f"{whole} cannot be used; why: vidsim store failures --root {quote(answer['root'])}")


def _counted(number: int) -> str:
    return "1 stimulus" if number == 1 else f"{number} stimuli"
