"""What an encoder is: a card of weightless facts, and a protocol to run it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from vidsim.errors import VidsimError

# listing models imports this file: numpy and jaxtyping would take most of its time
if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray
    from torch import Tensor

Modality = Literal["video", "image", "text", "video+text"]
"""What a model takes in: a clip, single frames of it, its captions, or a clip and its captions together."""

Pooling = Literal["cls", "mean", "flatten", "none"]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Say which moments of a clip become frames.

    ``windows`` runs of ``frames // windows`` frames each. With ``fps=None`` the frames stand at the midpoints of
    equal segments of the whole clip; with a rate, each window is centred on the midpoint of its segment, as far as the
    clip's ends allow, and its frames are ``1 / fps`` seconds apart. Only a clip shorter than a window has its last
    frame repeated.

    Parameters
    ----------
    frames : int
        Frames in all, at least 1.
    fps : float, optional
        Frames per second inside a window.
    windows : int
        Number of windows; divides ``frames``, which is checked where cards are read.

    Raises
    ------
    VidsimError
        If there are several windows without a rate, which would be ignored.
    """

    frames: int
    fps: float | None = None
    windows: int = 1

    def __post_init__(self) -> None:
        if self.windows > 1 and self.fps is None:
            raise VidsimError(
                f"{self.windows} windows have no rate; expected fps, their frames per second, or 1 window"
            )

    def times(self, duration: float) -> "Float[ndarray, ' frames']":
        """Return the moments to sample, in seconds from the clip's start.

        Parameters
        ----------
        duration : float
            Length of the clip in seconds.

        Returns
        -------
        array of shape (frames,)
            Times within ``[0, duration]``, not decreasing inside a window.

        Examples
        --------
        >>> Sampling(frames=4).times(8.0)
        array([1., 3., 5., 7.])
        >>> Sampling(frames=4, fps=2.0, windows=2).times(8.0)
        array([1.75, 2.25, 5.75, 6.25])
        """
        import numpy as np

        if self.fps is None:
            return (np.arange(self.frames) + 0.5) / self.frames * duration
        run = self.frames // self.windows
        span = (run - 1) / self.fps
        centres = (np.arange(self.windows) + 0.5) / self.windows * duration
        starts = np.clip(centres - span / 2, 0.0, max(duration - span, 0.0))
        return np.minimum(starts[:, None] + np.arange(run) / self.fps, duration).ravel()


@dataclass(frozen=True, kw_only=True)
class EncoderCard:
    """Describe a model without its weights: one row of the catalog.

    Parameters
    ----------
    name : str
        Name used on the command line.
    family : str
        Module of ``vidsim.encoders`` that builds it, or ``module:Class`` of another package.
    modality : {"video", "image", "text", "video+text"}
        What it takes in.
    layers : tuple of str
        Real module paths, in order of depth.
    default_layer : str
        Layer that is indexed when none is named.
    checkpoint : str, optional
        Hub id or folder; None for a model without weights.
    revision : str, optional
        Commit of the checkpoint.
    sampling : Sampling, optional
        Frames it takes; None for text.
    size : int, optional
        Height and width of a frame in pixels.
    width : int
        Features of a token; 0 where layers differ.
    pooling : {"cls", "mean", "flatten", "none"}
        How a token map becomes a vector.
    parameters : int
        Number of weights.
    licence : str
        Licence of the weights.
    lora_targets : tuple of str
        Names of the linear layers that take LoRA weights; empty where it cannot be fine-tuned.
    architecture : str, optional
        Class of the upstream library.
    extra : str, optional
        Optional dependency group it needs.
    source : str
        Paper or page that published it.
    options : mapping
        Further keyword arguments of its family.
    """

    name: str
    family: str
    modality: Modality
    layers: tuple[str, ...]
    default_layer: str
    checkpoint: str | None = None
    revision: str | None = None
    sampling: Sampling | None = None
    size: int | None = None
    width: int = 0
    pooling: Pooling = "none"
    parameters: int = 0
    licence: str = ""
    lora_targets: tuple[str, ...] = ()
    architecture: str | None = None
    extra: str | None = None
    source: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocks(self) -> tuple[str, ...]:
        """Return the layers that are blocks of the network: their names end in a number."""
        return tuple(layer for layer in self.layers if layer[-1].isdigit())

    @property
    def embedding_width(self) -> int:
        """Return the width of a sentence encoder's embedding, which may be another than that of its blocks."""
        return int(self.options.get("embedding_width", self.width))


Reduce = Callable[[str, "Tensor"], "Tensor"]
"""Takes a layer's name and its pooled features (batch, features) inside the hook; returns (batch, dims)."""


@runtime_checkable
class Encoder(Protocol):
    """A model that can be run: it prepares one stimulus at a time and encodes a batch of them."""

    card: EncoderCard

    @property
    def provenance(self) -> Mapping[str, object]:
        """Facts that determine the embeddings: checkpoint, revision, weights hash, sampling, preprocessing, pooling."""
        ...

    def prepare(self, stimulus: Any) -> Any:
        """Turn one decoded frame (h, w, 3) uint8, or captions, into what ``encode`` takes; runs in decoding threads.

        A ``"video+text"`` encoder prepares frames; ``encode`` takes pairs of the prepared frames of a clip and a tuple
        of its captions, which may be empty.
        """
        ...

    def encode(self, batch: Sequence[Any], layers: Sequence[str], reduce: Reduce) -> "dict[str, ndarray]":
        """Run one forward pass and return, for every layer, an array of shape (batch, dims)."""
        ...
