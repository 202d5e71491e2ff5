"""One batch through an encoder: its layers, projected as a spec has it, at the spec's precision."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from numpy import ndarray

from vidsim.encoders.base import Encoder, EncoderCard
from vidsim.encoders.preprocess import Preprocess
from vidsim.errors import VidsimError
from vidsim.extract.spec import FeatureSpec

if TYPE_CHECKING:
    from torch import Tensor

PIXELS = 2**24
"""Of the clips that go through a GPU at a time: 32 of 8 frames of 224 pixels a side have 13 million."""


def encode(
    encoder: Encoder, items: Sequence[Any], layers: Sequence[str], spec: FeatureSpec, device: str
) -> dict[str, ndarray]:
    """Encode a batch.

    Parameters
    ----------
    encoder : Encoder
        Loaded.
    items : sequence
        What the encoder takes: prepared frames, captions, or both; or frames as decoded (`stack_prepared`).
    layers : sequence of str
        Layers wanted.
    spec : FeatureSpec
        Projection and precision.
    device : str
        Where the encoder is.

    Returns
    -------
    dict of str to array of shape (b, d)
        By layer.

    Raises
    ------
    VidsimError
        If the memory of the device does not suffice, or the encoder's family is another package's and fails or gives
        something else.
    """
    import torch

    from vidsim.encoders.machine import able  # imports torch
    from vidsim.encoders.scaling import stack_prepared
    from vidsim.encoders.transfer import to_device

    batch: Any = items
    with able(device, f"use a --batch-size below {len(items)}" if len(items) > 1 else "give another --device"):
        preprocess = getattr(encoder, "preprocess", None)
        if isinstance(preprocess, Preprocess):
            batch = stack_prepared(items, preprocess, device)
        elif "text" not in encoder.card.modality:
            batch = torch.stack([to_device(item, device) for item in items])
        with naming_family(encoder), computing(spec, device):
            found = encoder.encode(batch, layers, reducer(spec))
    _refuse_other_shapes(found, encoder, layers, len(items))
    return found


@contextmanager
def naming_family(encoder: Encoder) -> Generator[None]:
    """Name the family of another package where it fails; what fails here is a bug, and comes as it is.

    Parameters
    ----------
    encoder : Encoder
        Which is asked for something within this.

    Yields
    ------
    None
        Ask it here.

    Raises
    ------
    VidsimError
        In place of what the family raises, but for errors of memory.
    """
    import torch

    try:
        yield
    except Exception as error:
        own = type(encoder).__module__.partition(".")[0] == "vidsim"
        if own or isinstance(error, VidsimError | MemoryError | torch.OutOfMemoryError):
            raise
        raise VidsimError(f"{_family(encoder)} has failed: {type(error).__name__}: {error}") from error


def _family(encoder: Encoder) -> str:
    return f"the family {encoder.card.family!r} of {encoder.card.name}"


def _refuse_other_shapes(found: Any, encoder: Encoder, layers: Sequence[str], stimuli: int) -> None:
    """Refuse what the family of another package may return."""
    for layer in layers:
        rows = found.get(layer) if isinstance(found, Mapping) else None
        if not isinstance(rows, ndarray) or rows.ndim != 2 or len(rows) != stimuli:
            what = f"an array of shape {rows.shape}" if isinstance(rows, ndarray) else f"a {type(rows).__name__}"
            raise VidsimError(
                f"{_family(encoder)} has returned {what} for layer {layer!r}; expected an array with a row for each of "
                f"{stimuli} stimuli"
            )


def batch_size_for(card: EncoderCard, device: str) -> int:
    """Return how many stimuli go through a model at a time where nobody says.

    Parameters
    ----------
    card : EncoderCard
        What the encoder takes.
    device : str
        Where it is.

    Returns
    -------
    int
        64 captions. On a CPU 1 clip: more is slower (measured with TimeSformer: 2.4 s a clip alone, 2.8 s among eight)
        and takes more memory. On a GPU as many as have `PIXELS`, 32 at most: with few, it waits for the processor.
    """
    if card.modality == "text":
        return 64
    if device == "cpu":
        return 1
    if card.sampling is None or card.size is None:
        return 8
    return min(32, max(1, PIXELS // (card.sampling.frames * card.size**2)))


@contextmanager
def computing(spec: FeatureSpec, device: str) -> Generator[None]:
    """Compute at the precision of a spec."""
    import torch

    with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=spec.compute == "bfloat16"):
        yield


def reducer(spec: FeatureSpec) -> "Callable[[str, Tensor], Tensor]":
    """Return the projection that a spec asks for, as encoders take it: from a layer's name and features."""

    def reduce(_layer: str, features: "Tensor") -> "Tensor":
        from vidsim.projection import projection

        matrix = None if spec.dims is None else projection(features.shape[-1], spec.dims, spec.seed)
        return features if matrix is None else matrix.project(features)

    return reduce
