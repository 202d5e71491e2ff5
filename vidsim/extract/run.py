"""Running an extraction: prepare clips while the model computes, project in its hooks, commit in batches."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, runtime_checkable

from vidsim.data.stimuli import StimulusSet
from vidsim.encoders import catalog
from vidsim.encoders.base import Encoder, EncoderCard
from vidsim.errors import VidsimError
from vidsim.extract.batches import batches
from vidsim.extract.encode import batch_size_for, encode
from vidsim.extract.ledger import mendable, settle
from vidsim.extract.plan import plan
from vidsim.extract.spec import FeatureSpec
from vidsim.extract.writer import Writer
from vidsim.store import EmbeddingTable, Failure, Store
from vidsim.store.schema import digest

log = logging.getLogger(__name__)


@runtime_checkable
class Progress(Protocol):
    """What an extraction tells while it runs."""

    def begin(self, total: int, what: str) -> None:
        """Say how many stimuli are to be encoded, and with what."""
        ...

    def advance(self, encoded: int, failed: int) -> None:
        """Say how many stimuli have been encoded and have failed so far."""
        ...


class Quiet:
    """Progress that nobody watches."""

    def begin(self, total: int, what: str) -> None:
        """Take note of nothing."""

    def advance(self, encoded: int, failed: int) -> None:
        """Take note of nothing."""


@dataclass(frozen=True)
class Report:
    """Say what an extraction did.

    Parameters
    ----------
    table : EmbeddingTable or None
        The table written or found; None if no stimulus could be encoded and there was no table before.
    layer : str
        Layer to index: the card's default, or the last of those asked for.
    encoded, skipped, moved : int
        Stimuli encoded now, found done, and recognised under a new path.
    failures : tuple of Failure
        Every asked-for file that cannot be used, from this run and earlier ones.
    new_failures : int
        How many of them were met in this run.
    seconds : float
        Wall time.
    """

    table: EmbeddingTable | None
    layer: str
    encoded: int
    skipped: int
    moved: int
    failures: tuple[Failure, ...]
    new_failures: int
    seconds: float

    @property
    def stimuli(self) -> int:
        """Count the asked-for stimuli that have embeddings now."""
        return self.encoded + self.skipped + self.moved


def extract(
    stimuli: StimulusSet,
    resolved: catalog.Resolved,
    store: Store,
    *,
    spec: FeatureSpec | None = None,
    layers: Sequence[str] | None = None,
    all_modules: bool = False,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int = 2,
    retry: bool = False,
    checksum: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Bring the embeddings of every stimulus into the store.

    Stimuli that are there already are passed over, moved files keep their embeddings, unusable files go to the failure
    ledger. May be killed at any moment and run again.

    Parameters
    ----------
    stimuli : StimulusSet
        What to encode.
    resolved : Resolved
        Encoder whose files have been found.
    store : Store
        Where to write.
    spec : FeatureSpec, optional
        Projection, precision, decoder, use of captions.
    layers : sequence of str, optional
        Layers to store; all of the card by default.
    all_modules : bool
        Store every leaf module of the network beside the card's layers, as the paper's extraction did. What they are
        takes the weights to tell, so these are loaded even if every stimulus is done.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
    batch_size : int, optional
        Stimuli per forward pass, at least 1; by default as `batch_size_for` says.
    workers : int
        Decoding threads, at least 1; beside a GPU each has a process of its own, from three on.
    retry : bool
        Try files again that failed before.
    checksum : bool
        Read every file, also those whose size and modification time are as before, to see whether it changed.
    progress : Progress, optional
        Told how it goes.

    Returns
    -------
    Report
        What was done.

    Raises
    ------
    VidsimError
        If the encoder cannot be loaded, a layer is unknown, or the store cannot be written. What was committed stays.
    """
    start = time.perf_counter()
    spec = spec or FeatureSpec()
    card = resolved.card
    encoder, wanted = (
        _every_module(resolved, layers, device) if all_modules else (None, catalog.select_layers(card, layers))
    )
    _refuse_half_precision(spec, card)
    identity = spec.identity(resolved.identity, card.modality)
    table = store.table(card.name, identity, wanted)
    layer = card.default_layer if card.default_layer in wanted else wanted[-1]
    if table is not None:
        wanted = tuple(table.layers)  # rows are written whole
    # what cannot be stored of one feature spec may well be of another, or by mended weights
    unstorable = f"{card.name}.{digest(identity, wanted)}"
    scopes = [unstorable] if card.modality == "text" else [spec.decoder, unstorable]
    known = list(store.failures)
    todo = plan(
        stimuli,
        table.entries() if table is not None else None,
        known,
        scopes=scopes,
        modality=card.modality,
        captions=spec.captions,
        retry=retry,
        checksum=checksum,
        workers=workers,
    )
    log.info("%d done, %d moved, %d to encode", len(todo.done), len(todo.copies), len(todo.todo))
    if table is not None:
        for remove in (False, True):
            pairs = [(source, entry) for source, entry, gone in todo.copies if gone is remove]
            if pairs:
                table.copy(pairs, remove_sources=remove)
    known = [failure for failure in known if mendable(failure, scopes, card)]
    settle(store, table, todo, known)
    progress = progress or Quiet()
    encoded, failed = 0, []
    if todo.todo:
        where = catalog.resolve_device(device)
        encoder = encoder or catalog.load(resolved, device=where)
        size = batch_size or batch_size_for(card, where)
        create = partial(
            store.create,
            card.name,
            identity,
            default_layer=layer,
            dtype=spec.dtype,
            versions=library_versions(),
            provenance=dict(encoder.provenance),
        )
        writer = Writer(
            store,
            table,
            create,
            origin=f"{card.name} from {str(resolved.folder)!r}" if resolved.folder else card.name,
            dtype=spec.dtype,
            scope=unstorable,
            known_failures=known,
        )
        progress.begin(len(todo.todo), card.name)
        with writer:
            for batch, failures in batches(todo.todo, encoder, spec, size, workers, where):
                if batch:
                    vectors = encode(encoder, [item for _, item in batch], wanted, spec, where)
                    writer.add([entry for entry, _ in batch], vectors)
                for failure in failures:
                    log.info("%s: %s", failure.kind, failure.reason)
                writer.fail(failures)
                progress.advance(writer.written, len(writer.failed))
        table, encoded, failed = writer.table, writer.written, writer.failed
    return Report(
        table,
        layer,
        encoded,
        len(todo.done),
        len(todo.copies),
        (*todo.known_failures, *todo.new_failures, *failed),
        len(todo.new_failures) + len(failed),
        time.perf_counter() - start,
    )


def _every_module(
    resolved: catalog.Resolved, layers: Sequence[str] | None, device: str
) -> tuple[Encoder, tuple[str, ...]]:
    """Load an encoder to tell its leaf modules."""
    from vidsim.encoders.leaves import all_layers  # imports torch
    from vidsim.encoders.machine import able

    if layers is not None:
        raise VidsimError("either some layers or every module: leave --layers or --all-modules out")
    where = catalog.resolve_device(device)
    encoder = catalog.load(resolved, device=where)
    with able(where, "give another --device"):
        return encoder, all_layers(encoder)


def _refuse_half_precision(spec: FeatureSpec, card: EncoderCard) -> None:
    if spec.compute != "float32" and card.checkpoint is None:
        raise VidsimError(f"{card.name} has no weights and computes in float32 alone, not in {spec.compute}")


def library_versions() -> Mapping[str, str]:
    """Return the versions of the libraries that shape embeddings, for provenance."""
    found = {"vidsim": version("vidsim")}
    for name in (
        *("torch", "transformers", "sentence-transformers", "peft", "accelerate"),
        *("av", "pillow", "decord2", "numpy", "lancedb"),
    ):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
