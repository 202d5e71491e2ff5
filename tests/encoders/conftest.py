"""Tiny checkpoints with random weights, in the files, keys and spellings in which the real ones are published."""

import json
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
        return (batch.double() / 255 - mean).div(std).float()


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
    state["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
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


def dino(**changes: Any) -> tuple[nn.Module, dict[str, Tensor], dict[str, Any]]:
    model = transformers.ViTModel(transformers.ViTConfig(**{**TINY, **changes}), add_pooling_layer=False)
    old = {
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    state = {}
    for name, value in randomised(model).items():
        published = name.replace("layers.", "encoder.layer.", 1) if name.startswith("layers.") else name
        for new, before in old.items():
            published = published.replace(new, before)
        state[published] = value
    processor = {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        **IMAGENET,
        "resample": 2,
        "size": SIZE,
    }
    return model, state, processor


MAKERS = {
    "timesformer-base": timesformer,
    "videomae-base-finetuned-kinetics": videomae,
    "clip-vit-b-32": clip,
    "dino-vitb16": dino,
}


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
        model, state, processor = MAKERS[name](**changes)
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(model.config.to_dict(), default=str))
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        card = catalog.card(name)
        towers = {"timesformer-base": "timesformer", "clip-vit-b-32": "vision_model"}
        tower = model if name == "dino-vitb16" else getattr(model, towers.get(name, "videomae"))
        norm = [layer for layer in card.layers if not layer[-1].isdigit()]
        tiny = replace(
            card,
            layers=(*card.layers[:2], *norm),
            default_layer=norm[0] if norm else card.layers[1],
            size=SIZE,
            width=32,
            parameters=sum(weight.numel() for weight in tower.parameters()),
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
