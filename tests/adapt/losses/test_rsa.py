import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr

from vidsim.adapt.losses import pair_distances, rsa_loss
from vidsim.errors import VidsimError

seeds = st.integers(0, 2**32 - 1)


def slow(model, human):
    """Standardise and correlate in plain Python, number by number."""

    def standard(values):
        mean = sum(values) / len(values)
        sd = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
        return [(v - mean) / sd for v in values]

    return -sum(m * h for m, h in zip(standard(model), standard(human), strict=True)) / len(model)


def drawn(seed, p=12):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 2, p), rng.uniform(0, 1, p)


@given(seeds, st.integers(2, 30))
def test_the_loss_is_a_slow_loops_and_scipys(seed, p):
    model, human = drawn(seed, p)
    found = rsa_loss(torch.from_numpy(model), torch.from_numpy(human)).item()
    assert found == pytest.approx(slow(model.tolist(), human.tolist()), abs=1e-9)
    assert found == pytest.approx(-pearsonr(model, human).statistic, abs=1e-9)


@given(seeds, st.floats(1e-2, 1e2), st.floats(-10, 10))
def test_an_affine_function_of_the_human_distances_is_the_least_loss(seed, scale, shift):
    human = torch.from_numpy(drawn(seed)[1])
    assert rsa_loss(scale * human + shift, human).item() == pytest.approx(-1, abs=1e-9)
    assert rsa_loss(shift - scale * human, human).item() == pytest.approx(1, abs=1e-9)
    single = human.float()
    assert rsa_loss(0.3 * single + 0.4, single).item() == pytest.approx(-1, abs=1e-6)


@given(seeds, st.floats(1e-2, 1e2), st.floats(-10, 10), st.permutations(range(12)))
def test_neither_scale_nor_shift_nor_order_matter(seed, scale, shift, order):
    model, human = (torch.from_numpy(x) for x in drawn(seed))
    before = rsa_loss(model, human).item()
    assert rsa_loss(scale * model[order] + shift, human[order]).item() == pytest.approx(before, abs=1e-9)
    assert rsa_loss(model, scale * human + shift).item() == pytest.approx(before, abs=1e-9)


def test_gradients_are_finite_differences_through_distances_too():
    model, human = (torch.from_numpy(x) for x in drawn(0))
    assert torch.autograd.gradcheck(lambda m: rsa_loss(m, human), model.requires_grad_())
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 4))).requires_grad_()
    pairs = torch.tensor([[i, j] for i in range(6) for j in range(i)])[:12]
    assert torch.autograd.gradcheck(lambda x: rsa_loss(pair_distances(x, pairs), human), points)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.9])
def test_a_model_that_tells_nothing_apart_has_no_loss_and_no_gradient(value):
    human = torch.linspace(0, 1, 7)
    for dtype, noise in ((torch.float32, 6e-8), (torch.float64, 1e-16)):
        for model in (torch.full((7,), value, dtype=dtype), value + noise * torch.randn(7, dtype=dtype)):
            loss = rsa_loss(model.requires_grad_(), human.to(dtype))
            assert loss.item() == 0
            (gradient,) = torch.autograd.grad(loss, model)
            assert (gradient == 0).all()


def test_embeddings_that_are_all_the_same_have_no_loss_and_no_gradient():
    points = torch.randn(1, 768).repeat(8, 1).requires_grad_()
    pairs = torch.triu_indices(8, 8, 1).T
    loss = rsa_loss(pair_distances(points, pairs), torch.linspace(0, 1, 28))
    loss.backward()
    assert loss.item() == 0
    assert (points.grad == 0).all()


def test_a_model_that_is_not_a_number_shows():
    human = torch.linspace(0, 1, 4)
    assert torch.isnan(rsa_loss(torch.tensor([0.1, float("nan"), 0.3, 0.4]), human))


def test_halves_are_computed_in_single_precision():
    model, human = (torch.from_numpy(x) for x in drawn(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = rsa_loss(model.bfloat16(), human.float())
    assert found.dtype == torch.float32
    expected = rsa_loss(model.bfloat16().double(), human).item()
    assert found.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("model", "human", "message"),
    [
        ([], [], "0 judged pairs: expected 2 or more"),
        ([0.1], [0.2], "1 judged pairs: expected 2 or more"),
        ([0.1, 0.2], [0.5, 0.5], "the human distances of 2 pairs go from 0.5 to 0.5; expected some that differ"),
        ([0.1, 0.2], [0.5, float("nan")], "none that is NaN"),
        ([0.1, 0.2], [0.5, float("inf")], "none that is NaN or infinite"),
        ([0.1, 0.2], [float("-inf"), float("inf")], "go from -inf to inf"),
        ([0.1], [0.2, 0.3, 0.4], "1 distances of a model and 3 of people: expected the same pairs"),
    ],
)
def test_what_cannot_be_correlated_is_refused(model, human, message):
    with pytest.raises(VidsimError, match=message):
        rsa_loss(torch.tensor(model), torch.tensor(human))
