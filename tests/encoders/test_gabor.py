from pathlib import Path

import numpy as np
import pytest
import torch

from vidsim.encoders.gabor import GaborBank
from vidsim.errors import VidsimError


def energy_by_definition(movie, gabor, fps, length):
    """Lay the whole quadrature pair of 3-D filters out and slide it over the movie, in double precision."""
    frames, height, width = movie.shape
    x = np.linspace(0, width / height, width)[None, :] - gabor.x
    y = np.linspace(0, 1, height)[:, None] - gabor.y
    angle = np.deg2rad(gabor.direction)
    phase = 2 * np.pi * gabor.spatial * (x * np.cos(angle) - y * np.sin(angle))
    blob = np.exp(-(x**2 + y**2) / (2 * gabor.width**2))
    t = np.arange(length) / length - 0.5
    beat = 2 * np.pi * gabor.temporal * length / fps * t
    swell = np.exp(-(t**2) / (2 * gabor.duration**2))
    energies = []
    for last in range(length - 1, frames):
        sine = cosine = 0.0
        for delay in range(length):
            image = movie[last - delay] * blob * swell[delay]
            sine += (image * np.sin(phase + beat[delay])).sum()
            cosine += (image * np.cos(phase + beat[delay])).sum()
        energies.append(np.hypot(sine, cosine))
    return np.array(energies)


def test_energies_equal_their_definition():
    movie = np.random.default_rng(0).uniform(0, 100, (2, 11, 24, 30)).astype(np.float32)
    bank = GaborBank((24, 30), 12.0, spatial=(2, 5), temporal=(0, 1.5, 4), directions=(0, 30, 180, 210), spacing=1.2)
    assert bank.frames == 8
    ours = bank.log_energy(torch.from_numpy(movie)).numpy()
    assert ours.shape == (2, 4, len(bank.filters))
    for i, gabor in enumerate(bank.filters):
        for window in range(2):
            slow = energy_by_definition(movie[window].astype(float), gabor, 12.0, 8)
            np.testing.assert_allclose(np.exp(ours[window, :, i]), slow, rtol=1e-4, atol=0.01)


def test_default_bank_has_the_filters_of_pymotens_default():
    filters = GaborBank((96, 128), 24.0).filters
    assert len(filters) == len(set(filters)) == 1840
    assert [sum(f.spatial == s for f in filters) for s in (0, 2, 4, 8, 16)] == [240, 20, 20, 300, 1260]
    assert [sum(f.temporal == t for f in filters) for t in (0, 2, 4)] == [400, 720, 720]
    assert {f.width for f in filters} == {0.3, 0.15, 0.075, 0.0375}
    assert {f.duration for f in filters} == {0.3}


def test_energies_equal_pymotens():
    """Golden values of pymoten 0.1.3, written by golden_moten.py."""
    golden = np.load(Path(__file__).with_name("golden_moten.npz"))
    movie = np.random.default_rng(0).uniform(0, 100, (20, 48, 64))
    bank = GaborBank((48, 64), 24.0)

    def key(*values):
        return tuple(np.round(values, 6).tolist())

    place = {key(f.x, f.y, f.direction, f.spatial, f.width, f.temporal): i for i, f in enumerate(bank.filters)}
    assert len(place) == len(golden["filters"])
    order = []
    for x, y, direction, spatial, width, temporal in golden["filters"].tolist():
        # its directions are those from which the motion comes
        turn = 180 if temporal and spatial else 0
        order.append(place[key(x, y, (direction + turn) % 360, spatial, width, temporal)])
    ours = np.exp(bank.log_energy(torch.from_numpy(movie).float()[None])[0, :, order].double().numpy())
    np.testing.assert_allclose(ours[:, ::4], golden["energies"], rtol=2e-3)


def grating(direction, spatial, temporal):
    t = np.arange(24)[:, None, None] / 24
    y, x = np.linspace(0, 1, 96)[:, None], np.linspace(0, 4 / 3, 128)
    angle = np.deg2rad(direction)
    along = x * np.cos(angle) - y * np.sin(angle)  # image rows count downwards
    # no mean luminance: the frame's border cuts off the largest filters, which therefore answer to it
    return torch.from_numpy(40 * np.cos(2 * np.pi * (spatial * along - temporal * t))).float()[None]


@pytest.fixture(scope="module")
def bank():
    return GaborBank((96, 128), 24.0)


@pytest.mark.parametrize("direction", range(0, 360, 45))
@pytest.mark.parametrize(("spatial", "temporal"), [(2, 4), (4, 2), (8, 4), (16, 2)])
def test_drifting_grating_drives_its_own_filter_most(bank, direction, spatial, temporal):
    energy = bank.log_energy(grating(direction, spatial, temporal)).mean((0, 1))
    energy[[f.spatial == 0 for f in bank.filters]] = -torch.inf
    best = bank.filters[int(energy.argmax())]
    assert (best.direction, best.spatial, best.temporal) == (direction, spatial, temporal)
    opposite = [
        e for e, f in zip(energy, bank.filters, strict=True)
        if (f.direction, f.spatial, f.temporal) == ((direction + 180) % 360, spatial, temporal)
    ]  # fmt: skip
    assert max(opposite) < energy.max() - 1


def test_mirrored_movie_drives_mirrored_filters(bank):
    movie = torch.rand(1, 18, 96, 128, generator=torch.Generator().manual_seed(0)) * 100
    energy = bank.log_energy(movie)
    at = {tuple(np.round([f.x, f.y, f.direction, f.spatial, f.width, f.temporal], 6)): i
          for i, f in enumerate(bank.filters) if f.temporal}  # fmt: skip
    moving = [i for i, f in enumerate(bank.filters) if f.temporal and f.spatial]
    for axis in (2, 3):
        partner = []
        for i in moving:
            f = bank.filters[i]
            x, y = (f.x, 1 - f.y) if axis == 2 else (4 / 3 - f.x, f.y)
            direction = (-f.direction if axis == 2 else 180 - f.direction) % 360
            partner.append(at[tuple(np.round([x, y, direction, f.spatial, f.width, f.temporal], 6))])
        mirrored = bank.log_energy(movie.flip(axis))
        torch.testing.assert_close(mirrored[..., moving], energy[..., partner], atol=2e-3, rtol=0)


def test_contrast_raises_all_energies_alike(bank):
    movie = torch.rand(1, 16, 96, 128) * 50
    difference = bank.log_energy(2 * movie) - bank.log_energy(movie)
    torch.testing.assert_close(difference, torch.full_like(difference, np.log(2)), atol=2e-3, rtol=0)


def test_black_has_no_energy(bank):
    energy = bank.log_energy(torch.zeros(1, 16, 96, 128))
    assert torch.equal(energy, torch.full_like(energy, np.log(1e-5)))


def test_other_frames_are_refused(bank):
    with pytest.raises(VidsimError, match="at least 16 frames of 96x128 pixels, got 15"):
        bank.log_energy(torch.zeros(1, 15, 96, 128))
    with pytest.raises(VidsimError, match="got 16 frames of 128x96"):
        bank.log_energy(torch.zeros(1, 16, 128, 96))
    with pytest.raises(VidsimError, match="opposite pairs"):
        GaborBank((96, 128), 24.0, directions=(0, 90))
    with pytest.raises(VidsimError, match=r"at least 1\.5 frames"):
        GaborBank((96, 128), 1.0)
