"""Values in a processor's file that would be taken for something else, or for too much, are refused by their key."""

import pytest

from vidsim.encoders.patches import Patches
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.short_side import ShortSide
from vidsim.errors import VidsimError

VIT = {"image_processor_type": "ViTImageProcessor"}
QWEN = {"image_processor_type": "Qwen2VLImageProcessor"}
CLIP = {"image_processor_type": "CLIPImageProcessor"}
VIVIT = {"image_processor_type": "VivitImageProcessor"}


@pytest.mark.parametrize("value", ["no", "false", 0, 1, [False]])
@pytest.mark.parametrize("key", ["do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"])
@pytest.mark.parametrize(("read", "base"), [(Preprocess.from_config, CLIP), (Patches.from_config, QWEN)])
def test_a_step_is_asked_for_or_not(read, base, key, value):
    with pytest.raises(VidsimError) as told:
        read({**base, key: value})
    assert str(told.value) == f"preprocessor config has {key} {value!r}; expected true or false"


def test_offset_is_a_step_too():
    with pytest.raises(VidsimError, match="offset 'no'; expected true or false"):
        Preprocess.from_config({**VIVIT, "offset": "no"})


@pytest.mark.parametrize("key", ["size", "crop_size"])
@pytest.mark.parametrize("value", [16_385, 10**9, {"height": 10**9, "width": 8}, [8, 16_385]])
def test_no_frame_is_that_large(key, value):
    with pytest.raises(VidsimError, match=rf"config has {key} .*above 0 and up to 16,384, {{'shortest_edge': n}} or"):
        Preprocess.from_config({**CLIP, key: value})
    assert Preprocess.from_config({**VIT, "size": 16_384}).exact == (16_384, 16_384)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 5}, "size 5; expected {'shortest_edge': n, 'longest_edge': n}"),
        ({"size": {"shortest_edge": 10**12, "longest_edge": 5}}, "fewest pixels 1000000000000; expected whole numbers"),
        ({"patch_size": True}, "patch_size True; expected whole numbers"),
        ({"resample": 9}, "resample 9; expected a Pillow filter from 0 to 5"),
        ({"image_processor_type": ["Qwen2VLImageProcessor"]}, "is not known; expected Qwen2VLImageProcessor"),
    ],
)
def test_values_of_patches(changes, said):
    with pytest.raises(VidsimError) as told:
        Patches.from_config({**QWEN, **changes})
    assert said in str(told.value)


def test_a_filter_is_no_truth():
    with pytest.raises(VidsimError, match="resample True; expected a Pillow filter"):
        Preprocess.from_config({**VIT, "resample": True})


@pytest.mark.parametrize(
    "changes",
    [
        *({"size": None}, {"crop_size": "x"}, {"image_mean": None}, {"image_std": 0}, {"size": {"height": 5}}),
        {"crop_size": {"shortest_edge": 32}},
    ],
)
def test_values_of_a_short_side(changes):
    whole = {"size": {"shortest_edge": 32}, "crop_size": 32, "image_mean": 0.45, "image_std": 0.225}
    ShortSide.from_card(whole)
    with pytest.raises(VidsimError, match=f"preprocessor config has {next(iter(changes))} .*; expected"):
        ShortSide.from_card({**whole, **changes})
