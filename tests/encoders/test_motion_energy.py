import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vidsim.data.video import decoder
from vidsim.encoders.base import EncoderCard, Sampling
from vidsim.encoders.catalog import card as catalog_card
from vidsim.encoders.colour import luminance
from vidsim.encoders.motion_energy import MotionEnergy
from vidsim.errors import VidsimError

SPATIAL = tuple(f"energy.sf{f}" for f in (0, 2, 4, 8, 16))
TEMPORAL = tuple(f"energy.tf{f}" for f in (0, 2, 4))


@pytest.fixture(scope="module")
def encoder():
    return MotionEnergy(catalog_card("motion-energy"), "cpu")


def encode(encoder, batch, layers=None):
    return encoder.encode(batch, layers or encoder.card.layers, lambda _, features: features)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def synthetic(seed=0):
    """Return a clip of integers only: a checkered texture that drifts, in three different channels."""
    t, c, y, x = np.ogrid[:72, :3, :96, :128]
    pattern = ((x + 2 * t) // (6 + c + seed)) * 37 + ((y + t // 2) // (9 - c)) * 61 + 50 * c
    return torch.from_numpy((pattern % 256).astype(np.uint8))


@pytest.fixture(scope="module")
def clips():
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (3, 72, 3, 96, 128), dtype=torch.uint8, generator=rng)
    return torch.cat([torch.stack([synthetic(seed) for seed in range(4)]), noise])


def test_layers_and_widths(encoder, clips):
    out = encode(encoder, clips[:2])
    assert {layer: rows.shape for layer, rows in out.items()} == {
        **dict(zip(SPATIAL, [(2, 240), (2, 20), (2, 20), (2, 300), (2, 1260)], strict=True)),
        **dict(zip(TEMPORAL, [(2, 400), (2, 720), (2, 720)], strict=True)),
        "energy": (2, 1840),
        "appearance": (2, 785),
        "combined": (2, 2626),
    }
    assert all(rows.dtype == np.float32 for rows in out.values())
    for layers in (SPATIAL, TEMPORAL):
        parts = np.concatenate([out[layer] for layer in layers], axis=1)
        assert np.array_equal(np.sort(parts, axis=1), np.sort(out["energy"], axis=1))


def test_clips_do_not_depend_on_their_batch(encoder, clips):
    whole = encode(encoder, clips)
    for size in (1, 3, 5):
        parts = [encode(encoder, part) for part in clips.split(size)]
        for layer, rows in whole.items():
            assert np.array_equal(np.concatenate([p[layer] for p in parts]), rows)
    backwards = encode(encoder, clips.flip(0))
    assert all(np.array_equal(backwards[layer][::-1], rows) for layer, rows in whole.items())
    few = encode(encoder, clips, ["energy.tf4", "combined"])
    assert list(few) == ["energy.tf4", "combined"]
    assert all(np.array_equal(rows, whole[layer]) for layer, rows in few.items())


def test_energy_is_the_mean_over_windows_and_time(encoder):
    clip = synthetic()
    runs = [encoder.bank.log_energy(luminance(clip[i : i + 24])[None])[0] for i in (0, 24, 48)]
    assert all(run.shape == (9, 1840) for run in runs)
    expected = torch.cat(runs).double().mean(0)
    np.testing.assert_allclose(encode(encoder, clip[None])["energy"][0], expected, atol=1e-3)


def test_cosine_of_combined_is_the_mean_of_two_correlations(encoder, clips):
    out = encode(encoder, clips)
    for a, b in [(0, 1), (0, 3), (2, 5), (4, 6)]:
        energies = np.corrcoef(out["energy"][[a, b]].astype(float))[0, 1]
        looks = np.corrcoef(out["appearance"][[a, b], :-1].astype(float))[0, 1]
        cosine = unit(out["combined"][a]) @ unit(out["combined"][b])
        assert cosine == pytest.approx((energies + looks) / 2, abs=1e-4)


def test_layers_are_reduced_as_a_batch(encoder, clips):
    seen = {}

    def reduce(layer, features):
        seen[layer] = features.shape
        return features[:, :7] * 2

    out = encoder.encode(clips[:2], ["energy", "combined"], reduce)
    assert seen == {"energy": (2, 1840), "combined": (2, 2626)}
    assert np.array_equal(out["energy"], 2 * encode(encoder, clips[:2])["energy"][:, :7])


def test_motion_reversed_is_told_apart_by_moving_filters_alone(encoder, clips):
    drift = torch.stack([torch.roll(clips[0][0], 2 * t, dims=-1) for t in range(72)])
    forth, back = (encode(encoder, clip[None]) for clip in (drift, drift.flip(0)))
    distance = {
        layer: np.abs(forth[layer] - back[layer]).mean() for layer in ("energy.tf0", "energy.tf4", "appearance")
    }
    assert distance["energy.tf4"] > 10 * distance["energy.tf0"]
    assert distance["appearance"] < 1e-2


def test_clips_without_anything_in_them_keep_a_direction(encoder, clips):
    levels = torch.tensor([0, 0, 128, 255], dtype=torch.uint8)[:, None, None, None, None]
    flat = levels.expand(4, 72, 3, 96, 128)
    still = clips[:1, :1].expand(1, 72, 3, 96, 128)
    out = encode(encoder, torch.cat([flat, still, clips[4:5]]))
    for rows in out.values():
        assert np.isfinite(rows).all()
        assert (np.linalg.norm(rows, axis=1) > 1e-3).all()
    similarity = unit(out["combined"]) @ unit(out["combined"]).T
    assert similarity[0, 1] == pytest.approx(1, abs=1e-6)
    assert np.abs(similarity[0, 2:]).max() < 0.05
    assert np.ptp(out["energy"][0]) < 1e-5


CANONICAL = {
    "energy.sf0": [14.8278, 9.0854, 8.7663, 8.5909],
    "energy.sf2": [10.7362, 8.0185, 10.7362, 6.3809],
    "energy.sf4": [7.8210, 9.4750, 7.8210, 8.0272],
    "energy.sf8": [7.9766, 5.3900, 8.2975, 5.1923],
    "energy.sf16": [3.8500, 3.7201, 3.1922, 3.5946],
    "energy.tf0": [10.7362, 8.8643, 10.7654, 4.0273],
    "energy.tf2": [7.0175, 7.3512, 7.7021, 3.2779],
    "energy.tf4": [7.5807, 7.8535, 8.6075, 4.1383],
    "energy": [10.7362, 7.7009, 5.4761, 3.5946],
    "appearance": [0.5478, 0.5842, 0.0401, 0.0201],
    "combined": [0.0552, 0.0213, -0.0035, -0.0367],
}


def test_synthetic_clip_has_its_canonical_vector(encoder):
    out = encode(encoder, synthetic()[None])
    for layer, expected in CANONICAL.items():
        rows = out[layer]
        assert rows[0, [0, 7, 100 % rows.shape[1], -2]].tolist() == pytest.approx(expected, abs=5e-4), layer


def test_frames_are_resized_as_pillow_does(encoder):
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:360, :640]
    scene = np.stack([x * 255 // 639, y * 255 // 359, (x // 16 + y // 16) % 2 * 200], axis=-1).astype(np.uint8)
    for frame in (scene, scene.swapaxes(0, 1), rng.integers(0, 256, (50, 37, 3), dtype=np.uint8), scene[:1, :1]):
        found = encoder.prepare(frame)
        assert found.shape == (3, 96, 128)
        assert found.dtype == torch.uint8
        assert found.is_contiguous()
        theirs = np.asarray(Image.fromarray(np.ascontiguousarray(frame)).resize((128, 96), Image.Resampling.BILINEAR))
        assert np.abs(found.numpy().astype(int) - theirs.transpose(2, 0, 1)).max() <= 2


def test_rotated_and_read_only_frames(encoder):
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    turned = np.rot90(frame)
    assert torch.equal(encoder.prepare(turned), encoder.prepare(turned.copy()))
    frame.flags.writeable = False
    assert torch.equal(encoder.prepare(frame), encoder.prepare(frame.copy()))


def test_another_number_of_frames_is_refused(encoder, clips):
    with pytest.raises(VidsimError, match="takes 72 frames a clip, got 48"):
        encode(encoder, clips[:, :48])


@pytest.mark.parametrize(
    ("sampling", "layers", "message"),
    [
        (Sampling(frames=30, fps=24.0, windows=2), ("energy",), "at least 16 frames at 24 frames per second, got 15"),
        (Sampling(frames=72), ("energy",), "at a frame rate"),
        (Sampling(frames=70, fps=24.0, windows=3), ("energy",), "equally many frames"),
        (None, ("energy",), "at a frame rate"),
        (Sampling(frames=16, fps=24.0), ("energy", "energies"), "no layer 'energies'"),
    ],
)
def test_cards_that_do_not_fit_are_refused(sampling, layers, message):
    card = EncoderCard(
        name="mine", family="motion_energy", modality="video", layers=layers, default_layer="energy", sampling=sampling
    )
    with pytest.raises(VidsimError, match=message):
        MotionEnergy(card)


def test_provenance_is_json(encoder):
    facts = json.loads(json.dumps(encoder.provenance))
    assert facts["sampling"] == {"frames": 72, "fps": 24.0, "windows": 3}
    assert facts["filters"] == 1840


def test_signers_are_nearest_to_signers(encoder, people: Path):
    signers = ["asl_again.mkv", "asl_milk.mkv", "asl_walk.mkv", "asl_yes.mkv"]
    others = ["bikes.mp4", "chaplin.mp4", "carphone.mp4", "flipping_a_pancake.mkv"]
    reader = decoder("pyav")
    batch = torch.stack(
        [reader.decode(people / name, encoder.card.sampling.times, encoder.prepare).images for name in signers + others]
    )
    for layer in ("energy", "appearance", "combined"):
        rows = unit(encode(encoder, batch, [layer])[layer])
        similarity = rows @ rows.T
        np.fill_diagonal(similarity, -1)
        assert (similarity[:4].argmax(axis=1) < 4).all()
        assert similarity[:4, :4][similarity[:4, :4] > -1].mean() > similarity[:4, 4:].max()
