"""Checkpoints of published geometry with random weights, in the published formats, for the other benchmarks."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

from vidsim.encoders import catalog
from vidsim.encoders.video_cnn import build

VIDEO = {"image_mean": [0.45, 0.45, 0.45], "image_std": [0.225, 0.225, 0.225]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}


def timesformer(folder: Path) -> Path:
    """Write TimeSformer-base."""
    config = transformers.TimesformerConfig(num_frames=8, num_labels=400)
    return _save(transformers.TimesformerForVideoClassification, config, folder, "VideoMAEImageProcessor", VIDEO)


def videomae(folder: Path) -> Path:
    """Write VideoMAE-B."""
    config = transformers.VideoMAEConfig(num_labels=400)
    return _save(transformers.VideoMAEForVideoClassification, config, folder, "VideoMAEImageProcessor", IMAGENET)


def clip(folder: Path) -> Path:
    """Write CLIP-B/32."""
    return _save(transformers.CLIPModel, transformers.CLIPConfig(), folder, "CLIPImageProcessor", CLIP)


def x3d(folder: Path) -> Path:
    """Write X3D-M."""
    torch.manual_seed(0)
    folder.mkdir()
    torch.save({"model_state": build(catalog.card("x3d-m")).state_dict()}, folder / "X3D_M.pyth")
    return folder


WRITERS: Mapping[str, Callable[[Path], Path]] = {
    "timesformer-base": timesformer,
    "videomae-base-finetuned-kinetics": videomae,
    "x3d-m": x3d,
    "clip-vit-b-32": clip,
}


def _save(kind: Any, config: Any, folder: Path, processor: str, colours: Mapping[str, Any]) -> Path:
    torch.manual_seed(0)
    kind(config).save_pretrained(folder)
    prepared = {
        "image_processor_type": processor,
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "resample": 3 if processor.startswith("CLIP") else 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared | dict(colours)))
    return folder
