"""Cards of image encoders."""

from collections.abc import Mapping
from typing import Any

from vidsim.encoders.base import EncoderCard, Pooling, Sampling
from vidsim.encoders.cards.colours import BICUBIC, BILINEAR, CLIP, HALF, IMAGENET, processor
from vidsim.encoders.cards.layers import blocks

SEVEN_FRAMES = Sampling(frames=7)
"""Image models see seven equally spaced frames, as in the paper."""

CLIP_HEADS = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")


def _image(
    name: str,
    checkpoint: str,
    revision: str,
    *,
    parameters: int,
    architecture: str,
    pattern: str,
    depth: int = 12,
    last: tuple[str, ...],
    width: int = 768,
    size: int = 224,
    trained_size: int | None = None,
    pooling: Pooling = "cls",
    prefix_tokens: int = 1,
    heads: tuple[str, ...] = (),
    init: Mapping[str, Any] | None = None,
    prepared: Mapping[str, object],
    lora_targets: tuple[str, ...],
    licence: str,
    source: str,
) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="image",
        modality="image",
        layers=blocks(pattern, depth, *last),
        default_layer=last[-1],
        checkpoint=checkpoint,
        revision=revision,
        sampling=SEVEN_FRAMES,
        size=size,
        width=width,
        pooling=pooling,
        parameters=parameters,
        licence=licence,
        lora_targets=lora_targets,
        architecture=architecture,
        source=source,
        options={
            "prefix_tokens": prefix_tokens,
            "heads": heads,
            "init": dict(init or {}),
            "prepared": prepared,
            **({} if trained_size is None else {"trained_size": trained_size}),
        },
    )


# the hub states no licence of CLIP's: that of its authors' repository, with which they published the weights
ROWS = (
    _image(
        "clip-vit-b-32",
        "openai/clip-vit-base-patch32",
        "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
        parameters=87_456_000,
        architecture="CLIPVisionModel",
        pattern="encoder.layers.{i}",
        last=("post_layernorm",),
        heads=CLIP_HEADS,
        prepared=processor(CLIP, BICUBIC),
        lora_targets=("q_proj", "k_proj", "v_proj", "out_proj"),
        licence="MIT",
        source="Radford et al. 2021, arXiv:2103.00020",
    ),
    _image(
        "clip-vit-b-16",
        "openai/clip-vit-base-patch16",
        "57c216476eefef5ab752ec549e440a49ae4ae5f3",
        parameters=85_799_424,
        architecture="CLIPVisionModel",
        pattern="encoder.layers.{i}",
        last=("post_layernorm",),
        heads=CLIP_HEADS,
        prepared=processor(CLIP, BICUBIC),
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
        last=("layernorm",),
        heads=("pooler.", "classifier."),
        init={"add_pooling_layer": False},
        prepared=processor(IMAGENET, BILINEAR),
        lora_targets=QKVO,
        licence="Apache-2.0",
        source="Caron et al. 2021, arXiv:2104.14294",
    ),
    _image(
        "dinov2-base",
        "facebook/dinov2-base",
        "f9e44c814b77203eaa57a6bdbbd535f21ede1415",
        parameters=86_580_480,
        architecture="Dinov2Model",
        pattern="encoder.layer.{i}",
        last=("layernorm",),
        # its processor crops to 224, and the model interpolates its 37 x 37 places to 16 x 16
        trained_size=518,
        prepared=processor(IMAGENET, BICUBIC),
        lora_targets=QKVO,
        licence="Apache-2.0",
        source="Oquab et al. 2023, arXiv:2304.07193",
    ),
    _image(
        "dinov3-vitb16",
        "facebook/dinov3-vitb16-pretrain-lvd1689m",
        "5931719e67bbdb9737e363e781fb0c67687896bc",
        parameters=85_660_416,
        architecture="DINOv3ViTModel",
        pattern="model.layer.{i}",
        last=("norm",),
        prefix_tokens=5,  # CLS and four registers
        prepared=processor(IMAGENET, BILINEAR),
        lora_targets=QKVO,
        licence="DINOv3 (gated)",
        source="Siméoni et al. 2025, arXiv:2508.10104",
    ),
    _image(
        "siglip2-base-patch16-224",
        "google/siglip2-base-patch16-224",
        "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2",
        parameters=92_884_224,
        architecture="SiglipVisionModel",
        pattern="encoder.layers.{i}",
        # no CLS token: its own readout is the head, one learnt query that attends to the patches
        last=("post_layernorm", "head"),
        pooling="mean",
        prefix_tokens=0,
        heads=("text_model.", "logit_scale", "logit_bias"),
        prepared=processor(HALF, BILINEAR),
        lora_targets=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"),
        licence="Apache-2.0",
        source="Tschannen et al. 2025, arXiv:2502.14786",
    ),
)
