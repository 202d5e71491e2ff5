"""Cards of video transformers.

V-JEPA 2.1 (a ViT-B of 87 M among others) has no row: its authors publish it for their own code alone, and
transformers 5.23 has no class for it.
"""

from collections.abc import Mapping
from typing import Any

from vidsim.encoders.base import EncoderCard, Pooling, Sampling
from vidsim.encoders.cards.colours import BILINEAR, IMAGENET, KINETICS, processor
from vidsim.encoders.cards.layers import blocks

VIDEOMAE_TARGETS = ("query", "key", "value", "attention.output.dense")
# the predictor of masked patches is no encoder; its file is a video processor's
VJEPA2_OPTIONS: Mapping[str, Any] = {
    "unused": ("predictor",),
    "forward": {"skip_predictor": True},
    "processor": "video_preprocessor_config.json",
}


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
    heads: tuple[str, ...] = (),
    prepared: Mapping[str, object],
    lora_targets: tuple[str, ...],
    licence: str,
    source: str,
    options: Mapping[str, Any] | None = None,
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
        options={"prefix_tokens": prefix_tokens, "heads": heads, "prepared": prepared, **(options or {})},
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
        prepared=processor(KINETICS, BILINEAR),
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
        prepared=processor(IMAGENET, BILINEAR),
        lora_targets=VIDEOMAE_TARGETS,
        licence="CC-BY-NC-4.0",
        source="Tong, Song, Wang and Wang 2022, arXiv:2203.12602",
    ),
    _video_transformer(
        "videomae-large-finetuned-kinetics",
        "MCG-NJU/videomae-large-finetuned-kinetics",
        "0f6adcd5f6902900aa0281f9daacfe52bb3c4ad4",
        frames=16,
        parameters=303_858_688,
        architecture="VideoMAEModel",
        depth=24,
        width=1024,
        pooling="mean",
        prefix_tokens=0,
        heads=("classifier.", "fc_norm."),
        prepared=processor(IMAGENET, BILINEAR),
        lora_targets=VIDEOMAE_TARGETS,
        licence="CC-BY-NC-4.0",
        source="Tong, Song, Wang and Wang 2022, arXiv:2203.12602",
    ),
    # its processor takes values to -1..1, then subtracts .5 and divides by .5 once more: the model sees -3..1. The file
    # says so, but for the offset of 1, which its class in transformers has by default; that the weights were trained on
    # it is not confirmed
    _video_transformer(
        "vivit-b-16x2-kinetics400",
        "google/vivit-b-16x2-kinetics400",
        "8a7171a57f79b9aaa58bc8d977c002a0ea0f0d42",
        frames=32,
        parameters=88_646_400,
        architecture="VivitModel",
        pattern="layers.{i}",
        norm="layernorm",
        pooling="cls",
        prefix_tokens=1,
        heads=("classifier.",),
        # its offset of 1 counts with the mean
        prepared=processor(((1.5, 1.5, 1.5), (0.5, 0.5, 0.5)), BILINEAR, 1 / 127.5),
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
        licence="MIT",
        source="Arnab et al. 2021, arXiv:2103.15691",
        options={"init": {"add_pooling_layer": False}},
    ),
    _video_transformer(
        "vjepa2-vitl-fpc64-256",
        "facebook/vjepa2-vitl-fpc64-256",
        "b3c1679b7c34d3255ef3547f27c7b226aefab26f",
        frames=64,
        parameters=303_885_312,
        architecture="VJEPA2Model",
        depth=24,
        norm="encoder.layernorm",
        width=1024,
        size=256,
        pooling="mean",
        prefix_tokens=0,
        prepared=processor(IMAGENET, BILINEAR),
        lora_targets=("attention.query", "attention.key", "attention.value", "attention.proj"),
        licence="MIT",
        source="Assran et al. 2025, arXiv:2506.09985",
        options=VJEPA2_OPTIONS,
    ),
    # the same size with a quarter of the frames, so a seventh of the work
    _video_transformer(
        "vjepa2-vitl-fpc16-256-ssv2",
        "facebook/vjepa2-vitl-fpc16-256-ssv2",
        "4aa02df83918538fc21cfaf576382fa20e489a80",
        frames=16,
        parameters=303_885_312,
        architecture="VJEPA2Model",
        depth=24,
        norm="encoder.layernorm",
        width=1024,
        size=256,
        pooling="mean",
        prefix_tokens=0,
        heads=("pooler.", "classifier."),
        prepared=processor(IMAGENET, BILINEAR),
        lora_targets=("attention.query", "attention.key", "attention.value", "attention.proj"),
        licence="MIT",
        source="Assran et al. 2025, arXiv:2506.09985",
        options=VJEPA2_OPTIONS,
    ),
)
