"""X3D: a network of depthwise convolutions, expanded along one axis at a time (Feichtenhofer 2020, arXiv:2004.04730).

XS, S and M are one network; they differ in the frames and the pixels that they were trained on. Module names are those
of the PyTorchVideo model zoo.
"""

from collections.abc import Sequence
from math import ceil

from torch import nn

from vidsim.encoders.resnet3d import Blocks, Clip, Head, ResBlock, Stage, Stem

STEM = 24
"""Channels of the stem."""

DEPTHS = (3, 5, 11, 7)
"""Blocks of each stage: 1, 2, 5 and 3 times 2.2, rounded up (table 1)."""

WIDTHS = (24, 48, 96, 192)
"""Channels of each stage; inside the blocks there are 2.25 times as many."""

HEAD = 2048
"""Channels in front of the classifier."""


class DepthwisePair(nn.Module):
    """Convolve in the plane, then along time.

    Parameters
    ----------
    width : int
        Channels that leave.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # the names are the published ones, though the first is the one in the plane
        self.conv_t = nn.Conv3d(3, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.conv_xy = nn.Conv3d(width, width, (5, 1, 1), padding=(2, 0, 0), groups=width, bias=False)

    def forward(self, clip: Clip) -> Clip:
        """Return feature maps."""
        return self.conv_xy(self.conv_t(clip))


class Excitation(nn.Module):
    """Weigh channels by their means over time and space (Hu et al. 2018, arXiv:1709.01507).

    Parameters
    ----------
    width : int
        Channels; about a sixteenth of them lies between.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = in_eights(width / 16)
        self.block = nn.Sequential(nn.Conv3d(width, narrow, 1), nn.ReLU(), nn.Conv3d(narrow, width, 1), nn.Sigmoid())

    def forward(self, maps: Clip) -> Clip:
        """Return weighed maps."""
        return maps * self.block(maps.mean((2, 3, 4), keepdim=True))


class DepthwiseBottleneck(nn.Module):
    """Widen, convolve every channel by itself, and narrow again.

    Parameters
    ----------
    before, after : int
        Channels that come and that leave.
    stride : int
        In height and width.
    excited : bool
        Weigh channels behind the depthwise convolution.
    """

    def __init__(self, before: int, after: int, *, stride: int, excited: bool) -> None:
        super().__init__()
        inner = inside(after)
        self.conv_a = nn.Conv3d(before, inner, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.act_a = nn.ReLU()
        self.conv_b = nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        self.norm_b = nn.Sequential(nn.BatchNorm3d(inner), Excitation(inner) if excited else nn.Identity())
        self.act_b = nn.SiLU()
        self.conv_c = nn.Conv3d(inner, after, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(after)

    def forward(self, maps: Clip) -> Clip:
        """Return what is added to the shortcut."""
        maps = self.act_a(self.norm_a(self.conv_a(maps)))
        maps = self.act_b(self.norm_b(self.conv_b(maps)))
        return self.norm_c(self.conv_c(maps))


class ProjectedPool(nn.Module):
    """Widen, average over time and space, and widen once more.

    Parameters
    ----------
    before, inner : int
        Channels that come and that are averaged.
    kernel : (int, int, int)
        Frames, rows and columns that are averaged.
    """

    def __init__(self, before: int, inner: int, kernel: tuple[int, int, int]) -> None:
        super().__init__()
        self.pre_conv = nn.Conv3d(before, inner, 1, bias=False)
        self.pre_norm = nn.BatchNorm3d(inner)
        self.pre_act = nn.ReLU()
        self.pool = nn.AvgPool3d(kernel, 1)
        self.post_conv = nn.Conv3d(inner, HEAD, 1, bias=False)
        self.post_act = nn.ReLU()

    def forward(self, maps: Clip) -> Clip:
        """Return the features that are classified."""
        pooled = self.pool(self.pre_act(self.pre_norm(self.pre_conv(maps))))
        return self.post_act(self.post_conv(pooled))


def x3d(frames: int, size: int, *, depths: Sequence[int] = DEPTHS) -> Blocks:
    """Build X3D.

    Parameters
    ----------
    frames : int
        Frames of a clip.
    size : int
        Height and width in pixels on which the head pools everything; on larger frames it slides.
    depths : sequence of int
        Blocks of each stage.

    Returns
    -------
    Blocks
        Stem, four stages and head.
    """
    blocks: list[nn.Module] = [Stem(DepthwisePair(STEM), STEM, pool=False)]
    before = STEM
    for depth, after in zip(depths, WIDTHS, strict=True):
        blocks.append(_stage(before, after, depth))
        before = after
    pool = ProjectedPool(before, inside(before), (frames, ceil(size / 32), ceil(size / 32)))
    return Blocks([*blocks, Head(HEAD, pool, softmax=True)])


def inside(width: int) -> int:
    """Return the channels inside the blocks of a stage.

    Parameters
    ----------
    width : int
        Channels of the stage.

    Returns
    -------
    int
        Channels.

    Examples
    --------
    >>> [inside(width) for width in WIDTHS]
    [54, 108, 216, 432]
    """
    return int(2.25 * width)


def in_eights(width: float) -> int:
    """Round channels to a multiple of eight that is not under nine tenths of them.

    Parameters
    ----------
    width : float
        Channels wanted.

    Returns
    -------
    int
        At least 8.

    Examples
    --------
    >>> [in_eights(inside(width) / 16) for width in WIDTHS]
    [8, 8, 16, 32]
    """
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _stage(before: int, after: int, depth: int) -> Stage:
    blocks: list[nn.Module] = []
    for i in range(depth):
        come, stride = (before, 2) if i == 0 else (after, 1)
        # every other block has an excitation, the first among them
        bottleneck = DepthwiseBottleneck(come, after, stride=stride, excited=i % 2 == 0)
        blocks.append(ResBlock(come, after, bottleneck, stride=stride))
    return Stage(blocks)
