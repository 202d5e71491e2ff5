import numpy as np
import pytest
import torch

from vidsim.encoders import catalog
from vidsim.encoders.patches import read_steps
from vidsim.encoders.short_side import ShortSide
from vidsim.encoders.zoo import preprocess_config


def steps(size=16, crop=None):
    config = {"video_processor_type": "ShortSideScale", "size": {"shortest_edge": size}, "crop_size": crop or size}
    return ShortSide.from_card({**config, "image_mean": 0.45, "image_std": 0.225})


def slow(image, size):
    """Scale and crop pixel by pixel, from the four nearest."""
    height, width = image.shape[:2]
    short, long = sorted((height, width))
    other = int(np.floor(long / short * size))
    rows, columns = (other, size) if width < height else (size, other)
    scaled = np.zeros((rows, columns, 3))
    for row in range(rows):
        for column in range(columns):
            y = max((row + 0.5) * height / rows - 0.5, 0)
            x = max((column + 0.5) * width / columns - 0.5, 0)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            above = image[top, left] * (1 - (x - left)) + image[top, right] * (x - left)
            below = image[bottom, left] * (1 - (x - left)) + image[bottom, right] * (x - left)
            scaled[row, column] = above * (1 - (y - top)) + below * (y - top)
    top, left = round((rows - size) / 2), round((columns - size) / 2)
    return scaled[top : top + size, left : left + size]


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (33, 71), (16, 16), (9, 14), (20, 23), (16, 19), (100, 17)])
def test_pixels_are_those_of_a_slow_loop(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    found = steps().frame(image)
    assert found.dtype == torch.uint8
    assert found.shape == (3, 16, 16)
    expected = slow(image.astype(float), 16).transpose(2, 0, 1)
    assert np.abs(found.numpy() - expected).max() <= 0.5 + 1e-3


def test_texture_is_not_smoothed_away_as_other_processors_do():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, 1::4] = stripes[:, 2::4] = 255  # at a quarter of the size the two middle pixels of four are read
    assert steps().frame(stripes).float().mean() == 255


@pytest.mark.parametrize("turned", [np.flipud, np.rot90, lambda image: image[::2, ::2]])
def test_views_of_frames_are_taken(turned):
    image = np.random.default_rng(1).integers(0, 256, (40, 64, 3), np.uint8)
    view = turned(image)
    assert torch.equal(steps().frame(view), steps().frame(np.ascontiguousarray(view)))


@pytest.mark.parametrize("shape", [(180, 320), (1080, 1920), (1920, 1080), (242, 255), (360, 481)])
def test_the_longer_side_is_divided_before_it_is_multiplied(shape):
    made = steps(256).frame(np.full((*shape, 3), 9, np.uint8))
    assert made.shape == (3, 256, 256)
    assert steps(256).target(*shape) == tuple(
        256 if side == min(shape) else int(side / min(shape) * 256) for side in shape
    )


def test_values_are_centred_on_the_zoos_grey():
    values = steps().normalise(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    expected = torch.tensor([(0 - 0.45) / 0.225, (1 - 0.45) / 0.225]).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    torch.testing.assert_close(values, expected)


def test_the_card_stands_in_for_a_configuration():
    card = catalog.card("x3d-xs")
    read = read_steps(preprocess_config(card), card.architecture, card.modality)
    assert read == steps(182)
    assert read.size == (182, 182)
    assert read.provenance["resizer"] == "torch, without antialiasing"
    assert (read.provenance["shortest_edge"], read.provenance["crop"]) == (182, [182, 182])
    assert read.provenance["mean"] == [0.45] * 3
