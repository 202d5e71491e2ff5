"""3D ResNets for video with 50 layers: C2D, I3D and Slow, under the module names of the PyTorchVideo model zoo.

C2D: Simonyan and Zisserman 2014, as the baseline of Wang et al. 2018 (arXiv:1711.07971); I3D: Carreira and Zisserman
2017 (arXiv:1705.07750), inflated at every other block; Slow: the slow pathway of Feichtenhofer et al. 2019
(arXiv:1812.03982) alone.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

DEPTHS = (3, 4, 6, 3)
"""Blocks of each stage of a network with 50 layers."""

WIDTH = 64
"""Channels of the stem; the first stage has four times as many, every further stage twice those before it."""

CLASSES = 400
"""Of Kinetics-400."""

Clip = Float[Tensor, "batch _ _ _ _"]
"""A clip or its feature maps: channels, time, height and width, all of which change from layer to layer."""


class Blocks(nn.Module):
    """Run blocks one after another.

    Parameters
    ----------
    blocks : sequence of Module
        Stem, stages and head.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, clip: Clip) -> Tensor:
        """Return the output of the last block."""
        for block in self.blocks:
            clip = block(clip)
        return clip


class Stem(nn.Module):
    """Convolve, normalise, rectify and, in a ResNet, halve height and width once more.

    Parameters
    ----------
    conv : Module
        The convolution.
    width : int
        Its channels.
    pool : bool
        End with max pooling.
    """

    def __init__(self, conv: nn.Module, width: int, *, pool: bool) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.BatchNorm3d(width)
        self.activation = nn.ReLU()
        self.pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)) if pool else None

    def forward(self, clip: Clip) -> Clip:
        """Return feature maps."""
        maps = self.activation(self.norm(self.conv(clip)))
        return maps if self.pool is None else self.pool(maps)


class Bottleneck(nn.Module):
    """Convolve along time, in the plane, and to the width of the stage (He et al. 2016, arXiv:1512.03385).

    Parameters
    ----------
    before, inner, after : int
        Channels that come, between the convolutions, and that leave.
    time : int
        Frames that the first convolution spans.
    stride : int
        Of the second convolution in height and width.
    """

    def __init__(self, before: int, inner: int, after: int, *, time: int, stride: int) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(before, inner, (time, 1, 1), padding=(time // 2, 0, 0), bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.act_a = nn.ReLU()
        self.conv_b = nn.Conv3d(inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.norm_b = nn.BatchNorm3d(inner)
        self.act_b = nn.ReLU()
        self.conv_c = nn.Conv3d(inner, after, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(after)

    def forward(self, maps: Clip) -> Clip:
        """Return what is added to the shortcut."""
        maps = self.act_a(self.norm_a(self.conv_a(maps)))
        maps = self.act_b(self.norm_b(self.conv_b(maps)))
        return self.norm_c(self.conv_c(maps))


class ResBlock(nn.Module):
    """Add a bottleneck to its input, which is projected where their shapes differ.

    Parameters
    ----------
    before, after : int
        Channels that come and that leave.
    branch2 : Module
        The bottleneck.
    stride : int
        Of the bottleneck in height and width.
    """

    def __init__(self, before: int, after: int, branch2: nn.Module, *, stride: int) -> None:
        super().__init__()
        projected = before != after or stride != 1
        self.branch1_conv = nn.Conv3d(before, after, 1, (1, stride, stride), bias=False) if projected else None
        # X3D's first stage narrows the maps without new channels, and does not normalise there
        self.branch1_norm = nn.BatchNorm3d(after) if before != after else None
        self.branch2 = branch2
        self.activation = nn.ReLU()

    def forward(self, maps: Clip) -> Clip:
        """Return rectified sums."""
        shortcut = maps if self.branch1_conv is None else self.branch1_conv(maps)
        if self.branch1_norm is not None:
            shortcut = self.branch1_norm(shortcut)
        return self.activation(shortcut + self.branch2(maps))


class Stage(nn.Module):
    """Run residual blocks one after another.

    Parameters
    ----------
    blocks : sequence of Module
        Residual blocks.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.res_blocks = nn.ModuleList(blocks)

    def forward(self, maps: Clip) -> Clip:
        """Return the output of the last block."""
        for block in self.res_blocks:
            maps = block(maps)
        return maps


class Head(nn.Module):
    """Classify at every place that is left after pooling, and average over those.

    Parameters
    ----------
    width : int
        Channels after pooling.
    pool : Module, optional
        Pooling in time and space.
    softmax : bool
        Average probabilities rather than logits.
    """

    def __init__(self, width: int, pool: nn.Module | None, *, softmax: bool = False) -> None:
        super().__init__()
        self.pool = pool
        self.dropout = nn.Dropout(0.5)
        self.proj = nn.Linear(width, CLASSES)
        self.activation = nn.Softmax(dim=1) if softmax else None
        self.output_pool = nn.AdaptiveAvgPool3d(1)

    def forward(self, maps: Clip) -> Float[Tensor, "batch classes"]:
        """Return one number a class."""
        pooled = self.dropout(maps if self.pool is None else self.pool(maps))
        scores = self.proj(pooled.movedim(1, -1)).movedim(-1, 1)
        if self.activation is not None:
            scores = self.activation(scores)
        return self.output_pool(scores).flatten(1)


def res_stem(width: int, time: int) -> Stem:
    """Build the stem of a ResNet.

    Parameters
    ----------
    width : int
        Channels that leave.
    time : int
        Frames that its convolution spans.

    Returns
    -------
    Stem
        It takes RGB and quarters height and width.
    """
    return Stem(nn.Conv3d(3, width, (time, 7, 7), (1, 2, 2), (time // 2, 3, 3), bias=False), width, pool=True)


def res_stage(before: int, after: int, depth: int, times: Sequence[int], *, stride: int) -> Stage:
    """Build a stage of a ResNet.

    Parameters
    ----------
    before, after : int
        Channels that come and that leave; there is a quarter of the latter between the convolutions.
    depth : int
        Blocks.
    times : sequence of int
        Frames that the first convolution of each block spans, over and over.
    stride : int
        Of the first block in height and width.

    Returns
    -------
    Stage
        The blocks.
    """
    return Stage(
        [
            ResBlock(
                before if i == 0 else after,
                after,
                Bottleneck(
                    before if i == 0 else after,
                    after // 4,
                    after,
                    time=times[i % len(times)],
                    stride=stride if i == 0 else 1,
                ),
                stride=stride if i == 0 else 1,
            )
            for i in range(depth)
        ]
    )


def resnet3d(
    frames: int,
    size: int,
    *,
    stem: int,
    times: Sequence[Sequence[int]],
    halved: bool = False,
    width: int = WIDTH,
    depths: Sequence[int] = DEPTHS,
) -> Blocks:
    """Build a 3D ResNet with one pathway.

    Parameters
    ----------
    frames : int
        Frames of a clip.
    size : int
        Height and width in pixels on which the head pools everything; on larger frames it slides.
    stem : int
        Frames that the stem spans.
    times : sequence of sequences of int
        For each stage, frames that the blocks span, over and over.
    halved : bool
        Halve time behind the first stage by max pooling, which is a block of its own.
    width : int
        Channels of the stem.
    depths : sequence of int
        Blocks of each stage.

    Returns
    -------
    Blocks
        Stem, stages, pooling if any, and head.
    """
    blocks: list[nn.Module] = [res_stem(width, stem)]
    before = width
    for i, (depth, spans) in enumerate(zip(depths, times, strict=True)):
        after = 4 * width * 2**i
        blocks.append(res_stage(before, after, depth, spans, stride=1 if i == 0 else 2))
        if i == 0 and halved:
            blocks.append(nn.MaxPool3d((2, 1, 1), (2, 1, 1)))
        before = after
    kernel = (frames // 2 if halved else frames, size // 32, size // 32)
    return Blocks([*blocks, Head(before, nn.AvgPool3d(kernel, 1))])
