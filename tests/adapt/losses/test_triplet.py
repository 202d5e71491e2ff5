import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidsim.adapt.losses import triplet_loss
from vidsim.errors import VidsimError


def drawn(seed, n=7, d=5, trials=9):
    rng = np.random.default_rng(seed)
    rows = np.array([rng.choice(n, 3, replace=False) for _ in range(trials)])
    return rng.normal(size=(n, d)), rows


def slow(points, rows, margin, anchors):
    def distance(i, j):
        x, y = points[i], points[j]
        return 1 - float(x @ y) / float(np.sqrt(x @ x) * np.sqrt(y @ y))

    terms = []
    for a, b, odd in rows.tolist():
        terms.append(max(0.0, distance(a, b) - distance(a, odd) + margin))
        if anchors == "both":
            terms.append(max(0.0, distance(b, a) - distance(b, odd) + margin))
    return sum(terms) / len(terms)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from(["first", "both"]))
def test_the_loss_is_a_slow_loops(seed, margin, anchors):
    points, rows = drawn(seed)
    found = triplet_loss(torch.from_numpy(points), torch.from_numpy(rows), margin, anchors)
    assert found.item() == pytest.approx(slow(points, rows, margin, anchors), abs=1e-12)


def test_the_order_of_trials_does_not_matter_and_that_of_the_pair_only_with_one_anchor():
    points, rows = (torch.from_numpy(x) for x in drawn(0))
    swapped = rows[:, [1, 0, 2]]
    assert triplet_loss(points, rows.flip(0)).item() == pytest.approx(triplet_loss(points, rows).item())
    both = [triplet_loss(points, r, anchors="both").item() for r in (rows, swapped)]
    first = [triplet_loss(points, r).item() for r in (rows, swapped)]
    assert both[0] == pytest.approx(both[1])
    assert first[0] != pytest.approx(first[1])
    assert both[0] == pytest.approx(sum(first) / 2)


def test_trials_that_hold_by_the_margin_cost_nothing_but_count_in_the_mean():
    points = torch.eye(3, dtype=torch.float64)[[0, 0, 1]]
    good, bad = torch.tensor([[0, 1, 2]]), torch.tensor([[0, 2, 1]])
    assert triplet_loss(points, good).item() == 0
    assert triplet_loss(points, bad).item() == pytest.approx(1.2)
    assert triplet_loss(points, torch.cat([good, good, good, bad])).item() == pytest.approx(0.3)


def test_embeddings_that_are_all_the_same_cost_the_margin():
    points = torch.ones(3, 4, requires_grad=True)
    loss = triplet_loss(points, torch.tensor([[0, 1, 2]]))
    assert loss.item() == pytest.approx(0.2)
    loss.backward()
    assert torch.isfinite(points.grad).all()


def test_without_trials_there_is_no_loss_and_no_gradient():
    points = torch.ones(3, 4, requires_grad=True)
    loss = triplet_loss(points, torch.empty(0, 3, dtype=torch.long))
    assert loss.item() == 0
    loss.backward()
    assert points.grad.abs().sum() == 0


def test_descent_on_the_loss_satisfies_the_trials():
    points, rows = (torch.from_numpy(x) for x in drawn(1, n=8, d=8, trials=3))
    points.requires_grad_()
    optimiser = torch.optim.Adam([points], lr=0.05)
    for _ in range(200):
        optimiser.zero_grad()
        triplet_loss(points, rows, anchors="both").backward()
        optimiser.step()
    assert slow(points.detach().numpy(), rows.numpy(), 0.2, "both") < 1e-6


def test_unknown_anchors_are_refused():
    with pytest.raises(VidsimError, match="no anchors 'second': expected 'first' or 'both'"):
        triplet_loss(torch.eye(3), torch.tensor([[0, 1, 2]]), anchors="second")


@pytest.mark.parametrize("margin", [-1.0, float("nan")])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(VidsimError, match="expected a number of at least 0"):
        triplet_loss(torch.eye(3), torch.tensor([[0, 1, 2]]), margin=margin)
