"""SlowFast with 50 layers: a slow pathway with many channels and a fast one with few (Feichtenhofer et al. 2019).

Module names are those of the PyTorchVideo model zoo (arXiv:1812.03982, table 1: 8 x 8, alpha 4, beta 1/8).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vidsim.encoders.resnet3d import DEPTHS, WIDTH, Clip, Head, res_stage, res_stem

ALPHA = 4
"""Frames of the fast pathway for one of the slow."""

BETA = 8
"""Channels of the slow pathway for one of the fast."""

SLOW, FAST = ((1,), (1,), (3,), (3,)), ((3,), (3,), (3,), (3,))
"""For each stage of a pathway, frames that its blocks span."""

Pathways = list[Clip]
"""Feature maps of the slow and of the fast pathway."""


class SlowFast(nn.Module):
    """Run both pathways, block by block.

    Parameters
    ----------
    blocks : sequence of Module
        Stems, stages, pooling, head.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, clip: Clip) -> Float[Tensor, "batch classes"]:
        """Return one number a class; the slow pathway takes a quarter of the frames, the first and the last too."""
        frames = clip.shape[2]
        kept = torch.linspace(0, frames - 1, frames // ALPHA).long()
        maps = [clip.index_select(2, kept.to(clip.device)), clip]
        for block in self.blocks:
            maps = block(maps)
        return maps  # pyright: ignore[reportReturnType]  # a tensor, behind the head


class Fused(nn.Module):
    """Run a block of each pathway, then add the fast one's to the slow one's channels.

    Parameters
    ----------
    slow, fast : Module
        The blocks.
    fusion : Module
        What joins them.
    """

    def __init__(self, slow: nn.Module, fast: nn.Module, fusion: nn.Module) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = fusion

    def forward(self, maps: Pathways) -> Pathways:
        """Return the maps of both pathways."""
        return self.multipathway_fusion([block(of) for block, of in zip(self.multipathway_blocks, maps, strict=True)])


class Lateral(nn.Module):
    """Convolve the fast pathway down to the frames of the slow one, behind whose channels it goes (section 3.3).

    Parameters
    ----------
    width : int
        Channels of the fast pathway; twice as many are added to the slow one.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_fast_to_slow = nn.Conv3d(width, 2 * width, (7, 1, 1), (ALPHA, 1, 1), (3, 0, 0), bias=False)
        self.norm = nn.BatchNorm3d(2 * width)
        self.activation = nn.ReLU()

    def forward(self, maps: Pathways) -> Pathways:
        """Return the wider slow maps and the same fast ones."""
        slow, fast = maps
        return [torch.cat([slow, self.activation(self.norm(self.conv_fast_to_slow(fast)))], 1), fast]


class PoolConcat(nn.Module):
    """Pool both pathways and put their channels side by side.

    Parameters
    ----------
    pools : sequence of Module
        For the slow and the fast pathway.
    """

    def __init__(self, pools: Sequence[nn.Module]) -> None:
        super().__init__()
        self.pool = nn.ModuleList(pools)

    def forward(self, maps: Pathways) -> Clip:
        """Return the joint maps."""
        return torch.cat([pool(of) for pool, of in zip(self.pool, maps, strict=True)], 1)


def slowfast(frames: int, size: int, *, width: int = WIDTH, depths: Sequence[int] = DEPTHS) -> SlowFast:
    """Build SlowFast.

    Parameters
    ----------
    frames : int
        Frames of a clip, as the fast pathway takes them.
    size : int
        Height and width in pixels on which the pooling pools everything; on larger frames it slides.
    width : int
        Channels of the slow stem.
    depths : sequence of int
        Blocks of each stage.

    Returns
    -------
    SlowFast
        The network.
    """
    stems = res_stem(width, 1), res_stem(width // BETA, 5)
    blocks: list[nn.Module] = [Fused(*stems, Lateral(width // BETA))]
    before = width
    for i, depth in enumerate(depths):
        after = 4 * width * 2**i
        stride = 1 if i == 0 else 2
        slow = res_stage(before + 2 * before // BETA, after, depth, SLOW[i], stride=stride)
        fast = res_stage(before // BETA, after // BETA, depth, FAST[i], stride=stride)
        last = i == len(depths) - 1
        blocks.append(Fused(slow, fast, nn.Identity() if last else Lateral(after // BETA)))
        before = after
    pools = [nn.AvgPool3d((of, size // 32, size // 32), 1) for of in (frames // ALPHA, frames)]
    return SlowFast([*blocks, PoolConcat(pools), Head(before + before // BETA, None)])
