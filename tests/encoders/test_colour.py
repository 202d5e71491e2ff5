import pytest
import torch

from vidsim.encoders.colour import lab, luminance


# the corners of sRGB under D65, and two greys: one on each branch of the definition
@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 255), (100, 0, 0)),
        ((119, 119, 119), (50.03, 0, 0)),
        ((5, 5, 5), (1.37, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
    ],
)
def test_lab_equals_published_values(rgb, expected):
    pixel = torch.tensor(rgb, dtype=torch.uint8).reshape(1, 3, 1, 1)
    found = lab(pixel).flatten().tolist()
    assert found == pytest.approx(expected, abs=0.06)
    assert luminance(pixel).item() == pytest.approx(found[0], abs=1e-4)


def test_lab_equals_the_definition_pixel_by_pixel():
    frames = torch.randint(0, 256, (1, 3, 10, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames[..., :3] //= 12  # some dark ones
    found = lab(frames)
    for y in range(10):
        for x in range(20):
            r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
                       for c in (frames[0, :, y, x].double() / 255).tolist())  # fmt: skip
            tristimulus = (
                (0.412453 * r + 0.357580 * g + 0.180423 * b) / 0.950456,
                0.212671 * r + 0.715160 * g + 0.072169 * b,
                (0.019334 * r + 0.119193 * g + 0.950227 * b) / 1.088754,
            )
            fx, fy, fz = (v ** (1 / 3) if v > (6 / 29) ** 3 else v * 841 / 108 + 4 / 29 for v in tristimulus)
            expected = [116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)]
            assert found[0, :, y, x].tolist() == pytest.approx(expected, abs=1e-3)


def test_pixels_stay_in_place():
    frames = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    whole = lab(frames)
    for t, y, x in [(0, 0, 0), (1, 3, 2), (1, 0, 4)]:
        alone = lab(frames[t : t + 1, :, y : y + 1, x : x + 1]).flatten()
        torch.testing.assert_close(whole[t, :, y, x], alone, atol=1e-4, rtol=0)


def test_black_is_exactly_zero():
    black = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    assert not lab(black).any()
    assert not luminance(black).any()
