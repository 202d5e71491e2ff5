import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidsim.adapt.losses import retention_loss
from vidsim.errors import VidsimError


def points(seed, n=6, d=5):
    return np.random.default_rng(seed).normal(size=(n, d))


def cosine(x, y):
    return float(x @ y) / float(np.sqrt(x @ x) * np.sqrt(y @ y))


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_the_loss_is_a_slow_loops(seed, n):
    new, base, other = points(seed, n), points(seed + 1, n), points(seed + 2, n, 3)
    kept = sum(1 - cosine(x, y) for x, y in zip(new, base, strict=True)) / n
    assert retention_loss(*map(torch.from_numpy, (new, base))).item() == pytest.approx(kept, abs=1e-9)
    squares = [(cosine(new[i], new[j]) - cosine(other[i], other[j])) ** 2 for i in range(n) for j in range(i)]
    found = retention_loss(*map(torch.from_numpy, (new, other)), kind="similarities").item()
    assert found == pytest.approx(sum(squares) / len(squares), abs=1e-9)


def test_what_has_not_moved_costs_nothing():
    base = torch.from_numpy(points(0))
    lengths = torch.arange(1, 7).double()[:, None]
    assert retention_loss(lengths * base, base).item() == pytest.approx(0, abs=1e-12)
    assert retention_loss(-base, base).item() == pytest.approx(2)
    rotation = torch.linalg.qr(torch.from_numpy(points(1, 5))).Q
    assert retention_loss(base @ rotation, base, "similarities").item() == pytest.approx(0, abs=1e-12)
    assert retention_loss(base @ rotation, base).item() > 0.1


def test_only_the_new_model_is_moved():
    new, base = (torch.from_numpy(points(seed)).requires_grad_() for seed in (0, 1))
    for kind in ("embeddings", "similarities"):
        retention_loss(new, base, kind).backward()
    assert new.grad.abs().sum() > 0
    assert base.grad is None


def test_one_stimulus_has_no_pair_and_none_has_no_loss():
    x = torch.ones(1, 3, requires_grad=True)
    loss = retention_loss(x, torch.eye(1, 3), "similarities")
    loss.backward()
    assert (loss.item(), x.grad.abs().sum().item()) == (0, 0)
    assert retention_loss(x[:0], x[:0]).item() == 0


def test_what_does_not_fit_is_refused():
    x = torch.ones(2, 3)
    with pytest.raises(VidsimError, match="3 features cannot stay as they were with 4: choose the retention of simil"):
        retention_loss(x, torch.ones(2, 4))
    with pytest.raises(VidsimError, match="no retention of 'weights': expected 'embeddings' or 'similarities'"):
        retention_loss(x, x, "weights")


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("kind", ["embeddings", "similarities"])
def test_other_stimuli_are_refused(kind):
    with pytest.raises(VidsimError, match="3 embeddings cannot stay as 5 were; expected those of the same stimuli"):
        retention_loss(torch.rand(3, 4), torch.rand(5, 4), kind)
