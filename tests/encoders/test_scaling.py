"""Scaling in torch: pixels are Pillow's, to the bit."""

import numpy as np
import pytest
import torch
from PIL import Image

from vidsim.encoders import scaling as subject
from vidsim.encoders.preprocess import Preprocess
from vidsim.encoders.scaling import scaling, stack_prepared
from vidsim.encoders.short_side import ShortSide

RNG = np.random.default_rng(7)
FILTERS = [one for one in Image.Resampling if one is not Image.Resampling.NEAREST]


def noise(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def expected(frames: np.ndarray, target: tuple[int, int], crop: tuple[int, int], resample: int) -> np.ndarray:
    """Scale with Pillow alone and cut the middle out."""
    top, left = ((have - want) // 2 for have, want in zip(target, crop, strict=True))
    scaled = [np.asarray(Image.fromarray(one).resize(target[::-1], resample=resample)) for one in frames]
    return np.stack(scaled)[:, top : top + crop[0], left : left + crop[1]].transpose(0, 3, 1, 2)


@pytest.mark.parametrize("resample", FILTERS, ids=lambda one: one.name)
def test_every_filter_and_shape_is_pillows(resample):
    both = set()
    for _ in range(40):
        height, width, *target = (int(n) for n in RNG.integers(17, 90, 4))
        crop = (int(RNG.integers(9, target[0] + 1)), int(RNG.integers(9, target[1] + 1)))
        steps = Preprocess(exact=(target[0], target[1]), crop=crop, resample=resample)
        found = scaling(height, width, steps, "cpu")
        assert found is not None
        both.add(found.rows_first)
        frames = noise(2, height, width, 3)
        there = expected(frames, (target[0], target[1]), crop, resample)
        np.testing.assert_array_equal(found(torch.from_numpy(frames)), there)
    if int(Image.__version__.partition(".")[0]) >= 13:  # before, columns were always scaled first
        assert both == {False, True}


@pytest.mark.parametrize("shape", [(240, 320), (320, 240), (256, 454), (360, 480), (224, 300), (100, 130)])
@pytest.mark.parametrize(
    "steps",
    [
        Preprocess(shortest_edge=224, crop=(224, 224), resample=2),
        Preprocess(shortest_edge=224, crop=(224, 224), resample=3),
        Preprocess(exact=(224, 224), resample=3),
        Preprocess(shortest_edge=292, crop=(256, 256), resample=2),
    ],
    ids=["bilinear", "bicubic", "square", "292"],
)
def test_published_steps_on_sizes_of_videos(shape, steps):
    if not steps.can_wait(*shape):
        assert steps.target(*shape) == shape
        return
    frames = noise(3, *shape, 3)
    frames[2] = 255 * (frames[2] > 128)  # overshoots, which are clipped
    found = stack_prepared([torch.from_numpy(frames)], steps, "cpu")
    there = np.stack([steps.pixels(one) for one in frames])
    np.testing.assert_array_equal(found[0], there)


def test_clips_keep_their_order_whatever_their_sizes(monkeypatch):
    monkeypatch.setattr(subject, "PIXELS", 1200)  # a frame or two at a time
    steps = Preprocess(shortest_edge=24, crop=(20, 20))
    sizes = [(30, 40), (24, 32), (40, 30), (30, 40), (27, 27)]
    clips = [noise(4, *size, 3) for size in sizes]
    there = np.stack([np.stack([steps.pixels(frame) for frame in clip]) for clip in clips])
    # the second would be scaled to the size that it has: it comes prepared
    assert [steps.can_wait(*size) for size in sizes] == [True, False, True, True, True]
    items = [there[i] if i == 1 else clip for i, clip in enumerate(clips)]
    np.testing.assert_array_equal(stack_prepared([torch.from_numpy(one) for one in items], steps, "cpu"), there)


def test_a_pillow_that_does_otherwise_is_followed(monkeypatch):
    plain = subject._weights
    monkeypatch.setattr(subject, "_weights", lambda *sides: np.roll(plain(*sides), 1, axis=0))
    steps = Preprocess(shortest_edge=24, crop=(20, 20))
    assert scaling(31, 41, steps, "cpu") is None
    clip = noise(3, 31, 41, 3)
    there = np.stack([steps.pixels(frame) for frame in clip])
    np.testing.assert_array_equal(stack_prepared([torch.from_numpy(clip)], steps, "cpu")[0], there)


@pytest.mark.parametrize(
    ("steps", "shape", "why"),
    [
        (Preprocess(crop=(20, 20)), (30, 40), "nothing is scaled"),
        (Preprocess(shortest_edge=30, crop=(20, 20)), (30, 40), "it has its size"),
        (Preprocess(shortest_edge=24, crop=(20, 20), resample=0), (30, 40), "pixels are taken as they are"),
        (Preprocess(shortest_edge=24, crop=(26, 26)), (30, 40), "the crop is padded"),
        (Preprocess(shortest_edge=24, crop=(20, 20)), (40, 41), "more than four times the pixels"),
        (Preprocess(shortest_edge=24, crop=(20, 20)), (10, 90), "a side is more than four times as long"),
        (Preprocess(shortest_edge=24, crop=(20, 20)), (10, 40), "a side would be more than four times as long"),
        (ShortSide(shortest_edge=24, crop=(20, 20)), (30, 40), "torch scales"),
    ],
)
def test_what_cannot_wait(steps, shape, why):
    assert not steps.can_wait(*shape), why
    assert Preprocess(shortest_edge=24, crop=(20, 20)).can_wait(40, 40)
