import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from vidsim.adapt.losses import (
    cosine_distances,
    pair_distances,
    retention_loss,
    soft_triplet_loss,
    trial_distances,
    triplet_loss,
)

seeds = st.integers(0, 2**32 - 1)

TRIALS = torch.tensor([[0, 1, 2], [3, 2, 0], [1, 4, 3], [4, 0, 1]])
LOSSES = {
    "distances": lambda x: cosine_distances(x, x[:2]).sum(),
    "triplet": lambda x: triplet_loss(x, TRIALS),
    "soft": lambda x: soft_triplet_loss(x, TRIALS, 0.1),
    "embeddings": lambda x: retention_loss(x, torch.ones_like(x)),
    "similarities": lambda x: retention_loss(x, torch.ones_like(x), "similarities"),
}


def points(seed=0, n=6, d=4):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))


@given(seeds, st.integers(1, 6), st.integers(1, 6), st.integers(1, 9))
def test_distances_are_scipys(seed, n, m, d):
    x, y = points(seed, n, d), points(seed + 1, m, d)
    np.testing.assert_allclose(cosine_distances(x, y), cdist(x, y, "cosine"), atol=1e-12)


@given(seeds)
def test_pairs_and_trials_are_picked_from_all_distances(seed):
    x = points(seed)
    full = cdist(x, x, "cosine")
    pairs = np.random.default_rng(seed).integers(6, size=(9, 2))
    np.testing.assert_allclose(pair_distances(x, torch.from_numpy(pairs)), [full[i, j] for i, j in pairs], atol=1e-12)
    expected = [[full[a, b], full[a, odd], full[b, odd]] for a, b, odd in TRIALS]
    np.testing.assert_allclose(trial_distances(x, TRIALS), expected, atol=1e-12)


@given(seeds, st.floats(1e-3, 1e3))
def test_neither_a_rotation_nor_lengths_matter(seed, scale):
    x = points(seed)
    rotation = torch.linalg.qr(points(seed + 1, 4)).Q
    lengths = scale * points(seed + 2, 6, 1).exp()
    before = cosine_distances(x, x)
    np.testing.assert_allclose(cosine_distances(lengths * x @ rotation, lengths * x @ rotation), before, atol=1e-10)


def test_a_zero_vector_is_at_distance_one_and_has_a_finite_gradient():
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]], requires_grad=True)
    found = cosine_distances(x, x)
    np.testing.assert_allclose(found.detach(), [[1, 1], [1, 0]], atol=1e-7)
    found.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad.abs() < 10).all()


def test_nothing_in_nothing_out():
    x = points()
    assert cosine_distances(x[:0], x).shape == (0, 6)
    assert pair_distances(x, torch.empty(0, 2, dtype=torch.long)).shape == (0,)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_gradients_are_finite_differences(loss):
    assert torch.autograd.gradcheck(loss, points(3).requires_grad_())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_halves_are_computed_in_single_precision(loss):
    x = points(1, d=64).bfloat16()
    expected = loss(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(leaf := x.clone().requires_grad_())
        single = loss(x.float())
    assert found.dtype == single.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), abs=2e-6)
    assert single.item() == pytest.approx(expected.item(), abs=2e-6)
    found.backward()
    assert leaf.grad.dtype == torch.bfloat16
    assert torch.isfinite(leaf.grad).all()


def test_a_model_under_autocast_is_trained_through_single_precision():
    layer = torch.nn.Linear(8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(torch.ones(6, 8) + torch.eye(6, 8))
        loss = triplet_loss(out, TRIALS)
    assert (out.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    loss.backward()
    assert layer.weight.grad.abs().sum() > 0
