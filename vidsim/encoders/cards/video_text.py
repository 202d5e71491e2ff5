"""Cards of video-text models."""

from vidsim.encoders.base import EncoderCard, Sampling
from vidsim.encoders.cards.colours import BILINEAR, IMAGENET, processor
from vidsim.encoders.cards.layers import blocks

DEPTH = 12
ATTENTION = ("self_attn", "message_attn")
"""Within frames, and across them."""

ROWS = (
    EncoderCard(
        name="xclip-base-patch32",
        family="video_text",
        modality="video",
        layers=blocks(
            "vision_model.encoder.layers.{i}",
            DEPTH,
            *("vision_model.post_layernorm", "mit.encoder.layers.0", "video_embeds"),
        ),
        default_layer="video_embeds",
        checkpoint="microsoft/xclip-base-patch32",
        revision="a2e27a78a2b5d802e894b8a1ef14f3a8ce490963",
        sampling=Sampling(frames=8),
        size=224,
        # blocks have 768 features, the frame integration and the joint space 512
        width=0,
        pooling="cls",
        parameters=196_585_729,
        licence="MIT",
        # by their whole path: the text tower, which no clip passes through, has layers of the same names
        lora_targets=tuple(
            f"vision_model.encoder.layers.{i}.{attention}.{name}"
            for i in range(DEPTH)
            for attention in ATTENTION
            for name in ("q_proj", "k_proj", "v_proj", "out_proj")
        ),
        architecture="XCLIPModel",
        source="Ni et al. 2022, arXiv:2208.02816",
        options={"prefix_tokens": 1, "prepared": processor(IMAGENET, BILINEAR)},
    ),
)
