"""Cards of video transformers."""

from vidsim.encoders.base import EncoderCard, Pooling, Sampling
from vidsim.encoders.cards.layers import blocks


def _video_transformer(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    frames: int,
    parameters: int,
    architecture: str,
    pattern: str = "encoder.layer.{i}",
    depth: int = 12,
    norm: str | None = None,
    width: int = 768,
    size: int = 224,
    pooling: Pooling,
    prefix_tokens: int,
    heads: tuple[str, ...],
    lora_targets: tuple[str, ...],
    licence: str,
    source: str,
) -> EncoderCard:
    layers = blocks(pattern, depth, *([norm] if norm else []))
    return EncoderCard(
        name=name,
        family="video_transformer",
        modality="video",
        layers=layers,
        default_layer=layers[-1],
        checkpoint=checkpoint,
        revision=revision,
        sampling=Sampling(frames=frames),
        size=size,
        width=width,
        pooling=pooling,
        parameters=parameters,
        licence=licence,
        lora_targets=lora_targets,
        architecture=architecture,
        source=source,
        options={"prefix_tokens": prefix_tokens, "heads": heads},
    )


ROWS = (
    _video_transformer(
        "timesformer-base",
        "facebook/timesformer-base-finetuned-k400",
        "8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0",
        frames=8,
        parameters=121_258_752,
        architecture="TimesformerModel",
        norm="layernorm",
        pooling="cls",
        prefix_tokens=1,
        heads=("classifier.",),
        # divided attention: the spatial and the temporal one of each block
        lora_targets=("qkv", "attention.output.dense", "temporal_attention.output.dense"),
        licence="CC-BY-NC-4.0",
        source="Bertasius, Wang and Torresani 2021, arXiv:2102.05095",
    ),
    _video_transformer(
        "videomae-base-finetuned-kinetics",
        "MCG-NJU/videomae-base-finetuned-kinetics",
        "488eb9a0565f257b32866000305c8178965eb9f6",
        frames=16,
        parameters=86_225_664,
        architecture="VideoMAEModel",
        # its norm stands behind the mean over tokens, in the classification head
        pooling="mean",
        prefix_tokens=0,
        heads=("classifier.", "fc_norm."),
        lora_targets=("query", "key", "value", "attention.output.dense"),
        licence="CC-BY-NC-4.0",
        source="Tong, Song, Wang and Wang 2022, arXiv:2203.12602",
    ),
)
