"""Clips: files hashed, decoded and prepared for an encoder; one alone is embedded as ``extract`` would."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from vidsim.data.stimuli import Stimulus
from vidsim.data.video import Frames, content_hash, decoder, joint_content
from vidsim.encoders import catalog
from vidsim.encoders.base import Encoder
from vidsim.encoders.decoding import PREPARATIONS, DecodingProcesses
from vidsim.encoders.preprocess import Preprocess
from vidsim.extract.encode import encode, naming_family
from vidsim.extract.plan import file_entry, refuse_changing, used_captions
from vidsim.extract.spec import FeatureSpec
from vidsim.store import Entry

FEW = 2
"""Threads that decode as quickly as processes do."""

Item = tuple[Entry, Any]
"""What is stored of a stimulus beside its embeddings, and what an encoder takes of it."""

Read = Callable[[Path], tuple[str, Frames]]
"""Takes a file; returns the hash of its content, and its frames."""


@contextmanager
def reading(encoder: Encoder, spec: FeatureSpec, workers: int, device: str) -> Generator[Read]:
    """Choose where files are hashed and decoded: in these threads, or for a GPU in processes, so that it won't wait.

    Parameters
    ----------
    encoder : Encoder
        Prepares the frames.
    spec : FeatureSpec
        Names the decoder.
    workers : int
        Threads that read.
    device : str
        Where the encoder is.

    Yields
    ------
    Read
        Read files with it here, in as many threads as said.

    Raises
    ------
    VidsimError
        If there is no such decoder, or its package is not installed.
    """
    sampling, preprocess = encoder.card.sampling, getattr(encoder, "preprocess", None)
    several = device != "cpu" and workers > FEW
    assert sampling is not None, f"{encoder.card.name} takes frames but its card has no sampling"
    if several and isinstance(preprocess, Preprocess) and type(preprocess) in PREPARATIONS.values():
        cuda = device.startswith("cuda")
        with DecodingProcesses(spec.decoder, sampling, preprocess, pinned=cuda, unscaled=cuda) as processes:
            yield processes.read
        return
    reader = decoder(spec.decoder)

    def of_frame(frame: UInt8[ndarray, "h w 3"]) -> Any:
        with naming_family(encoder):
            return encoder.prepare(frame)

    yield lambda path: (content_hash(path), reader.decode(path, sampling.times, of_frame))


def prepare(stimulus: Stimulus, encoder: Encoder, read: Read, spec: FeatureSpec) -> Item:
    """Read a clip, and see that it stays as it is meanwhile.

    Parameters
    ----------
    stimulus : Stimulus
        With a path.
    encoder : Encoder
        Takes its frames, and its captions too if it wants both.
    read : Read
        Reads its file.
    spec : FeatureSpec
        Says which captions are used.

    Returns
    -------
    Item
        What is stored of it, and what the encoder takes.

    Raises
    ------
    UnusableFile
        If the file cannot be read or decoded, or changes meanwhile.
    VidsimError
        If the encoder's family is another package's and fails, or a process that decodes ends.
    """
    before = file_entry(stimulus)
    content, frames = read(Path(before.path))
    refuse_changing(before)
    if encoder.card.modality != "video+text":
        return replace(before, content=content, duration=frames.duration), frames.images
    captions = used_captions(stimulus, spec.captions)
    entry = replace(before, content=joint_content(content, captions), duration=frames.duration)
    return entry, (frames.images, captions)


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
    with reading(encoder, spec, 1, where) as read, able("cpu", "free some of it"):
        entry, item = prepare(Stimulus(path.name, path.resolve()), encoder, read, spec)
    vector = encode(encoder, [item], [layer], spec, where)[layer][0]
    return vector.astype(spec.dtype).astype(np.float32), entry
