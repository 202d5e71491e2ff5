"""Preprocess: turn decoded frames into what a checkpoint was trained on, exactly as its own processor does.

Reading a configuration imports no torch: the steps are part of an encoder's identity.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from vidsim.encoders.processor_values import (
    read_colours,
    read_crop,
    read_factor,
    read_filter,
    read_size,
    refuse_half_truths,
    refuse_other_keys,
)
from vidsim.errors import VidsimError

if TYPE_CHECKING:
    import torch

STANDARD = (0.5, 0.5, 0.5)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

SHORTEST_EDGE_CROPPED: Mapping[str, object] = {
    "size": {"shortest_edge": 224},
    "resample": 3,
    "crop_size": 224,
    "do_center_crop": True,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}

FAMILIES: Mapping[str, Mapping[str, object]] = {
    "VideoMAE": {"size": {"shortest_edge": 224}, "resample": 2, "crop_size": 224, "do_center_crop": True},
    "ViT": {"size": {"height": 224, "width": 224}, "resample": 2},
    "CLIP": SHORTEST_EDGE_CROPPED,
    "Bit": SHORTEST_EDGE_CROPPED,
    "Siglip": {"size": {"height": 224, "width": 224}, "resample": 3},
    "DINOv3ViT": {
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
    },
    "Vivit": {
        "size": {"shortest_edge": 256},
        "resample": 2,
        "crop_size": 224,
        "do_center_crop": True,
        "rescale_factor": 1 / 127.5,
        "offset": True,
    },
    "VJEPA2": {
        "size": {"shortest_edge": 292},
        "resample": 2,
        "crop_size": 256,
        "do_center_crop": True,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
    },
}
"""What a processor class assumes where its config is silent (transformers 5.23); ``size`` also tells what a bare
number means there: the shortest edge, or both edges."""

DEFAULTS: Mapping[str, object] = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "offset": False,
    "do_normalize": True,
    "image_mean": STANDARD,
    "image_std": STANDARD,
}

HARMLESS = frozenset(
    {
        *(
            "image_processor_type",
            "feature_extractor_type",
            "video_processor_type",
            "processor_class",
            "_processor_class",
            "auto_map",
        ),
        *("_valid_processor_keys", "data_format", "input_data_format", "return_tensors", "device", "disable_grouping"),
        *("do_convert_rgb", "default_to_square", "do_sample_frames", "model_input_names"),
    }
)
"""Keys that leave the pixels of an RGB frame alone."""

USED = frozenset(
    {
        *("do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor"),
        *("do_normalize", "image_mean", "image_std"),
    }
)
"""Keys that are followed."""

ARCHITECTURES: Mapping[str, str] = {
    "TimesformerModel": "VideoMAE",
    "VideoMAEModel": "VideoMAE",
    "VivitModel": "Vivit",
    "VJEPA2Model": "VJEPA2",
    "CLIPVisionModel": "CLIP",
    "ViTModel": "ViT",
    "Dinov2Model": "Bit",
    "DINOv3ViTModel": "DINOv3ViT",
    "SiglipVisionModel": "Siglip",
}
"""Processor class of an architecture, for old files that name none."""

NEAREST = 0
"""Pillow's filter that takes a pixel as it is."""

LARGER = 4
"""Times the pixels of a prepared frame, and its longer side, that one may have which is moved unscaled."""

SUFFIXES = ("VideoProcessor", "FeatureExtractor", "ImageProcessorFast", "ImageProcessorPil", "ImageProcessor")
"""What names of processor classes end in, old and new."""


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """Resize, crop and normalise frames.

    Resizing is Pillow's own, as in the checkpoints' processors, so pixels are theirs to the bit. Torch's antialiased
    resize of uint8 was measured up to 22/255 away (bicubic, portrait frames resized to a square: Pillow 13 goes down
    columns first where height shrinks more than width) and 1 to 2/255 on .01 to 1 % of the values elsewhere.
    Processors that exist for torchvision alone (DINOv3, V-JEPA 2) are followed with Pillow too, so that every machine
    gets the same pixels: both are bilinear, and within 1/255 of torch's antialiased resize in floating point.

    Parameters
    ----------
    shortest_edge : int, optional
        Pixels of the shorter edge after resizing; the other edge follows, rounded down.
    exact : (int, int), optional
        Height and width after resizing, whatever the frame's shape.
    resample : int
        Pillow's filter: 0 nearest, 1 Lanczos, 2 bilinear, 3 bicubic, 4 box, 5 Hamming.
    crop : (int, int), optional
        Height and width cut from the middle; a smaller frame is padded with zeros.
    factor : float
        Multiplies the 0..255 values.
    mean, std : (float, float, float)
        Subtracted from and divided into the rescaled red, green and blue. ViViT's processor takes 1 off first (its
        ``offset``), which is part of the mean here.

    Raises
    ------
    VidsimError
        If frames of any shape would not all come out at one size.
    """

    shortest_edge: int | None = None
    exact: tuple[int, int] | None = None
    resample: int = 2
    crop: tuple[int, int] | None = None
    factor: float = 1 / 255
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        if self.crop is None and self.exact is None:
            raise VidsimError("preprocessing neither crops nor resizes to a fixed height and width; expected either")
        if self.shortest_edge is not None and self.exact is not None:
            raise VidsimError("preprocessing resizes to a shortest edge and to a fixed size; expected either")

    @classmethod
    def from_config(cls, config: Mapping[str, object], architecture: str | None = None) -> "Preprocess":
        """Read a checkpoint's ``preprocessor_config.json``, in its old and new spellings.

        Parameters
        ----------
        config : mapping
            The parsed file. The class it names (``image_processor_type`` or ``feature_extractor_type``) says what
            missing keys mean.
        architecture : str, optional
            The model's class: tells the processor's class where the file names none. Without either every key must
            be there.

        Returns
        -------
        Preprocess
            The same steps.

        Raises
        ------
        VidsimError
            If it names a class that is not known here, or asks for a step that is not done here.
        """
        refuse_half_truths(config)
        family = _family(config, architecture)
        refuse_other_keys(config, USED | family.keys(), HARMLESS)
        known = {**DEFAULTS, **family, **{k: v for k, v in config.items() if v is not None}}
        if family is FAMILIES["VJEPA2"]:
            # its processor sets the size by the crop, whatever the file says
            known["size"] = {"shortest_edge": int(read_crop(known["crop_size"])[0] * 256 / 224)}
        if known["offset"] and not known["do_rescale"]:
            raise VidsimError("preprocessor config has an offset without do_rescale; expected both, or neither")
        mean = read_colours(known["image_mean"], "image_mean") if known["do_normalize"] else (0.0, 0.0, 0.0)
        square = bool(config.get("default_to_square", "shortest_edge" not in cast("Any", family.get("size", {}))))
        shortest_edge, exact = read_size(known["size"], square, "size") if known["do_resize"] else (None, None)
        return cls(
            shortest_edge=shortest_edge,
            exact=exact,
            resample=read_filter(known.get("resample", 2)),
            crop=read_crop(known.get("crop_size")) if known["do_center_crop"] else None,
            factor=read_factor(known["rescale_factor"]) if known["do_rescale"] else 1.0,
            mean=(mean[0] + 1, mean[1] + 1, mean[2] + 1) if known["offset"] else mean,
            std=read_colours(known["image_std"], "image_std", above=0.0) if known["do_normalize"] else (1.0, 1.0, 1.0),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Return height and width of a prepared frame in pixels."""
        return cast("tuple[int, int]", self.crop or self.exact)

    @property
    def provenance(self) -> Mapping[str, object]:
        """Return what determines the pixels, ready for JSON."""
        facts = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"resizer": "pillow", **facts}

    def target(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the size of a frame after scaling, before it is cropped.

        Parameters
        ----------
        height, width : int
            Of the frame, in pixels.

        Returns
        -------
        (int, int) or None
            Height and width; None if frames are not scaled.
        """
        if self.shortest_edge is None:
            return self.exact
        edge = self.shortest_edge
        if width <= height:
            return int(edge * height / width), edge
        return edge, int(edge * width / height)

    def can_wait(self, height: int, width: int) -> bool:
        """Say whether frames can be sent unscaled to where they are scaled otherwise than by Pillow.

        Parameters
        ----------
        height, width : int
            Of the frames, in pixels.

        Returns
        -------
        bool
            True for frames that are scaled, to no less than their crop, by a weighted mean, and not so large that it
            takes long to move them.
        """
        target = self.target(height, width)
        if target is None or target == (height, width) or self.resample == NEAREST:
            return False
        within = all(have >= want for have, want in zip(target, self.size, strict=True))
        handy = max(height, width, *target) <= LARGER * max(self.size)
        return within and handy and height * width <= LARGER * self.size[0] * self.size[1]

    def frame(self, image: UInt8[ndarray, "h w 3"]) -> "torch.Tensor":
        """Resize and crop one frame, as `pixels` does, for torch."""
        import torch

        return torch.from_numpy(self.pixels(image))

    def pixels(self, image: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "3 H W"]:
        """Resize and crop one frame; meant for decoding threads: Pillow lets others run and starts no threads.

        Parameters
        ----------
        image : array of shape (h, w, 3)
            RGB, of any size.

        Returns
        -------
        array of shape (3, H, W)
            The frame at ``size``, still 0..255.
        """
        from PIL import Image

        target = self.target(image.shape[0], image.shape[1])
        if target is not None and target != image.shape[:2]:
            picture = Image.fromarray(np.ascontiguousarray(image))
            height, width = target
            image = np.asarray(picture.resize((width, height), resample=Image.Resampling(self.resample)))
        if self.crop is not None:
            image = _crop(image, self.crop)
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def normalise(self, frames: "torch.Tensor") -> "torch.Tensor":
        """Rescale and standardise prepared frames, on the device they are on.

        Parameters
        ----------
        frames : tensor of shape (..., 3, H, W), uint8
            What ``frame`` returned, stacked.

        Returns
        -------
        tensor of shape (..., 3, H, W), float32
            ``(value * factor - mean) / std`` per colour.
        """
        from vidsim.encoders.transfer import to_device  # imports torch

        mean, std = (to_device(v, frames.device).view(3, 1, 1) for v in (self.mean, self.std))
        return frames.float().mul_(self.factor).sub_(mean).div_(std)


def _crop(image: UInt8[ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[ndarray, "h2 w2 3"]:
    """Cut the middle out, padding with zeros where the image is smaller (the odd row or column before it)."""
    for axis, (have, want) in enumerate(zip(image.shape[:2], size, strict=True)):
        if have < want:
            before = (want - have + 1) // 2
            widths = [(0, 0)] * 3
            widths[axis] = (before, want - have - before)
            image = np.pad(image, widths)
        else:
            start = (have - want) // 2
            image = image[start : start + want] if axis == 0 else image[:, start : start + want]
    return image


def _family(config: Mapping[str, object], architecture: str | None) -> Mapping[str, object]:
    named = (config.get(key) for key in ("image_processor_type", "feature_extractor_type", "video_processor_type"))
    name = next(filter(None, named), ARCHITECTURES.get(architecture or ""))
    if name is None:
        missing = sorted(USED - config.keys())
        if missing:
            raise VidsimError(
                f"preprocessor config names no image_processor_type and lacks {', '.join(missing)}; expected either"
            )
        return {}
    stem = str(name)
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    known = {family.lower(): defaults for family, defaults in FAMILIES.items()}  # ViViT's files say ViViT, not Vivit
    if stem.lower() not in known:
        raise VidsimError(f"preprocessor class {name!r} is not known; expected that of {', '.join(sorted(FAMILIES))}")
    return known[stem.lower()]
