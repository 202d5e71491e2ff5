"""Tiny checkpoints with random weights, in the files, keys and spellings in which the real ones are published."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from vidsim.encoders import catalog
from vidsim.encoders.base import EncoderCard
from vidsim.encoders.checkpoint import needed_beside_weights

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
SIZE = 32
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": SIZE,
    "patch_size": 8,
}


@dataclass(frozen=True)
class Published:
    """A checkpoint folder, the card that fits it, and the upstream model that its weights were taken from."""

    card: EncoderCard
    folder: Path
    upstream: nn.Module
    state: Mapping[str, Tensor]
    preprocess: Mapping[str, Any]

    def normalised(self, batch: Tensor) -> Tensor:
        """Rescale and standardise as the processor says."""
        mean, std = (torch.tensor(self.preprocess[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
        rescaled = batch.double() / 255
        if self.card.architecture == "VivitModel":
            rescaled = batch.double() / 127.5 - 1
        return (rescaled - mean).div(std).float()

    def plain(self, batch: Tensor, **options: Any) -> Any:
        """Run the upstream model on prepared frames, without vidsim."""
        name, extra = "pixel_values", {}
        if self.card.architecture == "VJEPA2Model":
            name, extra = "pixel_values_videos", {"skip_predictor": True}
        with torch.no_grad():
            return self.upstream(**{name: self.normalised(batch)}, **extra, **options)


def timesformer(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    config = transformers.TimesformerConfig(**{**TINY, "num_frames": 8, "num_labels": 5, **changes})
    model = transformers.TimesformerForVideoClassification(config)
    processor = {
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        "image_mean": [0.45, 0.45, 0.45],
        "image_std": [0.225, 0.225, 0.225],
        "image_processor_type": "VideoMAEImageProcessor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": SIZE},
    }
    return model, randomised(model), processor


def videomae(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    config = transformers.VideoMAEConfig(**{**TINY, "num_frames": 16, "num_labels": 5, **changes})
    model = transformers.VideoMAEForVideoClassification(config)
    state = {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): value
        for name, value in randomised(model).items()
    }
    processor = {
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        **IMAGENET,
        "resample": 2,
        "size": SIZE,
        "crop_size": SIZE,
    }
    return model, state, processor


def clip(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    vision = {**TINY, "patch_size": 16, **changes}
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text |= {"vocab_size": 11, "max_position_embeddings": 7}
    model = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8),
    )
    state = randomised(model)
    places = (vision["image_size"] // vision["patch_size"]) ** 2
    state["vision_model.embeddings.position_ids"] = torch.arange(places + 1)[None]
    state["text_model.embeddings.position_ids"] = torch.arange(7)[None]
    processor = {
        "crop_size": SIZE,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "CLIPFeatureExtractor",
        **CLIP,
        "resample": 3,
        "size": SIZE,
    }
    return model, state, processor


def clip_16(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    return clip(**{"patch_size": 8, **changes})


def dino(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    model = transformers.ViTModel(transformers.ViTConfig(**{**TINY, **changes}), add_pooling_layer=False)
    state = {vit_name(name): value for name, value in randomised(model).items()}
    processor = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        **IMAGENET,
        "resample": 2,
        "size": SIZE,
    }
    return model, state, processor


def videomae_large(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    return videomae(**{"num_hidden_layers": 3, "num_attention_heads": 2, **changes})


def vivit(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    size = {key: value for key, value in TINY.items() if key != "patch_size"}
    config = transformers.VivitConfig(
        **{**size, "num_frames": 32, "tubelet_size": [2, 8, 8], "num_labels": 5, **changes}
    )
    model = transformers.VivitForVideoClassification(config)
    state = {vit_name(name): value for name, value in randomised(model).items()}
    processor = {
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViViTImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "rescale_factor": 0.00784313725490196,
        "size": {"shortest_edge": SIZE},
    }
    return model, state, processor


def vjepa2(frames: int = 64, kind: type[Any] = transformers.VJEPA2Model, **changes: Any) -> Any:
    tiny = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_ratio": 2.0, "patch_size": 8}
    tiny |= {"crop_size": SIZE, "frames_per_clip": frames, "num_pooler_layers": 1, "num_labels": 5}
    tiny |= {"pred_hidden_size": 16, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    model = kind(transformers.VJEPA2Config(**{**tiny, **changes}))
    processor = {
        "crop_size": {"height": SIZE, "width": SIZE},
        "data_format": "channels_first",
        "default_to_square": True,
        "device": None,
        "do_center_crop": True,
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_pad": None,
        "do_rescale": True,
        "do_resize": True,
        **IMAGENET,
        "input_data_format": None,
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": SIZE * 256 // 224},
        "video_processor_type": "VJEPA2VideoProcessor",
    }
    return model, randomised(model), processor


def vjepa2_ssv2(**changes: Any) -> Any:
    return vjepa2(16, transformers.VJEPA2ForVideoClassification, **changes)


def dinov2(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    config = {key: value for key, value in TINY.items() if key != "intermediate_size"}
    model = transformers.Dinov2Model(
        transformers.Dinov2Config(**{**config, "image_size": 56, "mlp_ratio": 2, **changes})
    )
    old = {new: before for new, before in OLD_VIT.items() if new.startswith("attention")}
    processor = {
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        **IMAGENET,
        "image_processor_type": "BitImageProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": SIZE * 256 // 224},
    }
    return model, {renamed(name, old): value for name, value in randomised(model).items()}, processor


def dinov3(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**{**TINY, "num_register_tokens": 4, **changes}))
    state = {name.removeprefix("model."): value for name, value in randomised(model).items()}
    processor = {
        "crop_size": None,
        "data_format": "channels_first",
        "default_to_square": True,
        "device": None,
        "disable_grouping": None,
        "do_center_crop": None,
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        **IMAGENET,
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "input_data_format": None,
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "return_tensors": None,
        "size": {"height": SIZE, "width": SIZE},
    }
    return model, state, processor


def siglip2(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text |= {"vocab_size": 11, "max_position_embeddings": 7, "projection_size": 32}
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config={**TINY, **changes}))
    processor = {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "SiglipProcessor",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": SIZE, "width": SIZE},
    }
    return model, randomised(model), processor


MAKERS = {
    "timesformer-base": (timesformer, "timesformer"),
    "videomae-base-finetuned-kinetics": (videomae, "videomae"),
    "videomae-large-finetuned-kinetics": (videomae_large, "videomae"),
    "vivit-b-16x2-kinetics400": (vivit, "vivit"),
    "vjepa2-vitl-fpc64-256": (vjepa2, ""),
    "vjepa2-vitl-fpc16-256-ssv2": (vjepa2_ssv2, "vjepa2"),
    "clip-vit-b-32": (clip, "vision_model"),
    "clip-vit-b-16": (clip_16, "vision_model"),
    "dino-vitb16": (dino, ""),
    "dinov2-base": (dinov2, ""),
    "dinov3-vitb16": (dinov3, ""),
    "siglip2-base-patch16-224": (siglip2, "vision_model"),
}
"""What makes a model in its published form, and the part of it that the card's class loads."""

OLD_VIT = {
    "attention.q_proj": "attention.attention.query",
    "attention.k_proj": "attention.attention.key",
    "attention.v_proj": "attention.attention.value",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
"""Names in transformers 5 to those in files that were published before."""


def renamed(name: str, names: Mapping[str, str]) -> str:
    for new, before in names.items():
        name = name.replace(new, before)
    return name


def vit_name(name: str) -> str:
    """Return the name under which a weight of a ViT or a ViViT was published."""
    return renamed(re.sub(r"(^|\.)layers\.", r"\1encoder.layer.", name), OLD_VIT)


def randomised(model: nn.Module) -> dict[str, Tensor]:
    """Draw weights large enough that every block matters, and return them."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    model.eval()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., Published]:
    """Write a tiny checkpoint as its authors publish it; ``changes`` go into the architecture's configuration."""

    def make(name: str, **changes: Any) -> Published:
        maker, part = MAKERS[name]
        model, state, processor = maker(**changes)
        card = catalog.card(name)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))
        (folder / needed_beside_weights(card)).write_text(json.dumps(processor))
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        tower = getattr(model, part) if part else model
        unused = tuple(f"{module}." for module in card.options.get("unused", ()))
        blocks = tower.config.num_hidden_layers
        last = [layer for layer in card.layers if not layer[-1].isdigit()]
        tiny = replace(
            card,
            layers=(*card.layers[:blocks], *last),
            default_layer=last[-1] if last else card.layers[blocks - 1],
            size=SIZE,
            width=32,
            parameters=sum(w.numel() for name, w in tower.named_parameters() if not name.startswith(unused)),
            options={**card.options, "trained_size": 56} if "trained_size" in card.options else card.options,
        )
        return Published(tiny, folder, tower, state, processor)

    return make


@pytest.fixture
def clips() -> Callable[[EncoderCard, int], Tensor]:
    """Make prepared clips of noise."""

    def make(card: EncoderCard, count: int) -> Tensor:
        assert card.sampling is not None
        shape = (count, card.sampling.frames, 3, card.size, card.size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))

    return make
