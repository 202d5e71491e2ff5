"""Cards of vision-language models."""

from vidsim.encoders.base import EncoderCard
from vidsim.encoders.cards.colours import BICUBIC, HALF, processor
from vidsim.encoders.cards.image import SEVEN_FRAMES
from vidsim.encoders.cards.layers import blocks

ROWS = (
    EncoderCard(
        name="Qwen3-VL-2B-Instruct",
        family="vision_language",
        modality="video+text",
        layers=blocks("model.language_model.layers.{i}", 28, "model.language_model.norm"),
        default_layer="model.language_model.norm",
        checkpoint="Qwen/Qwen3-VL-2B-Instruct",
        revision="89644892e4d85e24eaac8bacfd4f463576704203",
        # the paper gives it the caption and the frames of image models; each frame is a still of about its own size
        sampling=SEVEN_FRAMES,
        width=2048,
        # over the tokens from the first frame on
        pooling="mean",
        # the head is the embedding of the tokens again, and counts once
        parameters=2_127_532_032,
        licence="Apache-2.0",
        # of the language stack; the vision tower calls its own qkv and proj
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj"),
        architecture="Qwen3VLForConditionalGeneration",
        source="Bai et al. 2025, Qwen3-VL Technical Report, arXiv:2511.21631",
        # pixels of a patch, patches along the side of a token, frames in a patch
        options={"patches": (16, 2, 2), "prepared": processor(HALF, BICUBIC)},
    ),
)
