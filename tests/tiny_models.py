"""Tiny checkpoints of models that read frames and text, in the files, keys and spellings of the published ones."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from vidsim.encoders import catalog
from vidsim.encoders.base import EncoderCard

QWEN, XCLIP = "Qwen3-VL-2B-Instruct", "xclip-base-patch32"

CONTROLS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>"),
)

TEMPLATE = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.content is string %}
        {{- message.content }}
    {%- else %}
        {%- for part in message.content %}
            {%- if part.type == 'image' or 'image' in part %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif 'text' in part %}
                {{- part.text }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
"""What the published template makes of turns of a user, in its own order: role, parts, end."""


@dataclass(frozen=True)
class Tiny:
    """A checkpoint folder, the card that fits it, the upstream model and its weights by their published names."""

    card: EncoderCard
    folder: Path
    upstream: Any
    state: dict[str, Tensor]


def write_qwen(folder: Path, *, shards: int = 1, **text: Any) -> Tiny:
    """Write a Qwen3-VL; ``text`` goes into the configuration of its language stack."""
    folder.mkdir(parents=True)
    tokenizer = _byte_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    number = {name: tokenizer.token_to_id(name) for name in CONTROLS}
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "image_token_id": number["<|image_pad|>"],
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "dtype": "bfloat16",
            "head_dim": 8,
            "bos_token_id": number["<|endoftext|>"],
            "eos_token_id": number["<|im_end|>"],
            "hidden_act": "silu",
            "hidden_size": 32,
            "initializer_range": 0.02,
            "intermediate_size": 48,
            "max_position_embeddings": 4096,
            "model_type": "qwen3_vl_text",
            "num_attention_heads": 4,
            "num_hidden_layers": 3,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_theta": 5000000,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [2, 1, 1], "rope_type": "default"},
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": 280,
            **text,
        },
        "tie_word_embeddings": True,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": number["<|video_pad|>"],
        "vision_config": {
            "deepstack_visual_indexes": [0, 1],
            "depth": 3,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 32,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": 48,
            "model_type": "qwen3_vl",
            "num_heads": 4,
            "num_position_embeddings": 16,
            "out_hidden_size": 32,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": number["<|vision_end|>"],
        "vision_start_token_id": number["<|vision_start|>"],
    }
    processor = {
        "size": {"longest_edge": 8192, "shortest_edge": 2048},
        "patch_size": 16,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "Qwen3VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessorFast",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    precise = json.loads(json.dumps(config).replace("bfloat16", "float32"))
    model = transformers.Qwen3VLForConditionalGeneration(transformers.Qwen3VLConfig(**precise))
    state = {name: value for name, value in _randomised(model).items() if name != "lm_head.weight"}  # tied
    _save({name: value.bfloat16() for name, value in state.items()}, folder, shards)
    card = catalog.card(QWEN)
    tiny = replace(
        card,
        layers=(*(f"model.language_model.layers.{i}" for i in range(3)), "model.language_model.norm"),
        width=32,
        parameters=sum(weight.numel() for weight in state.values()),
    )
    return Tiny(tiny, folder, model, state)


def write_xclip(folder: Path, **vision: Any) -> Tiny:
    """Write an X-CLIP; ``vision`` goes into the configuration of its video tower."""
    folder.mkdir(parents=True)
    tokenizer = _clip_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": ["XCLIPModel"],
        "logit_scale_init_value": 2.6592,
        "model_type": "xclip",
        "projection_dim": 24,
        "prompt_alpha": 0.1,
        "prompt_attention_dropout": 0.0,
        "prompt_hidden_act": "quick_gelu",
        "prompt_layers": 2,
        "prompt_num_attention_heads": 4,
        "prompt_projection_dropout": 0.0,
        "text_config": {
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": 12,
            "vocab_size": tokenizer.get_vocab_size(),
            "bos_token_id": 0,
            "eos_token_id": 2,
            "pad_token_id": 1,
            "hidden_act": "quick_gelu",
            "model_type": "xclip_text_model",
        },
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 32,
            "patch_size": 16,
            "num_frames": 8,
            "hidden_act": "quick_gelu",
            "mit_hidden_size": 24,
            "mit_intermediate_size": 48,
            "mit_num_attention_heads": 4,
            "mit_num_hidden_layers": 1,
            "model_type": "xclip_vision_model",
            **vision,
        },
    }
    processor = {
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "VideoMAEImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 32},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    model = transformers.XCLIPModel(transformers.XCLIPConfig(**json.loads(json.dumps(config))))
    state = _randomised(model)
    published = {  # buffers that files of 2022 still hold
        **state,
        "text_model.embeddings.position_ids": torch.arange(12)[None],
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
    }
    _save(published, folder, 1)
    card = catalog.card(XCLIP)
    depth = config["vision_config"]["num_hidden_layers"]
    blocks = tuple(f"vision_model.encoder.layers.{i}" for i in range(depth))
    tiny = replace(
        card,
        layers=(*blocks, *card.layers[12:]),
        lora_targets=tuple(name for name in card.lora_targets if name.startswith(tuple(f"{b}." for b in blocks))),
        size=32,
        parameters=sum(weight.numel() for weight in model.parameters()),
    )
    return Tiny(tiny, folder, model, state)


def _randomised(model: nn.Module) -> dict[str, Tensor]:
    """Draw weights large enough that every block matters, and return them."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            # in the precision that some are published in
            weight.copy_((torch.randn(weight.shape, generator=generator) * 0.2).bfloat16())
    model.eval()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _save(state: dict[str, Tensor], folder: Path, shards: int) -> None:
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(state)
    parts = {f"model-{i + 1:05}-of-{shards:05}.safetensors": names[i::shards] for i in range(shards)}
    for file, held in parts.items():
        save_file({name: state[name] for name in held}, folder / file, metadata={"format": "pt"})
    places = {name: file for file, held in parts.items() for name in held}
    size = sum(value.numel() * value.element_size() for value in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _byte_tokenizer() -> Tokenizer:
    """Build Qwen's kind of tokenizer: bytes, a few merges, control tokens behind them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("d", "o"), ("do", "g"), ("Ġ", "a")]
    vocabulary = {piece: i for i, piece in enumerate([*alphabet, *(a + b for a, b in merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    words = Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(CONTROLS))
    return tokenizer


def _clip_tokenizer() -> Tokenizer:
    """Build CLIP's kind of tokenizer: lower case, words that end in </w>, the end as the highest token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("d", "o"), ("do", "g</w>")]
    pieces = [*alphabet, *(piece + "</w>" for piece in alphabet), *(a + b for a, b in merges)]
    start, end = "<|startoftext|>", "<|endoftext|>"
    vocabulary = {piece: i for i, piece in enumerate([*pieces, start, end])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=end))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    words = Regex(r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens([start, end])
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (start, vocabulary[start]), trim_offsets=False, add_prefix_space=False
    )
    return tokenizer
