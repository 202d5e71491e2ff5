import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidsim.adapt.losses import soft_triplet_loss, triplet_loss
from vidsim.errors import VidsimError


def drawn(seed, n=7, d=5, trials=9):
    rng = np.random.default_rng(seed)
    rows = np.array([rng.choice(n, 3, replace=False) for _ in range(trials)])
    return rng.normal(size=(n, d)), rows


def slow(points, rows, temperature):
    def similarity(i, j):
        x, y = points[i], points[j]
        return float(x @ y) / float(np.sqrt(x @ x) * np.sqrt(y @ y))

    total = 0.0
    for a, b, odd in rows.tolist():
        weights = [np.exp(similarity(i, j) / temperature) for i, j in ((a, b), (a, odd), (b, odd))]
        total -= np.log(weights[0] / sum(weights))
    return total / len(rows)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.3, 1.0, 10.0]))
def test_the_loss_is_a_slow_loops(seed, temperature):
    points, rows = drawn(seed)
    found = soft_triplet_loss(torch.from_numpy(points), torch.from_numpy(rows), temperature)
    assert found.item() == pytest.approx(slow(points, rows, temperature), abs=1e-9)


def test_neither_the_order_of_trials_nor_that_of_the_pair_matters():
    points, rows = (torch.from_numpy(x) for x in drawn(0))
    before = soft_triplet_loss(points, rows, 0.1).item()
    assert soft_triplet_loss(points, rows.flip(0), 0.1).item() == pytest.approx(before)
    assert soft_triplet_loss(points, rows[:, [1, 0, 2]], 0.1).item() == pytest.approx(before)


def test_cold_temperatures_neither_overflow_nor_lose_the_gradient():
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.1]], requires_grad=True)
    loss = soft_triplet_loss(points, torch.tensor([[0, 1, 2]]), 1e-3)
    assert loss.item() == pytest.approx(1995, abs=1)
    loss.backward()
    assert torch.isfinite(points.grad).all()


def test_embeddings_that_are_all_the_same_guess():
    assert soft_triplet_loss(torch.ones(3, 4), torch.tensor([[0, 1, 2]]), 0.1).item() == pytest.approx(np.log(3))
    assert soft_triplet_loss(torch.zeros(3, 4), torch.tensor([[0, 1, 2]]), 0.1).item() == pytest.approx(np.log(3))


def test_without_trials_there_is_no_loss():
    none = torch.empty(0, 3, dtype=torch.long)
    assert soft_triplet_loss(torch.ones(3, 4), none, 0.1).item() == triplet_loss(torch.ones(3, 4), none).item() == 0


def test_the_best_probabilities_are_the_shares_of_choices():
    """Fit three points to 100 people who disagree: the model's choices come out as often as theirs."""
    counts = (60, 30, 10)
    choices = ([0, 1, 2], [0, 2, 1], [1, 2, 0])
    rows = torch.tensor([row for row, count in zip(choices, counts, strict=True) for _ in range(count)])
    points = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimiser = torch.optim.Adam([points], lr=0.02)
    for _ in range(400):
        optimiser.zero_grad()
        soft_triplet_loss(points, rows, 0.5).backward()
        optimiser.step()
    likely = [np.exp(-soft_triplet_loss(points, torch.tensor([row]), 0.5).item()) for row in choices]
    np.testing.assert_allclose(likely, [0.6, 0.3, 0.1], atol=1e-3)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(VidsimError, match="expected a number above 0"):
        soft_triplet_loss(torch.eye(3), torch.tensor([[0, 1, 2]]), temperature)
