"""Cards of video CNNs: the Kinetics-400 checkpoints of the PyTorchVideo model zoo.

Frames, sampling, sizes and normalisation are those of the zoo's documentation (docs/source/model_zoo.md) and of its
models' pages on PyTorch Hub; of the published ten clips and three crops a video, a clip in the middle and its middle
crop are taken. The licence is the repository's: the zoo names none for the weights.

Layers are every block and every residual block. The last residual block of a stage is left out where its output is the
stage's own.
"""

from collections.abc import Sequence

from vidsim.encoders.base import EncoderCard, Sampling

ZOO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics"

RATE = 30
"""Frames per second of the zoo's clips."""


def _stages(first: int, depths: Sequence[int]) -> tuple[str, ...]:
    return tuple(
        name
        for i, depth in enumerate(depths, first)
        for name in (*(f"blocks.{i}.res_blocks.{j}" for j in range(depth - 1)), f"blocks.{i}")
    )


def _pathways(stage: int, depth: int) -> tuple[str, ...]:
    return tuple(f"blocks.{stage}.multipathway_blocks.{p}.res_blocks.{j}" for p in range(2) for j in range(depth))


X3D_LAYERS = ("blocks.0", *_stages(1, (3, 5, 11, 7)), "blocks.5.pool", "blocks.5")
SLOW_LAYERS = ("blocks.0", *_stages(1, (3, 4, 6, 3)), "blocks.5")
# time is halved in a block of its own, behind the first stage
HALVED_LAYERS = ("blocks.0", *_stages(1, (3,)), "blocks.2", *_stages(3, (4, 6, 3)), "blocks.6")
SLOWFAST_LAYERS = (
    "blocks.0",
    *(name for i, depth in enumerate((3, 4, 6, 3), 1) for name in (*_pathways(i, depth), f"blocks.{i}")),
    *("blocks.5", "blocks.6"),
)
"""A block of SlowFast gives the maps of both pathways: pooled each, and put side by side."""


def _video_cnn(
    name: str,
    file: str,
    architecture: str,
    *,
    frames: int,
    stride: int,
    size: int = 256,
    trained_size: int = 224,
    layers: tuple[str, ...],
    features: str,
    parameters: int,
    source: str,
) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="video_cnn",
        modality="video",
        layers=layers,
        default_layer=features,
        checkpoint=f"{ZOO}/{file}",
        # the zoo takes frames * stride frames and, from the first to the last of them, so many at equal distances:
        # they lie a little further apart than the stride (X3D-XS: 15.7 frames, not 12)
        sampling=Sampling(frames=frames, fps=RATE * (frames - 1) / (frames * stride - 1)),
        size=size,
        pooling="mean",
        parameters=parameters,
        licence="Apache-2.0",
        architecture=architecture,
        source=source,
        options={"file": file, "mean": 0.45, "std": 0.225, "trained_size": trained_size},
    )


def _x3d(size_name: str, *, frames: int, stride: int, size: int, trained_size: int) -> EncoderCard:
    return _video_cnn(
        f"x3d-{size_name.lower()}",
        f"X3D_{size_name}.pyth",
        "X3D",
        frames=frames,
        stride=stride,
        size=size,
        trained_size=trained_size,
        layers=X3D_LAYERS,
        features="blocks.4",
        parameters=3_794_274,
        source="Feichtenhofer 2020, arXiv:2004.04730",
    )


ROWS = (
    _x3d("XS", frames=4, stride=12, size=182, trained_size=160),
    _x3d("S", frames=13, stride=6, size=182, trained_size=160),
    _x3d("M", frames=16, stride=5, size=256, trained_size=224),
    _video_cnn(
        "slow-r50",
        "SLOW_8x8_R50.pyth",
        "Slow",
        frames=8,
        stride=8,
        layers=SLOW_LAYERS,
        features="blocks.4",
        parameters=32_454_096,
        source="Feichtenhofer, Fan, Malik and He 2019, arXiv:1812.03982",
    ),
    # 8 x 8 in the slow pathway, 32 x 2 in the fast one
    _video_cnn(
        "slowfast-r50",
        "SLOWFAST_8x8_R50.pyth",
        "SlowFast",
        frames=32,
        stride=2,
        layers=SLOWFAST_LAYERS,
        features="blocks.4",
        parameters=34_566_488,
        source="Feichtenhofer, Fan, Malik and He 2019, arXiv:1812.03982",
    ),
    _video_cnn(
        "i3d-r50",
        "I3D_8x8_R50.pyth",
        "I3D",
        frames=8,
        stride=8,
        layers=HALVED_LAYERS,
        features="blocks.5",
        parameters=28_043_472,
        source="Carreira and Zisserman 2017, arXiv:1705.07750",
    ),
    _video_cnn(
        "c2d-r50",
        "C2D_8x8_R50.pyth",
        "C2D",
        frames=8,
        stride=8,
        layers=HALVED_LAYERS,
        features="blocks.5",
        parameters=24_327_632,
        source="Wang, Girshick, Gupta and He 2018, arXiv:1711.07971",
    ),
)
