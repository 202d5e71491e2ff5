"""Frames come out as from the checkpoints' own PIL processors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from vidsim.data.video import decoder
from vidsim.encoders.preprocess import Preprocess
from vidsim.errors import VidsimError

TIMESFORMER = {"image_mean": [0.45, 0.45, 0.45], "image_std": [0.225, 0.225, 0.225]}
CONFIGS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "videomae": (VideoMAEImageProcessorPil, {"image_processor_type": "VideoMAEImageProcessor"}),
    "videomae, old": (
        VideoMAEImageProcessorPil,
        {
            "feature_extractor_type": "VideoMAEFeatureExtractor",
            "size": 224,
            "resample": 2,
            "do_resize": True,
            "do_center_crop": True,
            "do_normalize": True,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
        },
    ),
    "timesformer": (
        VideoMAEImageProcessorPil,
        {
            "feature_extractor_type": "VideoMAEFeatureExtractor",
            "image_processor_type": "VideoMAEImageProcessor",
            "size": {"shortest_edge": 224},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "rescale_factor": 0.00392156862745098,
            **TIMESFORMER,
        },
    ),
    "padded": (VideoMAEImageProcessorPil, {"image_processor_type": "VideoMAEImageProcessor", "size": 101}),
    "clip": (
        CLIPImageProcessorPil,
        {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3},
    ),
    "clip, odd crop": (
        CLIPImageProcessorPil,
        {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 120}, "crop_size": [97, 130]},
    ),
    "vit": (ViTImageProcessorPil, {"feature_extractor_type": "ViTFeatureExtractor", "size": 224}),
    "dino": (
        ViTImageProcessorPil,
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 3},
    ),
    "raw": (
        ViTImageProcessorPil,
        {"image_processor_type": "ViTImageProcessor", "do_normalize": False, "do_rescale": False},
    ),
}


@pytest.fixture(scope="module")
def images(shared: Path) -> list[ndarray]:
    """Return real frames, landscape and portrait, large, odd, small, and a single pixel."""
    clips = shared / "data" / "clips"
    names = (
        *("people/bikes.mp4", "people/carphone.mp4", "formats/fire2.mp4", "formats/animated.gif"),
        *("formats/testsrc2_odd_height_and_width_444.mp4", "formats/bitmap.mp4"),
    )
    frames = [decoder().decode(clips / name, lambda duration: np.array([duration / 2])).images[0] for name in names]
    return frames + [np.ascontiguousarray(frame.swapaxes(0, 1)) for frame in frames]


@pytest.mark.parametrize("name", CONFIGS)
def test_pixels_equal_those_of_the_processor(name: str, images: list[ndarray]) -> None:
    processor, config = CONFIGS[name]
    ours = Preprocess.from_config(config)
    silent = {"do_rescale": False, "do_normalize": False, "input_data_format": "channels_last", "return_tensors": "np"}
    for image in images:
        frame = ours.frame(image)
        assert frame.shape == (3, *ours.size)
        assert frame.dtype == torch.uint8
        theirs = processor(**config)(image, **silent)["pixel_values"]
        np.testing.assert_array_equal(frame.numpy(), np.asarray(theirs).reshape(frame.shape), err_msg=str(image.shape))


@pytest.mark.parametrize("name", CONFIGS)
def test_values_equal_those_of_the_processor(name: str, images: list[ndarray]) -> None:
    processor, config = CONFIGS[name]
    ours = Preprocess.from_config(config)
    frames = torch.stack([ours.frame(image) for image in images[:3]])
    before = frames.clone()
    got = ours.normalise(frames[None])
    assert got.shape == (1, *frames.shape)
    assert torch.equal(frames, before)
    for image, value in zip(images, got[0], strict=False):
        theirs = processor(**config)(image, input_data_format="channels_last", return_tensors="np")["pixel_values"]
        np.testing.assert_allclose(value.numpy(), np.asarray(theirs).reshape(value.shape), rtol=1e-5, atol=1e-6)


def test_spellings_mean_the_same() -> None:
    new = {"image_processor_type": "VideoMAEImageProcessor", "size": {"shortest_edge": 224, "longest_edge": None}}
    old = {
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        "size": 224,
        "crop_size": {"height": 224, "width": 224},
    }
    assert Preprocess.from_config(new) == Preprocess.from_config(old)


def test_what_is_saved_reads_back(tmp_path: Path) -> None:
    for processor, config in CONFIGS.values():
        processor(**config).save_pretrained(tmp_path)
        saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
        assert Preprocess.from_config(saved) == Preprocess.from_config(config)


def test_provenance_is_json_and_tells_apart() -> None:
    seen = {json.dumps(Preprocess.from_config(config).provenance) for _, config in CONFIGS.values()}
    assert len(seen) == len(CONFIGS)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"image_processor_type": "VideoMAEImageProcessor", "do_pad": True, "size_divisor": 32},
            "do_pad=True, size_div",
        ),
        ({"image_processor_type": "BlipImageProcessor"}, "'BlipImageProcessor' is not known"),
        ({"size": 224}, "lacks crop_size"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"longest_edge": 9}}, "size {'longest_edge': 9}"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 224}}, "neither crops nor"),
        ({"image_processor_type": "ViTImageProcessor", "resample": 9}, "resample 9"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]}, "three numbers"),
    ],
)
def test_what_cannot_be_followed_is_named(config: dict[str, Any], said: str) -> None:
    with pytest.raises(VidsimError) as caught:
        Preprocess.from_config(config)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_harmless_key_is_passed_over() -> None:
    base = {"image_processor_type": "ViTImageProcessor"}
    assert Preprocess.from_config({**base, "do_convert_rgb": True, "do_pad": None}) == Preprocess.from_config(base)
