"""Cards of image encoders."""

from collections.abc import Mapping
from typing import Any

from vidsim.encoders.base import EncoderCard, Sampling
from vidsim.encoders.cards.layers import blocks

SEVEN_FRAMES = Sampling(frames=7)
"""Image models see seven equally spaced frames, as in the paper."""


def _image(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    parameters: int,
    architecture: str,
    pattern: str,
    depth: int = 12,
    norm: str,
    width: int = 768,
    size: int = 224,
    heads: tuple[str, ...],
    init: Mapping[str, Any] | None = None,
    lora_targets: tuple[str, ...],
    licence: str,
    source: str,
) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="image",
        modality="image",
        layers=blocks(pattern, depth, norm),
        default_layer=norm,
        checkpoint=checkpoint,
        revision=revision,
        sampling=SEVEN_FRAMES,
        size=size,
        width=width,
        pooling="cls",
        parameters=parameters,
        licence=licence,
        lora_targets=lora_targets,
        architecture=architecture,
        source=source,
        options={"prefix_tokens": 1, "heads": heads, "init": dict(init or {})},
    )


ROWS = (
    _image(
        "clip-vit-b-32",
        "openai/clip-vit-base-patch32",
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        parameters=87_456_000,
        architecture="CLIPVisionModel",
        pattern="encoder.layers.{i}",
        norm="post_layernorm",
        heads=("text_model.", "text_projection.", "visual_projection.", "logit_scale"),
        lora_targets=("q_proj", "k_proj", "v_proj", "out_proj"),
        licence="MIT",
        source="Radford et al. 2021, arXiv:2103.00020",
    ),
    _image(
        "dino-vitb16",
        "facebook/dino-vitb16",
        "f205d5d8e640a89a2b8ef0369670dfc37cc07fc2",
        parameters=85_798_656,
        architecture="ViTModel",
        pattern="layers.{i}",
        norm="layernorm",
        heads=("pooler.", "classifier."),
        init={"add_pooling_layer": False},
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
        licence="Apache-2.0",
        source="Caron et al. 2021, arXiv:2104.14294",
    ),
)
