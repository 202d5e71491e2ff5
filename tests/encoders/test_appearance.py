import numpy as np
import pytest
import torch

from vidsim.encoders.appearance import appearance, frame_statistics, spectral_slope


def test_statistics_equal_a_slow_loop():
    frames = np.random.default_rng(0).uniform(-1, 1, (2, 3, 96, 128)).astype(np.float32)
    found = frame_statistics(torch.from_numpy(frames)).numpy()
    assert found.shape == (2, 392)
    for t in range(2):
        light = frames[t, 0].astype(float)
        down, right = np.gradient(light)
        edges = [right, (right - down) / np.sqrt(2), -down, (-right - down) / np.sqrt(2)]
        expected = np.zeros((8, 48))
        for row in range(6):
            for column in range(8):
                cell = (slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
                expected[:3, 8 * row + column] = [frames[t, c][cell].mean() for c in range(3)]
                expected[3, 8 * row + column] = light[cell].std()
                expected[4:, 8 * row + column] = [16 * np.abs(e[cell]).mean() for e in edges]
        np.testing.assert_allclose(found[t, :384], expected.ravel(), atol=1e-4)
        third = ((light - light.mean()) ** 3).mean()
        whole = [*frames[t].mean((1, 2)), *frames[t].std((1, 2)), np.cbrt(third)]
        np.testing.assert_allclose(found[t, 384:391], whole, atol=1e-3)


def test_clip_is_mean_and_spread_of_its_frames():
    frames = torch.rand(5, 3, 96, 128) * 100
    each = frame_statistics(frames / 100).numpy()
    np.testing.assert_allclose(appearance(frames).numpy(), np.r_[each.mean(0), each.std(0)], atol=1e-5)
    order = torch.tensor([3, 1, 0, 4, 2])
    torch.testing.assert_close(appearance(frames[order]), appearance(frames), atol=1e-5, rtol=0)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 1.5])
def test_slope_recovers_the_spectrum_of_noise(exponent):
    rng = np.random.default_rng(1)
    frequency = np.hypot(np.fft.fftfreq(96)[:, None], np.fft.fftfreq(128))
    frequency[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(rng.normal(size=(20, 96, 128))) * frequency**-exponent).real
    slopes = spectral_slope(torch.from_numpy(noise / noise.std() * 0.2 + 0.5).float())
    assert slopes.mean().item() == pytest.approx(-exponent, abs=0.08)


def test_frames_without_contrast_are_finite():
    for level in (0.0, 50.0, 100.0):
        found = appearance(torch.full((3, 3, 96, 128), level))
        assert torch.isfinite(found).all()
        assert found[391].abs() < 1e-3  # slope
        torch.testing.assert_close(found[:144], torch.full((144,), level / 100))
        assert found[392:].abs().max() < 1e-3
