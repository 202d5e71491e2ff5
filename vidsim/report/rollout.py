"""What encoders attend to in a clip: attention rollout over its frames (Fig. 9)."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from vidsim.analysis.rollout import divided_block, patch_map, rollout, with_residual
from vidsim.report.figures import plot, png
from vidsim.report.page import Section

if TYPE_CHECKING:
    from vidsim.data.video import Decoder
    from vidsim.encoders.attention import Attention
    from vidsim.encoders.frame_encoder import FrameEncoder

SHOWN = 7
"""Frames in a figure, as in the paper."""

LEAST = 0.25
"""Least width of the colour scale, so that attention spread evenly looks even."""

TOP = 99.5
"""Percentile of the patches shown at which the colour scale ends, so that one patch does not darken all others."""


@dataclass(frozen=True, eq=False)
class Heat:
    """Hold what an encoder attends to in a clip.

    Parameters
    ----------
    frames : array of shape (t, h, w, 3)
        As the encoder sees them: resized and cropped.
    times : array of shape (t,)
        When they come on screen, in seconds.
    maps : array of shape (t, rows, columns)
        Rollout of the readout's attention to each patch, relative to an even spread.
    """

    frames: UInt8[ndarray, "t h w 3"]
    times: Float[ndarray, " t"]
    maps: Float[ndarray, "t rows columns"]

    def shown(self, most: int = SHOWN) -> Int[ndarray, " k"]:
        """Choose frames to show, from the first to the last, evenly; all of them where there are no more than that."""
        t = len(self.frames)
        return np.round(np.linspace(0, t - 1, min(most, t))).astype(np.int64)


def heat(encoder: "FrameEncoder", clip: Path, decoder: "Decoder") -> Heat:
    """Decode a clip, run it, and roll attention out.

    Parameters
    ----------
    encoder : FrameEncoder
        A transformer on frames.
    clip : Path
        The video file.
    decoder : Decoder
        How it is decoded.

    Returns
    -------
    Heat
        One map a frame; frames that share a token (VideoMAE: two) share a map.

    Raises
    ------
    VidsimError
        If the clip cannot be used, the encoder has no attention over patches, or memory does not suffice.
    """
    from vidsim.encoders.attention import attention_of
    from vidsim.encoders.machine import able

    sampling = encoder.card.sampling
    assert sampling is not None
    with able("cpu", "free some of it"):
        frames = decoder.decode(clip, sampling.times, encoder.prepare)
    with able(encoder.device, "free some of it, or give another --device"):
        maps = heat_maps(attention_of(encoder, frames.images), mean=encoder.resolved.pooling != "cls")
    maps = np.repeat(maps, len(frames.images) // len(maps), axis=0)
    return Heat(frames.images.permute(0, 2, 3, 1).numpy(), frames.times, maps)


def heat_maps(attention: "Attention", *, mean: bool) -> Float[ndarray, "t rows columns"]:
    """Roll attention out from what is read out of the last block to the patches.

    Parameters
    ----------
    attention : Attention
        Of every block.
    mean : bool
        True where the mean over patches is read out, False for the CLS token.

    Returns
    -------
    array of shape (t, rows, columns)
        One map a step in time, relative to an even spread: over the clip for video, over each frame for images.
    """
    prefix, grid = attention.prefix, attention.grid
    tokens = prefix + int(np.prod(grid))
    readout = np.zeros((1, tokens))
    readout[0, slice(prefix, None) if mean else 0] = 1 / (tokens - prefix) if mean else 1
    if attention.temporal:
        pairs = zip(attention.temporal, attention.spatial, strict=True)
        return patch_map(rollout([divided_block(t, s) for t, s in pairs], readout), prefix, grid)[0]
    whole = [with_residual(block) for block in attention.spatial]
    found = [rollout([block[s] for block in whole], readout)[0] for s in range(len(whole[0]))]
    return patch_map(np.stack(found), prefix, grid).reshape(-1, *grid[1:])


def rollout_plot(heats: Sequence[tuple[str, Heat]], title: str = "") -> bytes:
    """Draw what encoders attend to, a row each, with their frames as columns (Fig. 9).

    Parameters
    ----------
    heats : sequence of tuple of str and Heat
        Name and rollout of each encoder, in the same clip.
    title : str
        Of the figure.

    Returns
    -------
    bytes
        A PNG file.
    """
    columns = max(len(found.shown()) for _, found in heats)
    with plot(columns + 1.2, 1.9 * len(heats) + 0.4) as (drawing, axes):
        axes.remove()
        drawing.suptitle(title, x=0.01, ha="left", fontsize=14)
        rows: Any = drawing.subfigures(len(heats), 1, squeeze=False)[:, 0]
        for row, (name, found) in zip(rows, heats, strict=True):
            _row(row, name, found, columns)
        return png(drawing)


def _row(drawing: Any, name: str, found: Heat, columns: int) -> None:
    shown = found.shown()
    low, high = np.percentile(found.maps[shown], [0, TOP])
    spare = max(0.0, LEAST - (high - low)) / 2
    drawing.suptitle(name, x=0.01, ha="left", fontsize=14, fontweight="bold")
    panels = drawing.subplots(1, columns, squeeze=False)[0]
    image = None
    for panel in panels:
        panel.set_axis_off()
    for panel, k in zip(panels, shown.tolist(), strict=False):
        frame = found.frames[k]
        height, width = frame.shape[:2]
        panel.imshow(_grey(frame), cmap="gray", vmin=0, vmax=255)
        values = found.maps[k]
        strength = np.clip((values - low + spare) / max(high - low + 2 * spare, 1e-9), 0, 1)
        image = panel.imshow(values, cmap="inferno", vmin=low - spare, vmax=high + spare, alpha=0.05 + 0.7 * strength,
                             extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="bilinear")  # fmt: skip
        panel.set_title(f"{k + 1} of {len(found.frames)}\n{found.times[k]:.1f} s", loc="center", fontsize=12.5)
    if image is not None:
        bar = drawing.colorbar(image, ax=list(panels), fraction=0.03, pad=0.01, extend="max")
        bar.solids.set_alpha(1)
        bar.set_label("attention\n(even: 1)", fontsize=12.5)
        bar.ax.yaxis.set_major_formatter("{x:.1f}")
        bar.ax.tick_params(labelsize=11)


def _grey(frame: UInt8[ndarray, "h w 3"]) -> Float[ndarray, "h w"]:
    return frame @ np.array([0.299, 0.587, 0.114])


def rollout_section(plots: Sequence[tuple[str, bytes]]) -> Section:
    """Lay out figures of rollouts as a part of a page.

    Parameters
    ----------
    plots : sequence of tuple of str and bytes
        Name of the clip, and its figure as PNG.

    Returns
    -------
    Section
        A figure a clip.
    """
    text = (
        "Attention rollout: mean over heads, half the weight on residual connections, multiplied over blocks; from the "
        "CLS token, or the mean over patches where that is read out. 1 is an even spread over patches."
    )
    figures = {name: _img(data) for name, data in plots}
    return Section("What the encoders attend to", text, figures=figures)


def _img(data: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
