import io
import struct

import numpy as np
import pytest
from PIL import Image

from vidsim.encoders.attention import Attention
from vidsim.report.rollout import Heat, heat_maps, rollout_plot, rollout_section

RNG = np.random.default_rng(5)


def attention(*shape):
    return RNG.dirichlet(np.full(shape[-1], 0.4), size=shape[:-1])


def slow(layers, readout):
    """Roll out by matrix products from the input up."""
    n = len(layers[0])
    total = np.eye(n)
    for layer in layers:
        total = (0.5 * layer + 0.5 * np.eye(n)) @ total
    return readout @ total


def test_maps_of_image_encoders_are_of_each_frame_by_itself():
    blocks = [attention(7, 5, 5) for _ in range(3)]
    maps = heat_maps(Attention(blocks, [], (1, 2, 2), 1), mean=False)
    assert maps.shape == (7, 2, 2)
    for frame in range(7):
        patches = slow([block[frame] for block in blocks], np.eye(5)[0])[1:]
        np.testing.assert_allclose(maps[frame].ravel(), patches / patches.mean())


def test_maps_of_joint_attention_are_of_the_clip():
    blocks = [attention(1, 18, 18) for _ in range(3)]
    maps = heat_maps(Attention(blocks, [], (2, 3, 3), 0), mean=True)
    patches = slow([block[0] for block in blocks], np.full(18, 1 / 18))
    np.testing.assert_allclose(maps.ravel(), 18 * patches)


def test_maps_of_divided_attention_follow_a_planted_patch():
    temporal, spatial = np.full((4, 3, 3), 1 / 3), np.full((3, 5, 5), 0.2)
    spatial[1, 0] = [0, 0, 0, 1, 0]  # in the second frame CLS attends to the third patch
    maps = heat_maps(Attention([spatial], [temporal], (3, 2, 2), 1), mean=False)
    assert np.unravel_index(maps.argmax(), maps.shape) == (1, 1, 0)
    assert maps.mean() == pytest.approx(1)


def made(frames, maps=None):
    images = np.full((frames, 32, 32, 3), 128, np.uint8)
    maps = np.ones((frames, 4, 4)) if maps is None else maps
    return Heat(images, np.arange(frames) / 2, maps)


def test_seven_frames_are_shown_evenly():
    assert made(8).shown().tolist() == [0, 1, 2, 4, 5, 6, 7]
    assert made(7).shown().tolist() == list(range(7))
    assert made(16).shown().tolist() == [0, 2, 5, 8, 10, 12, 15]
    assert made(3).shown().tolist() == [0, 1, 2]


def test_a_hot_patch_is_bright_and_even_attention_is_even():
    hot = np.full((7, 4, 4), 0.5)
    hot[2:5, 1, 1:3] = 8
    drawn = np.asarray(Image.open(io.BytesIO(rollout_plot((("even", made(7)), ("hot", made(7, hot))), "c $ 漢.mp4"))))
    half = len(drawn) // 2
    # yellow, the top of the scale, is in the lower row alone, but for the colour bars at the right
    yellow = (drawn[..., 0] > 200) & (drawn[..., 1] > 150) & (drawn[..., 2] < 170)
    yellow[:, int(0.86 * drawn.shape[1]) :] = False
    assert not yellow[:half].any()
    assert yellow[half:].sum() > 200
    columns = np.flatnonzero(yellow.any(axis=0)) / drawn.shape[1]
    assert 0.2 < columns.min() < columns.max() < 0.65  # the third to the fifth frame


def test_encoders_with_different_frames_share_a_figure():
    data = rollout_plot((("video", made(16)), ("image", made(3))))
    width, height = struct.unpack(">II", data[16:24])
    assert width > height


def test_section_holds_the_figures():
    section = rollout_section([("a <b>.mp4", b"\x89PNG")])
    assert section.figures["a <b>.mp4"].startswith('<img alt="" src="data:image/png;base64,')
    assert "1 is an even spread" in section.text
