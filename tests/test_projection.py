import subprocess
import sys
import threading
from hashlib import sha256

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.random_projection import SparseRandomProjection, johnson_lindenstrauss_min_dim

from vidsim import projection as module
from vidsim.errors import VidsimError
from vidsim.projection import SparseProjection, johnson_lindenstrauss_dims, projection


@given(n=st.integers(1, 10**6), eps=st.floats(0.01, 0.99))
def test_dims_equal_scikit_learn(n, eps):
    assert johnson_lindenstrauss_dims(n, eps) == johnson_lindenstrauss_min_dim(n, eps=eps)


@pytest.mark.parametrize(("n", "eps"), [(0, 0.1), (5, 0.0), (5, 1.0)])
def test_dims_out_of_range(n, eps):
    with pytest.raises(VidsimError, match="expected"):
        johnson_lindenstrauss_dims(n, eps)


@pytest.mark.parametrize(
    ("d", "n", "golden"),
    [(5000, 100, "9618797a01065a2d"), (301056, 4732, "b59e8919812c7c5c"), (2**31 - 1, 3, "730e58a7fd0a651a")],
)
def test_matrix_is_the_same_on_every_machine(d, n, golden):
    p = SparseProjection(d, n, seed=0)
    signs = p.signs.astype("i1")
    assert sha256(p.indices.astype("<i4").tobytes() + signs.tobytes()).hexdigest()[:16] == golden


@pytest.mark.parametrize("d", [1, 2, 3, 4733, 10_007, 5_000_000, 2**31 - 1])
def test_rows_draw_one_feature_of_every_stratum(d):
    p = SparseProjection(d, 70, seed=3)
    k = round(d**0.5)
    assert p.indices.shape == p.signs.shape == (70, k)
    assert p.indices.min() >= 0
    assert p.indices.max() < d
    assert set(np.unique(p.signs)) <= {-1.0, 1.0}
    for row in p.indices.astype(np.int64):
        # from some feature on, in cyclic order: distances between neighbours sum to d exactly if none is out of order
        steps = np.diff(row, append=row[0] + d) % d if k > 1 else np.array([d])
        assert steps.sum() == d
        assert (steps > 0).all()


def test_indices_equal_exact_arithmetic():
    d, n, seed = 2**31 - 1, 2, 5
    p = SparseProjection(d, n, seed)
    k = round(d**0.5)
    words = [int(w) for w in np.random.Philox(key=[seed, d]).random_raw((n * (k + 1) + 1) // 2)]
    halves = [half for w in words for half in (w & 0xFFFFFFFF, w >> 32)]
    for row in range(n):
        shift, *bits = halves[row * (k + 1) : (row + 1) * (k + 1)]
        for i in (0, 1, 2, k // 2, k - 1):
            low, high = i * d // k, (i + 1) * d // k
            expected = (low + ((bits[i] >> 1) * (high - low) >> 31) + (shift * d >> 32)) % d
            assert p.indices[row, i] == expected
            assert p.signs[row, i] == 2 * (bits[i] & 1) - 1


def test_features_are_drawn_equally_often():
    p = SparseProjection(4733, 20_000)  # strata of 68 and 69 features: without the shift, 1.4 % apart
    counts = np.bincount(p.indices.ravel(), minlength=4733)
    expected = p.indices.size / 4733
    assert stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), 4732) > 1e-3
    narrow = np.diff(np.arange(70) * 4733 // 69) == 68
    edges = np.arange(70) * 4733 // 69
    in_stratum = np.add.reduceat(counts, edges[:-1]) / np.diff(edges) / expected
    assert abs(in_stratum[narrow].mean() - in_stratum[~narrow].mean()) < 0.004
    assert abs(p.signs.mean()) < 5 / np.sqrt(p.signs.size)


def test_entries_and_density_equal_scikit_learn():
    ours = SparseProjection(90_000, 200)
    theirs = SparseRandomProjection(200, random_state=0).fit(np.zeros((1, 90_000)))
    assert ours.indices.size / (200 * 90_000) == pytest.approx(theirs.density_, rel=0.01)
    assert ours.scale == pytest.approx(np.abs(theirs.components_.data).max(), rel=1e-3)


def test_transform_equals_matrix_product():
    p = SparseProjection(7001, 300, seed=4)
    x = np.random.default_rng(0).normal(size=(5, 7001)).astype(np.float32)
    np.testing.assert_allclose(p.transform(x), x.astype(float) @ p.toarray().T.astype(float), rtol=1e-4, atol=1e-4)


def test_transform_equals_sums_in_the_order_of_strata_bit_for_bit():
    p = SparseProjection(20_000, 500, seed=1)
    x = np.random.default_rng(0).normal(size=(9, 20_000)).astype(np.float32)
    sums = np.zeros((9, 500), np.float32)
    for stratum in range(p.indices.shape[1]):
        sums += x[:, p.indices[:, stratum]] * p.signs[:, stratum]
    assert np.array_equal(p.transform(x), sums * np.float32(p.scale))


def test_rows_do_not_depend_on_batch_order_strides_or_threads():
    p = SparseProjection(50_000, 600, seed=2)
    x = torch.randn(50, 50_000, generator=torch.Generator().manual_seed(0))
    whole = p.project(x)
    assert whole.is_contiguous()
    for size in (1, 2, 3, 7, 8, 9, 16, 17, 33):
        assert torch.equal(torch.cat([p.project(part) for part in x.split(size)]), whole)
    order = torch.randperm(50)
    assert torch.equal(p.project(x[order]), whole[order])
    assert torch.equal(p.project(x.T.contiguous().T), whole)
    assert torch.equal(p.project(torch.stack([x, x], dim=2)[..., 0]), whole)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 5):
            torch.set_num_threads(number)
            assert torch.equal(p.project(x), whole)
    finally:
        torch.set_num_threads(threads)
    results = [None] * 4
    jobs = [threading.Thread(target=lambda i=i: results.__setitem__(i, p.project(x))) for i in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert all(torch.equal(r, whole) for r in results)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_float32(dtype):
    p = SparseProjection(6000, 50)
    x = torch.randn(3, 6000).to(dtype)
    assert p.project(x).dtype == torch.float32
    assert torch.equal(p.project(x), p.project(x.float()))


def test_works_inside_and_outside_inference_mode():
    p = SparseProjection(6000, 50)
    x = torch.randn(3, 6000)
    with torch.inference_mode():
        inside = p.project(x)
    outside = p.project(x.clone().requires_grad_())
    assert torch.equal(inside, outside)
    assert not outside.requires_grad


def test_numpy_views_and_read_only_rows():
    p = SparseProjection(6000, 50)
    x = np.random.default_rng(0).normal(size=(4, 6000)).astype(np.float32)
    whole = p.transform(x)
    x.flags.writeable = False
    assert np.array_equal(p.transform(x), whole)
    assert np.array_equal(p.transform(x[::-1]), whole[::-1])
    assert np.array_equal(p.transform(np.asfortranarray(x)), whole)


def test_not_finite_features_show_where_they_are_drawn():
    p = SparseProjection(6000, 50)
    for bad in (np.nan, np.inf):
        x = np.zeros((2, 6000), np.float32)
        feature = int(p.indices[7, 3])
        x[1, feature] = bad
        out = p.transform(x)
        drawn = (p.indices == feature).any(axis=1)
        assert np.array_equal(~np.isfinite(out[1]), drawn)
        assert (out[0] == 0).all()


def test_empty_batch():
    assert SparseProjection(6000, 50).project(torch.zeros(0, 6000)).shape == (0, 50)


def test_other_width_is_refused():
    with pytest.raises(VidsimError, match=r"\(batch, 6000\), got \(2, 5999\)"):
        SparseProjection(6000, 50).project(torch.zeros(2, 5999))


@pytest.mark.parametrize("arguments", [(0, 5), (2**31, 5), (10, 0), (10, 5, -1), (10, 5, 2**64)])
def test_out_of_range(arguments):
    with pytest.raises(VidsimError, match="expected"):
        SparseProjection(*arguments)


def test_seeds_and_widths_give_other_matrices():
    base = SparseProjection(6000, 50, 0)
    assert not np.array_equal(base.indices, SparseProjection(6000, 50, 1).indices)
    assert not np.array_equal(base.signs, SparseProjection(6000, 50, 2**64 - 1).signs)
    other_width = SparseProjection(6001, 50, 0).signs
    assert abs((base.signs * other_width).mean()) < 4 / np.sqrt(other_width.size)


def test_narrow_layers_pass_through():
    assert projection(4732, 4732, 0) is None
    assert projection(768, 4732, 0) is None
    wide = projection(4733, 4732, 0)
    assert isinstance(wide, SparseProjection)
    assert projection(4733, 4732, 0) is wide


def _image_like(rng):
    """Noise whose neighbouring features are strongly correlated, as in maps of 64 x 64 with 3 channels."""
    spectrum = 1 / np.maximum(np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)), 1 / 64) ** 1.5
    noise = np.fft.fft2(rng.normal(size=(8, 3, 64, 64)))
    return np.fft.ifft2(noise * spectrum).real.transpose(0, 2, 3, 1).reshape(8, -1) + 1


INPUTS = {
    "dense": lambda rng: rng.normal(size=(8, 12_288)),
    "images": _image_like,
    "sparse": lambda rng: rng.normal(size=(8, 12_288)) * (rng.random((8, 12_288)) < 0.02),
    "spikes": lambda rng: rng.standard_t(3, size=(8, 12_288)),
    "period of a stratum": lambda rng: 1 + np.cos(np.arange(12_288) * 2 * np.pi / 110.7 + rng.normal(size=(8, 1))),
    "one patch carries all": lambda rng: rng.normal(size=(8, 12_288)) * (np.arange(12_288) // 512 == 7),
    "two features a stratum": lambda rng: rng.normal(size=(8, 12_288)) * (np.arange(12_288) % 111 < 2),
}


ROWS = 10_000  # a squared distance is a mean over rows, so its spread is that of a row by the root of their number


@pytest.fixture(scope="module")
def both():
    """Return our matrices and scikit-learn's for two seeds."""
    empty = np.zeros((1, 12_288), np.float32)
    return (
        [SparseProjection(12_288, ROWS, seed) for seed in range(2)],
        [SparseRandomProjection(ROWS, random_state=seed).fit(empty) for seed in range(2)],
    )


@pytest.mark.parametrize("kind", INPUTS)
def test_distances_are_as_true_as_scikit_learns(kind, both):
    x = INPUTS[kind](np.random.default_rng(7)).astype(np.float32)
    pairs = np.triu_indices(8, 1)
    differences = x[pairs[0]] - x[pairs[1]]
    differences /= np.linalg.norm(differences, axis=1, keepdims=True)
    our_ratios, their_ratios = (
        np.hstack([ROWS * p.transform(differences).astype(float) ** 2 for p in matrices]) for matrices in both
    )
    # what the theory says of independent entries: kurtosis of x in units of the density (Li, Hastie & Church 2006)
    fourth = (differences.astype(float) ** 4).sum(axis=1)
    bernoulli = np.sqrt(np.mean(fourth * np.sqrt(12_288) + 3 * (1 - fourth) - 1))
    assert our_ratios.mean() == pytest.approx(1, abs=4 * bernoulli / np.sqrt(our_ratios.shape[1]))
    our_spread, their_spread = (np.sqrt(((r - 1) ** 2).mean()) for r in (our_ratios, their_ratios))
    assert their_spread == pytest.approx(bernoulli, rel=0.05)
    assert our_spread < 1.05 * their_spread


def test_dimensions_do_not_need_torch():
    code = "import sys, vidsim.projection as p; p.johnson_lindenstrauss_dims(250); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@settings(max_examples=20, deadline=None)
@given(d=st.integers(1, 400), n=st.integers(1, 150), seed=st.integers(0, 2**64 - 1))
def test_any_shape_equals_matrix_product(d, n, seed):
    p = SparseProjection(d, n, seed)
    x = np.random.default_rng(0).normal(size=(2, d))
    np.testing.assert_allclose(p.transform(x), x @ p.toarray().T.astype(float), rtol=1e-4, atol=1e-4)


def test_rows_at_once_change_nothing(monkeypatch):
    whole = SparseProjection(5001, 100).indices
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 4)
    assert np.array_equal(SparseProjection(5001, 100).indices, whole)
