"""Attention: what the attention layers of a transformer on frames hold in one forward pass."""

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.catalog import cards
from vidsim.encoders.frame_encoder import FrameEncoder
from vidsim.errors import VidsimError


@dataclass(frozen=True)
class _Layout:
    """Say which modules of an architecture give attention away: their paths, number by number.

    Joint attention grows with the square of the frames: ``most_frames`` is how many of them still fit in memory.
    """

    spatial: str
    temporal: str | None = None
    most_frames: int | None = None


LAYOUTS: Mapping[str, _Layout] = {
    # its output_attentions gives the spatial one alone, and is eager always
    "TimesformerModel": _Layout(
        r"encoder\.layer\.\d+\.attention\.attention\.attn_drop",
        r"encoder\.layer\.\d+\.temporal_attention\.attention\.attn_drop",
    ),
    "VideoMAEModel": _Layout(r"encoder\.layer\.\d+\.attention\.attention"),
    "VivitModel": _Layout(r"layers\.\d+\.attention"),
    # 64 frames of 256 pixels are 8,192 tokens: 6.4 GB over 24 blocks, and twice that in the double precision of rollout
    "VJEPA2Model": _Layout(r"encoder\.layer\.\d+\.attention", most_frames=16),
    "CLIPVisionModel": _Layout(r"encoder\.layers\.\d+\.self_attn"),
    "ViTModel": _Layout(r"layers\.\d+\.attention"),
    "Dinov2Model": _Layout(r"encoder\.layer\.\d+\.attention"),
    "DINOv3ViTModel": _Layout(r"model\.layer\.\d+\.attention"),
    "SiglipVisionModel": _Layout(r"encoder\.layers\.\d+\.self_attn"),
}
"""By architecture."""


@dataclass(frozen=True, eq=False)
class Attention:
    """Hold the attention of every block, mean over heads, from the input on.

    Parameters
    ----------
    spatial : list of array of shape (s, n, n)
        Rows attend to columns. A video transformer with joint attention has s = 1 and all tokens of the clip; with
        divided attention s is the number of frames, as it is for an image encoder.
    temporal : list of array of shape (p, t, t)
        With divided attention, of each patch place over frames; else empty.
    grid : tuple of int
        Steps in time, rows and columns of the patches that attend together (with divided attention: of the clip).
    prefix : int
        Tokens in front of the patches.
    """

    spatial: list[Float[ndarray, "s n n"]]
    temporal: list[Float[ndarray, "p t t"]]
    grid: tuple[int, int, int]
    prefix: int


def refuse_without_attention(card: EncoderCard) -> None:
    """Refuse an encoder that has no attention over patches of frames.

    Parameters
    ----------
    card : EncoderCard
        Row of the catalog.

    Raises
    ------
    VidsimError
        If it is no transformer on frames, or its attention would not fit in memory.
    """
    if card.architecture not in LAYOUTS:
        raise VidsimError(f"{card.name} has no attention over patches of frames; expected one of {_suited()}")
    if most := _too_many_frames(card):
        assert card.sampling is not None
        raise VidsimError(
            f"{card.name} attends over {card.sampling.frames} frames at once, which is too much to keep (at most "
            f"{most}); expected one of {_suited()}"
        )


def attention_of(encoder: FrameEncoder, frames: UInt8[Tensor, "t 3 h w"]) -> Attention:
    """Run a clip and collect the attention of every block.

    Each layer's attention is averaged over heads and moved to the CPU as it appears: that of VideoMAE in all blocks and
    heads would take over 1 GB. The model attends in its plain ("eager") way meanwhile, as the fused kernels do not give
    attention away; their outputs agree to rounding.

    Parameters
    ----------
    encoder : FrameEncoder
        A transformer on frames.
    frames : tensor of shape (t, 3, size, size)
        Prepared frames of one clip.

    Returns
    -------
    Attention
        Of every block.

    Raises
    ------
    VidsimError
        If the encoder has no such attention, or the frames are not what it was trained on.
    """
    card = encoder.card
    refuse_without_attention(card)
    encoder.check_frames(frames[None])
    model: Any = encoder.model
    config = model.config
    layout = LAYOUTS[card.architecture or ""]
    blocks = config.num_hidden_layers
    pixels = encoder.preprocess.normalise((frames if card.modality == "image" else frames[None]).to(encoder.device))
    spatial: list[ndarray] = []
    temporal: list[ndarray] = []
    with torch.inference_mode(), _eager(model), _collected(model, layout.spatial, spatial):
        if layout.temporal is None:
            encoder.forward(pixels)
        else:
            with _collected(model, layout.temporal, temporal):
                encoder.forward(pixels)
    expected = blocks if layout.temporal else 0
    if (len(spatial), len(temporal)) != (blocks, expected):
        raise VidsimError(
            f"{card.name} gave attention of {len(spatial)} and {len(temporal)} layers; expected {blocks} and {expected}"
        )
    tubelet, patch = _patch(config)
    steps = 1 if card.modality == "image" else len(frames) // tubelet
    side = frames.shape[-1] // patch
    return Attention(spatial, temporal, (steps, side, side), int(card.options.get("prefix_tokens", 0)))


def _suited() -> str:
    """List the encoders whose attention can be had, the user's own among them."""
    return ", ".join(row.name for row in cards().values() if row.architecture in LAYOUTS and not _too_many_frames(row))


def _too_many_frames(card: EncoderCard) -> int | None:
    """Return how many frames would fit, where a card takes more."""
    layout = LAYOUTS.get(card.architecture or "")
    most = layout.most_frames if layout is not None else None
    return most if most is not None and card.sampling is not None and card.sampling.frames > most else None


def _patch(config: Any) -> tuple[int, int]:
    """Return the frames and the pixels a side that a token stands for."""
    tubelet = getattr(config, "tubelet_size", 1)
    return (int(tubelet), int(config.patch_size)) if isinstance(tubelet, int) else (int(tubelet[0]), int(tubelet[1]))


@contextmanager
def _collected(model: nn.Module, pattern: str, into: list[ndarray]) -> Generator[None]:
    """Collect the attention of the modules whose paths end like that, in the order in which they run."""
    wanted = re.compile(rf"(?:^|\.){pattern}$")  # adapters put names in front
    modules = [module for name, module in model.named_modules() if wanted.search(name)]

    def hook(_module: nn.Module, _inputs: object, output: Any) -> None:
        weights = output if isinstance(output, Tensor) else output[1]
        into.append(weights.mean(1).to("cpu", torch.float32).numpy())

    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _eager(model: Any) -> Generator[None]:
    """Let a model attend in the plain way, and as before afterwards."""
    before = model.config._attn_implementation
    choose: Callable[[str], None] = model.set_attn_implementation
    if before == "eager":
        yield
        return
    choose("eager")
    try:
        yield
    finally:
        choose(before)
