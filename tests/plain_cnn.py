"""Video CNNs computed again from their state dicts alone, with functions: what networks made of modules must equal."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

State = Mapping[str, Tensor]


def conv(state: State, name: str, x: Tensor, stride: Sequence[int] = (1, 1, 1)) -> Tensor:
    """Convolve so that stride 1 keeps the shape; the groups follow from the channels of the kernel."""
    kernel = state[f"{name}.weight"]
    padding = [size // 2 for size in kernel.shape[2:]]
    groups = x.shape[1] // kernel.shape[1]
    return F.conv3d(x, kernel, state.get(f"{name}.bias"), tuple(stride), padding, 1, groups)


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """Normalise by the stored moments, written out."""
    mean, var, weight, bias = (
        state[f"{name}.{part}"].view(-1, 1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def block(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    """Run a residual block of a ResNet or of X3D, as its tensors tell."""
    plane, branch = (1, stride, stride), f"{name}.branch2"
    depthwise = f"{branch}.norm_b.0.weight" in state
    a = norm(state, f"{branch}.norm_a", conv(state, f"{branch}.conv_a", x)).clamp(min=0)
    b = conv(state, f"{branch}.conv_b", a, plane)
    b = norm(state, f"{branch}.norm_b.0" if depthwise else f"{branch}.norm_b", b)
    if f"{branch}.norm_b.1.block.0.weight" in state:
        means = b.mean((2, 3, 4), keepdim=True)
        narrow = conv(state, f"{branch}.norm_b.1.block.0", means).clamp(min=0)
        b = b * torch.sigmoid(conv(state, f"{branch}.norm_b.1.block.2", narrow))
    b = b * torch.sigmoid(b) if depthwise else b.clamp(min=0)
    c = norm(state, f"{branch}.norm_c", conv(state, f"{branch}.conv_c", b))
    if f"{name}.branch1_conv.weight" in state:
        x = conv(state, f"{name}.branch1_conv", x, plane)
    if f"{name}.branch1_norm.weight" in state:
        x = norm(state, f"{name}.branch1_norm", x)
    return (x + c).clamp(min=0)


def stage(state: State, name: str, x: Tensor, stride: int, seen: dict[str, Tensor]) -> Tensor:
    """Run the residual blocks of a stage, keeping each output."""
    i = 0
    while f"{name}.res_blocks.{i}.branch2.conv_a.weight" in state:
        x = seen[f"{name}.res_blocks.{i}"] = block(state, f"{name}.res_blocks.{i}", x, stride if i == 0 else 1)
        i += 1
    assert i
    return x


def stem(state: State, name: str, x: Tensor) -> Tensor:
    """Run the stem of a ResNet."""
    x = norm(state, f"{name}.norm", conv(state, f"{name}.conv", x, (1, 2, 2))).clamp(min=0)
    return F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))


def head(state: State, name: str, x: Tensor, *, softmax: bool = False) -> Tensor:
    """Classify at every place and average."""
    scores = torch.einsum("bcthw,kc->bkthw", x, state[f"{name}.proj.weight"])
    scores = scores + state[f"{name}.proj.bias"].view(-1, 1, 1, 1)
    return (scores.softmax(1) if softmax else scores).mean((2, 3, 4))


def windows(x: Tensor, kernel: Sequence[int]) -> Tensor:
    """Average over every window, by a loop over windows."""
    t, h, w = kernel
    places = [range(size - k + 1) for size, k in zip(x.shape[2:], kernel, strict=True)]
    rows = [
        torch.stack([x[:, :, i : i + t, j : j + h, k : k + w].mean((2, 3, 4)) for k in places[2]], -1)
        for i in places[0]
        for j in places[1]
    ]
    return torch.stack(rows, -2).unflatten(-2, (len(places[0]), len(places[1])))


def plain_x3d(state: State, x: Tensor, kernel: Sequence[int]) -> dict[str, Tensor]:
    """Run X3D; the kernel is that of its head."""
    seen: dict[str, Tensor] = {}
    x = conv(state, "blocks.0.conv.conv_xy", conv(state, "blocks.0.conv.conv_t", x, (1, 2, 2)))
    x = seen["blocks.0"] = norm(state, "blocks.0.norm", x).clamp(min=0)
    for i in range(1, 5):
        x = seen[f"blocks.{i}"] = stage(state, f"blocks.{i}", x, 2, seen)
    wide = norm(state, "blocks.5.pool.pre_norm", conv(state, "blocks.5.pool.pre_conv", x)).clamp(min=0)
    pooled = conv(state, "blocks.5.pool.post_conv", windows(wide, kernel)).clamp(min=0)
    seen["blocks.5.pool"] = pooled
    seen["blocks.5"] = head(state, "blocks.5", pooled, softmax=True)
    return seen


def plain_resnet(state: State, x: Tensor, kernel: Sequence[int], *, halved: bool) -> dict[str, Tensor]:
    """Run a ResNet with one pathway."""
    seen: dict[str, Tensor] = {}
    x = seen["blocks.0"] = stem(state, "blocks.0", x)
    x = seen["blocks.1"] = stage(state, "blocks.1", x, 1, seen)
    if halved:
        x = seen["blocks.2"] = torch.maximum(x[:, :, 0::2], x[:, :, 1::2])
    first = 3 if halved else 2
    for i in range(first, first + 3):
        x = seen[f"blocks.{i}"] = stage(state, f"blocks.{i}", x, 2, seen)
    seen[f"blocks.{first + 3}"] = head(state, f"blocks.{first + 3}", windows(x, kernel))
    return seen


def plain_slowfast(state: State, x: Tensor, kernels: Sequence[Sequence[int]]) -> dict[str, Tensor | list[Tensor]]:
    """Run SlowFast on the frames of its fast pathway, 32 of them; the kernels are those of its pooling."""
    seen: dict[str, Tensor | list[Tensor]] = {}
    # where 8 equal distances from the first to the last of 32 frames fall, rounded down
    maps = [x[:, :, [0, 4, 8, 13, 17, 22, 26, 31]], x]
    for i in range(5):
        for p in range(2):
            name = f"blocks.{i}.multipathway_blocks.{p}"
            maps[p] = stem(state, name, maps[p]) if i == 0 else stage(state, name, maps[p], 1 if i == 1 else 2, seen)
        fusion = f"blocks.{i}.multipathway_fusion"
        if i < 4:
            joined = norm(state, f"{fusion}.norm", conv(state, f"{fusion}.conv_fast_to_slow", maps[1], (4, 1, 1)))
            maps[0] = torch.cat([maps[0], joined.clamp(min=0)], 1)
        seen[f"blocks.{i}"] = list(maps)
    pooled = torch.cat([windows(of, kernel) for of, kernel in zip(maps, kernels, strict=True)], 1)
    seen["blocks.5"] = pooled
    seen["blocks.6"] = head(state, "blocks.6", pooled)
    return seen
