"""Frames come out as from the checkpoints' own PIL processors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from torch.nn.functional import interpolate
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil
from transformers.models.vivit.image_processing_vivit import VivitImageProcessor

from vidsim.data.video import decoder
from vidsim.encoders.preprocess import Preprocess
from vidsim.errors import VidsimError

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
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
            **IMAGENET,
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
    "vivit": (VivitImageProcessor, {"image_processor_type": "VivitImageProcessor"}),
    "vivit, published": (
        VivitImageProcessor,
        {
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "ViViTImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "resample": 2,
            "rescale_factor": 0.00784313725490196,
            "size": {"shortest_edge": 224},
        },
    ),
    "vivit, no offset": (
        VivitImageProcessor,
        {"image_processor_type": "VivitImageProcessor", "offset": False, "rescale_factor": 1 / 255, "size": 240},
    ),
    "bit": (BitImageProcessorPil, {"image_processor_type": "BitImageProcessor"}),
    "dinov2, published": (
        BitImageProcessorPil,
        {
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            **IMAGENET,
            "image_processor_type": "BitImageProcessor",
            "resample": 3,
            "rescale_factor": 0.00392156862745098,
            "size": {"shortest_edge": 256},
        },
    ),
    "siglip": (SiglipImageProcessorPil, {"image_processor_type": "SiglipImageProcessor"}),
    "siglip2, published": (
        SiglipImageProcessorPil,
        {
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
            "size": {"height": 224, "width": 224},
        },
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
    if processor is VivitImageProcessor:
        silent["offset"] = False
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


TORCHVISION = {
    # processors that exist for torchvision alone, as their files say it
    "dinov3": {
        "crop_size": None,
        "data_format": "channels_first",
        "default_to_square": True,
        "do_center_crop": None,
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        **IMAGENET,
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 224, "width": 224},
    },
    "vjepa2": {
        "crop_size": {"height": 256, "width": 256},
        "default_to_square": True,
        "do_center_crop": True,
        "do_normalize": True,
        "do_pad": None,
        "do_rescale": True,
        "do_resize": True,
        **IMAGENET,
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 292},
        "video_processor_type": "VJEPA2VideoProcessor",
    },
}


def as_torchvision(image: ndarray, name: str) -> torch.Tensor:
    """Resize as torchvision does, by torch's own antialiased bilinear filter in floating point, and crop."""
    height, width = image.shape[:2]
    if name == "dinov3":
        size, crop = (224, 224), 224
    else:
        edge, crop = 292, 256
        size = (edge * height // width, edge) if width <= height else (edge, edge * width // height)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    pixels = interpolate(pixels, size=size, mode="bilinear", antialias=True, align_corners=False)[0]
    top, left = ((edge - crop) // 2 for edge in size)
    return pixels[:, top : top + crop, left : left + crop]


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_processors_are_followed_within_a_level(name: str, images: list[ndarray]) -> None:
    ours = Preprocess.from_config(TORCHVISION[name])
    mean, std = (torch.tensor(IMAGENET[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    for image in images:
        frame, expected = ours.frame(image), as_torchvision(image, name)
        assert frame.shape == expected.shape == (3, *ours.size)
        away = (frame - expected).abs()
        assert away.max() < 1.01, image.shape  # rounding to whole levels, once each way
        assert away.mean() < 0.3
        np.testing.assert_allclose(
            ours.normalise(frame), (frame.double() / 255 - mean).div(std), rtol=1e-5, atol=1e-6, err_msg=name
        )


def test_silent_files_of_torchvisions_processors() -> None:
    for name, key, said in (
        ("dinov3", "image_processor_type", "DINOv3ViTImageProcessorFast"),
        ("vjepa2", "video_processor_type", "VJEPA2VideoProcessor"),
    ):
        assert Preprocess.from_config({key: said}) == Preprocess.from_config(TORCHVISION[name])


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("VivitModel", "vivit"),
        ("Dinov2Model", "bit"),
        ("SiglipVisionModel", "siglip"),
        ("DINOv3ViTModel", "dinov3"),
        ("VJEPA2Model", "vjepa2"),
    ],
)
def test_the_architecture_tells_the_processor(architecture: str, name: str) -> None:
    named = TORCHVISION[name] if name in TORCHVISION else CONFIGS[name][1]
    assert Preprocess.from_config({}, architecture) == Preprocess.from_config(named)


def test_vjepas_size_follows_its_crop() -> None:
    smaller = {**TORCHVISION["vjepa2"], "crop_size": {"height": 224, "width": 224}}
    assert Preprocess.from_config(smaller).shortest_edge == 256
    with pytest.raises(VidsimError, match=r"crop_size {'shortest_edge': 224}; expected a height and a width"):
        Preprocess.from_config({**smaller, "crop_size": {"shortest_edge": 224}})


def test_vivit_sees_values_from_minus_3_to_1() -> None:
    ours = Preprocess.from_config(CONFIGS["vivit, published"][1])
    ends = ours.normalise(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    np.testing.assert_allclose(ends[:, 0, 0, 0], [-3, 1], atol=1e-6)


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
    seen = {name: json.dumps(Preprocess.from_config(config).provenance) for name, (_, config) in CONFIGS.items()}
    same = {"bit": "clip", "siglip": "dino", "siglip2, published": "vit"}  # other classes, the same steps
    for name, other in same.items():
        assert seen[name] == seen[other]
    assert len(set(seen.values())) == len(CONFIGS) - len(same)


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
        ({"image_processor_type": "ViTImageProcessor", "offset": True}, "asks for offset=True"),
        ({"image_processor_type": "VivitImageProcessor", "do_rescale": False}, "offset without do_rescale"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5]}, "three numbers"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [0.5, float("nan"), 0.5]}, "three numbers, for"),
        ({"image_processor_type": "ViTImageProcessor", "image_mean": [True, 0, 0]}, "three numbers, for"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": 0}, "image_std 0; expected three numbers above 0"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0.2, 0.0, 0.2]}, "three numbers above 0"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0.2, -0.2, 0.2]}, "three numbers above 0"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0.2, float("nan"), 0.2]}, "three numbers above"),
        ({"image_processor_type": "ViTImageProcessor", "image_std": [0.2, 10**400, 0.2]}, "three numbers above 0"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": "x"}, "rescale_factor 'x'; expected a number"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": [1]}, "rescale_factor [1]; expected a number"),
        ({"image_processor_type": "ViTImageProcessor", "rescale_factor": 0}, "rescale_factor 0; expected a number"),
        ({"image_processor_type": "ViTImageProcessor", "size": 0}, "size 0; expected a number of pixels above 0"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"height": 9, "width": -9}}, "pixels above 0"),
        ({"image_processor_type": "ViTImageProcessor", "size": {"height": True, "width": True}}, "pixels above 0"),
        ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 0}}, "pixels above 0"),
        ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": -5}}, "pixels above 0"),
        ({"image_processor_type": "CLIPImageProcessor", "crop_size": 0}, "crop_size 0; expected a number of pixels"),
        # upstream refuses such a crop; frames of one size are not to go uncropped
        (
            {"image_processor_type": "CLIPImageProcessor", "size": [256, 256], "crop_size": {"shortest_edge": 224}},
            r"crop_size {'shortest_edge': 224}; expected a height and a width",
        ),
        ({"image_processor_type": "CLIPImageProcessor", "crop_size": [-1, 224]}, "crop_size [-1, 224]; expected"),
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
