"""Running an extraction: decode in threads while the model computes, project in its hooks, commit in batches."""

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.data.video import Frames, content_hash, decoder, file_content, joint_content
from vidsim.encoders import catalog
from vidsim.encoders.base import Encoder, EncoderCard
from vidsim.encoders.decoding import PREPARATIONS, DecodingProcesses
from vidsim.encoders.preprocess import Preprocess
from vidsim.errors import UnusableFile, VidsimError
from vidsim.extract.encode import batch_size_for, encode, naming_family
from vidsim.extract.plan import FILES, NO_CAPTION, Plan, caption_entry, file_entry, plan, used_captions
from vidsim.extract.spec import FeatureSpec
from vidsim.extract.writer import Writer
from vidsim.store import EmbeddingTable, Entry, Failure, Store
from vidsim.store.schema import digest

FEW = 2
"""Threads that decode as quickly as processes do."""

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
        workers=workers,
    )
    log.info("%d done, %d moved, %d to encode", len(todo.done), len(todo.copies), len(todo.todo))
    if table is not None:
        for remove in (False, True):
            pairs = [(source, entry) for source, entry, gone in todo.copies if gone is remove]
            if pairs:
                table.copy(pairs, remove_sources=remove)
    known = [failure for failure in known if _mendable(failure, scopes, card)]
    _settle(store, table, todo, known)
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
            for batch, failures in _batches(todo, encoder, spec, size, workers, where):
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


def _mendable(failure: Failure, scopes: Sequence[str], card: EncoderCard) -> bool:
    """Tell whether a success mends a failure: it says nothing of other encoders, nor that of captions of files."""
    if failure.scope != FILES:
        return failure.scope in scopes
    return not failure.id or (failure.kind == NO_CAPTION) == (card.modality == "text")


def _settle(store: Store, table: EmbeddingTable | None, todo: Plan, known: Sequence[Failure]) -> None:
    """Bring ledger and table in line with what the plan has found: new failures, mended ones, and rows out of date."""
    if todo.new_failures:
        store.failures.record(todo.new_failures)
    fine = {*todo.done, *(entry.id for _, entry, _ in todo.copies)}
    paths = {entry.path for _, entry, _ in todo.copies}
    failing = {f.path for f in (*todo.known_failures, *todo.new_failures)}
    mended = [
        f
        for f in known
        if f.path not in failing
        and (f.id in fine or f.path in paths or (not f.id and os.access(f.path, os.R_OK | os.X_OK)))
    ]
    if mended:
        store.failures.forget(mended)
    if table is not None and failing:
        entries = table.entries()
        rows = zip(*(entries[column].to_pylist() for column in ("id", "path", "content")), strict=True)
        contents = {f.path: f.content for f in (*todo.known_failures, *todo.new_failures) if f.content}
        stale = [
            name
            for name, path, content in rows
            if (key := path or name) in contents and file_content(contents[key]) != file_content(str(content))
        ]
        if stale:
            table.delete(stale)


def embed_file(
    path: Path, resolved: catalog.Resolved, spec: FeatureSpec, layer: str, device: str = "auto"
) -> tuple[Float[ndarray, " d"], Entry]:
    """Encode one clip as ``extract`` would, without storing it.

    Parameters
    ----------
    path : Path
        A video file.
    resolved : Resolved
        Encoder whose files have been found.
    spec : FeatureSpec
        Spec with which the compared embeddings were made.
    layer : str
        Layer to return.
    device : str
        Where to compute.

    Returns
    -------
    tuple of array of shape (d,) and Entry
        The embedding, rounded to the store's precision, and what would be stored of the file.

    Raises
    ------
    VidsimError
        If the clip or the encoder cannot be used.
    """
    from vidsim.encoders.machine import able  # imports torch

    where = catalog.resolve_device(device)
    encoder = catalog.load(resolved, device=where)
    with _reading(encoder, spec, 1, where) as read, able("cpu", "free some of it"):
        entry, item = _prepare(Stimulus(path.name, path.resolve()), encoder, read, spec)
    vector = encode(encoder, [item], [layer], spec, where)[layer][0]
    return vector.astype(spec.dtype).astype(np.float32), entry


Item = tuple[Entry, Any]
Read = Callable[[Path], tuple[str, Frames]]
"""Takes a file; returns the hash of its content, and its frames."""


def _batches(
    todo: Plan, encoder: Encoder, spec: FeatureSpec, batch_size: int, workers: int, device: str
) -> Iterator[tuple[list[Item], list[Failure]]]:
    """Yield batches in the order of the plan, with the files that failed on the way."""
    prepared = (
        _captioned(todo.todo, spec)
        if encoder.card.modality == "text"
        else _decoded(todo.todo, encoder, spec, batch_size, workers, device)
    )
    batch: list[Item] = []
    failures: list[Failure] = []
    for outcome in prepared:
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            batch.append(outcome)
        if len(batch) == batch_size or len(failures) >= batch_size:
            yield batch, failures
            batch, failures = [], []
    if batch or failures:
        yield batch, failures


def _captioned(stimuli: Sequence[Stimulus], spec: FeatureSpec) -> Iterator[Item | Failure]:
    for stimulus in stimuli:
        yield caption_entry(stimulus, spec.captions)


def _decoded(
    stimuli: Sequence[Stimulus], encoder: Encoder, spec: FeatureSpec, batch_size: int, workers: int, device: str
) -> Iterator[Item | Failure]:
    import torch

    # one batch in the model, one ready, and one clip in each thread: memory does not grow with the number of clips
    ahead = 2 * batch_size + workers
    waiting = iter(stimuli)
    threads = torch.get_num_threads()
    with _reading(encoder, spec, workers, device) as read:
        job = partial(_outcome, encoder=encoder, read=read, spec=spec)
        pool = ThreadPoolExecutor(workers, "decode", initializer=torch.set_num_threads, initargs=(1,))
        try:
            pending: deque[Future[Item | Failure]] = deque(pool.submit(job, s) for s in islice(waiting, ahead))
            while pending:
                outcome = pending.popleft().result()
                pending.extend(pool.submit(job, s) for s in islice(waiting, 1))
                yield outcome
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # the decoding threads have set what later threads begin with


@contextmanager
def _reading(encoder: Encoder, spec: FeatureSpec, workers: int, device: str) -> Generator[Read]:
    """Choose where files are hashed and decoded: in these threads, or for a GPU in processes, so that it won't wait."""
    sampling, preprocess = encoder.card.sampling, getattr(encoder, "preprocess", None)
    several = device != "cpu" and workers > FEW
    assert sampling is not None, f"{encoder.card.name} takes frames but its card has no sampling"
    if several and isinstance(preprocess, Preprocess) and type(preprocess) in PREPARATIONS.values():
        cuda = device.startswith("cuda")
        with DecodingProcesses(spec.decoder, sampling, preprocess, pinned=cuda, unscaled=cuda) as processes:
            yield processes.read
        return
    reader = decoder(spec.decoder)

    def prepare(frame: UInt8[ndarray, "h w 3"]) -> Any:
        with naming_family(encoder):
            return encoder.prepare(frame)

    yield lambda path: (content_hash(path), reader.decode(path, sampling.times, prepare))


def _outcome(stimulus: Stimulus, encoder: Encoder, read: Read, spec: FeatureSpec) -> Item | Failure:
    """Prepare a clip, or say why it cannot be used."""
    from vidsim.encoders.machine import FEWER, able  # imports torch

    try:
        with able("cpu", FEWER):
            return _prepare(stimulus, encoder, read, spec)
    except UnusableFile as error:
        try:
            entry = file_entry(stimulus)
            entry = replace(entry, content=content_hash(Path(entry.path)))
        except UnusableFile:
            entry = Entry(stimulus.id, stimulus.path.as_posix() if stimulus.path else stimulus.id, "")
        return Failure(
            path=entry.path,
            id=entry.id,
            content=entry.content,
            size=entry.size,
            mtime_ns=entry.mtime_ns,
            scope=spec.decoder,
            kind=error.kind,
            reason=error.reason,
        )


def _prepare(stimulus: Stimulus, encoder: Encoder, read: Read, spec: FeatureSpec) -> Item:
    before = file_entry(stimulus)
    path = Path(before.path)
    content, frames = read(path)
    after = file_entry(stimulus)
    if (before.size, before.mtime_ns) != (after.size, after.mtime_ns):
        raise UnusableFile("changing", f"{before.path!r} changed while it was read; run again when it is complete")
    if encoder.card.modality != "video+text":
        return replace(before, content=content, duration=frames.duration), frames.images
    captions = used_captions(stimulus, spec.captions)
    entry = replace(before, content=joint_content(content, captions), duration=frames.duration)
    return entry, (frames.images, captions)


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
