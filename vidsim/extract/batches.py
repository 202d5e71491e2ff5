"""Batches: stimuli prepared ahead, in threads, while a model computes."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from vidsim.data.stimuli import Stimulus
from vidsim.data.video import content_hash
from vidsim.encoders.base import Encoder
from vidsim.errors import UnusableFile
from vidsim.extract.clip import Item, Read, prepare, reading
from vidsim.extract.plan import caption_entry, file_entry
from vidsim.extract.spec import FeatureSpec
from vidsim.extract.threads import decoding_threads
from vidsim.store import Entry, Failure


def batches(
    stimuli: Sequence[Stimulus], encoder: Encoder, spec: FeatureSpec, batch_size: int, workers: int, device: str
) -> Iterator[tuple[list[Item], list[Failure]]]:
    """Yield batches in the order of the stimuli, with the files that failed on the way.

    Parameters
    ----------
    stimuli : sequence of Stimulus
        What is to be encoded.
    encoder : Encoder
        What it is prepared for.
    spec : FeatureSpec
        Decoder, and use of captions.
    batch_size : int
        Stimuli of a batch, at least 1; after as many failures there may be fewer, or none.
    workers : int
        Threads that prepare, at least 1.
    device : str
        Where the encoder is.

    Yields
    ------
    tuple of list of Item and list of Failure
        The batch, and what failed since the one before.

    Raises
    ------
    VidsimError
        If memory does not suffice, there is no such decoder, a process that decodes ends, or the encoder's family is
        another package's and fails.
    """
    prepared = (
        _captioned(stimuli, spec)
        if encoder.card.modality == "text"
        else _decoded(stimuli, encoder, spec, batch_size, workers, device)
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
    # one batch in the model, one ready, and one clip in each thread: memory does not grow with the number of clips
    ahead = 2 * batch_size + workers
    waiting = iter(stimuli)
    with reading(encoder, spec, workers, device) as read, decoding_threads(workers) as pool:
        job = partial(_outcome, encoder=encoder, read=read, spec=spec)
        pending: deque[Future[Item | Failure]] = deque(pool.submit(job, s) for s in islice(waiting, ahead))
        while pending:
            outcome = pending.popleft().result()
            pending.extend(pool.submit(job, s) for s in islice(waiting, 1))
            yield outcome


def _outcome(stimulus: Stimulus, encoder: Encoder, read: Read, spec: FeatureSpec) -> Item | Failure:
    """Prepare a clip, or say why it cannot be used."""
    from vidsim.encoders.machine import FEWER, able  # imports torch

    try:
        with able("cpu", FEWER):
            return prepare(stimulus, encoder, read, spec)
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
