import numpy as np
import pytest
import torch

from vidsim.adapt.losses import beta_at, hybrid_loss
from vidsim.errors import VidsimError


@pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.3), (0.7, 0.7), (0.0, 1.0), (1.0, 0.0)])
def test_losses_and_their_gradients_are_weighted(alpha, beta):
    triplet, rsa = torch.tensor(0.4, requires_grad=True), torch.tensor(-0.2, requires_grad=True)
    both = hybrid_loss(triplet, rsa, alpha=alpha, beta=beta)
    assert both.item() == pytest.approx(alpha * 0.4 - beta * 0.2)
    assert torch.autograd.grad(both, (triplet, rsa)) == (pytest.approx(alpha), pytest.approx(beta))
    assert hybrid_loss(triplet, None, alpha=alpha, beta=beta).item() == pytest.approx(alpha * 0.4)


def test_the_papers_weights_are_the_default():
    assert hybrid_loss(torch.tensor(1.0), torch.tensor(1.0), beta=beta_at(0, 50)).item() == pytest.approx(0.7 + 0.3)
    assert hybrid_loss(torch.tensor(1.0), torch.tensor(1.0), beta=beta_at(49, 50)).item() == pytest.approx(0.7 + 0.7)


@pytest.mark.parametrize(("epochs", "first", "last"), [(50, 0.3, 0.7), (2, 0.0, 1.0), (7, 0.9, 0.1)])
def test_the_ramp_is_numpys(epochs, first, last):
    found = [beta_at(epoch, epochs, first, last) for epoch in range(epochs)]
    np.testing.assert_allclose(found, np.linspace(first, last, epochs), atol=1e-12)
    assert (found[0], found[-1]) == (first, last)


def test_a_single_epoch_has_the_first_weight():
    assert beta_at(0, 1) == 0.3


@pytest.mark.parametrize(("epoch", "epochs"), [(-1, 5), (5, 5), (0, 0)])
def test_an_epoch_that_there_is_not_is_refused(epoch, epochs):
    with pytest.raises(VidsimError, match=f"no epoch {epoch} of {epochs}"):
        beta_at(epoch, epochs)
