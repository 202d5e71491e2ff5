import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vidsim.encoders.patches import Patches, read_steps
from vidsim.encoders.preprocess import Preprocess
from vidsim.errors import UnusableFile, VidsimError

QWEN3 = {
    # preprocessor_config.json of the Qwen3-VL-Instruct models (QwenLM/Qwen3-VL, issue 1836, for its size)
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "patch_size": 16,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "Qwen3VLProcessor",
    "image_processor_type": "Qwen2VLImageProcessorFast",
}
SMALL = {**QWEN3, "size": {"longest_edge": 8192, "shortest_edge": 2048}}


def own(config, **more):
    """Return upstream's processor as it reads that file."""
    return Qwen2VLImageProcessorPil(**{k: v for k, v in config.items() if "class" not in k and "type" not in k}, **more)


@pytest.mark.parametrize("config", [QWEN3, SMALL], ids=["published", "small"])
@pytest.mark.parametrize(
    "shape",
    [(240, 320), (256, 256), (48, 80), (80, 48), (33, 500), (300, 20)],
    ids=lambda shape: "x".join(map(str, shape)),
)
def test_patches_are_the_processors_own(config, shape):
    frames = np.random.default_rng(3).integers(0, 256, (3, *shape, 3), np.uint8)
    steps = Patches.from_config(config)
    prepared = torch.stack([steps.frame(frame) for frame in frames])
    assert prepared.dtype == torch.uint8
    pixels, grid = steps.cut(prepared)
    plain = own(config)(list(frames), return_tensors="pt")
    np.testing.assert_array_equal(grid, plain["image_grid_thw"])
    np.testing.assert_allclose(pixels, plain["pixel_values"], rtol=0, atol=1e-6)
    assert steps.tokens(*prepared.shape[2:]) * 4 == len(pixels) // 3


def test_other_patches_and_colours():
    config = {"patch_size": 8, "merge_size": 3, "temporal_patch_size": 1, "resample": 2, "image_mean": [0.1, 0.2, 0.3]}
    config |= {"size": {"shortest_edge": 600, "longest_edge": 9000}, "image_std": [0.4, 0.5, 0.6]}
    frame = np.random.default_rng(4).integers(0, 256, (70, 50, 3), np.uint8)
    steps = Patches.from_config({**config, "image_processor_type": "Qwen2VLImageProcessor"})
    pixels, grid = steps.cut(steps.frame(frame)[None])
    plain = own(config)([frame], return_tensors="pt")
    np.testing.assert_array_equal(grid, plain["image_grid_thw"])
    np.testing.assert_allclose(pixels, plain["pixel_values"], rtol=0, atol=1e-6)


@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([(65536, 16777216), (2048, 8192), (1, 5000)]))
def test_sizes_are_the_processors_own(height, width, limits):
    steps = Patches.from_config({**QWEN3, "size": {"shortest_edge": limits[0], "longest_edge": limits[1]}})
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(UnusableFile, match="at most 200 times the other"):
            steps.target(height, width)
        return
    assert steps.target(height, width) == smart_resize(height, width, 32, *limits)


def test_old_files_say_pixels_and_silent_ones_take_the_class_defaults():
    old = {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 12845056}
    assert (Patches.from_config(old).least, Patches.from_config(old).most) == (3136, 12845056)
    silent, upstream = Patches.from_config({"image_processor_type": "Qwen2VLImageProcessorPil"}), own({})
    assert (silent.patch, silent.merge, silent.temporal) == (14, upstream.merge_size, upstream.temporal_patch_size)
    assert {"shortest_edge": silent.least, "longest_edge": silent.most} == dict(upstream.size)
    assert silent.resample == upstream.resample
    assert list(silent.mean) == list(upstream.image_mean)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, "class 'CLIPImageProcessor' is not known"),
        ({"image_processor_type": None}, "class None is not known"),
        ({"do_pad": True}, "asks for do_pad=True, which is not done here"),
        ({"do_resize": False}, "has do_resize false"),
        ({"size": {"height": 2, "width": 2}}, "fewest pixels None, most pixels None"),
        ({"patch_size": 0}, "patch_size 0"),
        ({"merge_size": "2"}, "merge_size '2'"),
        ({"image_mean": [0.5, 0.5]}, r"image_mean \[0.5, 0.5\]; expected three numbers"),
        ({"image_std": [0.5, 0.0, 0.5]}, "expected three numbers above 0"),
        ({"rescale_factor": "x"}, "rescale_factor 'x'; expected a number above 0"),
    ],
)
def test_files_that_ask_for_something_else_are_refused(change, message):
    with pytest.raises(VidsimError, match=message):
        Patches.from_config({**QWEN3, **change})


@pytest.mark.parametrize("architecture", ["Qwen3VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"])
def test_what_the_model_takes_in_says_how_the_file_is_read(architecture):
    assert isinstance(read_steps(QWEN3, architecture, "video+text"), Patches)
    clip = {"image_processor_type": "CLIPImageProcessor"}
    assert isinstance(read_steps(clip, "CLIPVisionModel", "image"), Preprocess)
    assert read_steps(QWEN3, architecture, "video+text").provenance["most"] == 16777216
    with pytest.raises(VidsimError, match="class 'CLIPImageProcessor' is not known; expected Qwen2VLImageProcessor"):
        read_steps(clip, architecture, "video+text")


def test_a_step_by_the_number_of_none_is_asked_for():
    with pytest.raises(VidsimError, match="asks for pad_size=0, which is not done here; expected only do_"):
        Patches.from_config({"image_processor_type": "Qwen2VLImageProcessor", "pad_size": 0})
