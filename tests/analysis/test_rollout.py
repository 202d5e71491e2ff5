import numpy as np
import pytest

from vidsim.analysis.rollout import divided_block, patch_map, rollout, with_residual

RNG = np.random.default_rng(2)


def attention(*shape):
    return RNG.dirichlet(np.full(shape[-1], 0.4), size=shape[:-1])


def slow_rollout(blocks, share):
    """Multiply matrices one number at a time, from the input up (Abnar and Zuidema 2020)."""
    n = len(blocks[0])
    total = [[float(i == j) for j in range(n)] for i in range(n)]
    for block in blocks:
        mixed = [[(1 - share) * block[i][j] + share * (i == j) for j in range(n)] for i in range(n)]
        mixed = [[value / sum(row) for value in row] for row in mixed]
        total = [[sum(mixed[i][k] * total[k][j] for k in range(n)) for j in range(n)] for i in range(n)]
    return np.array(total)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_rollout_is_a_slow_loop(share):
    layers = [attention(6, 6) for _ in range(4)]
    blocks = [with_residual(layer, share) for layer in layers]
    whole = rollout(blocks, np.eye(6))
    np.testing.assert_allclose(whole, slow_rollout(layers, share))
    np.testing.assert_allclose(whole.sum(axis=1), 1)
    np.testing.assert_allclose(rollout(blocks, np.full((1, 6), 1 / 6))[0], whole.mean(axis=0))
    np.testing.assert_allclose(rollout(blocks, np.eye(6)[:1])[0], whole[0])


def test_rows_are_made_to_sum_to_one():
    rows = 3 * attention(2, 5, 5)
    np.testing.assert_allclose(with_residual(rows), with_residual(rows / 3))
    np.testing.assert_allclose(with_residual(rows, 1.0)[1], np.eye(5))


def propagate(token, temporal, spatial, share):
    """Send one token through a block as TimeSformer does, value by value; tokens are CLS and (frame, place)."""
    p, t = temporal.shape[:2]
    cls = float(token == 0)
    patches = {(f, q): float(token == 1 + f * p + q) for f in range(t) for q in range(p)}
    after = {
        (f, q): share * patches[f, q] + (1 - share) * sum(temporal[q, f, g] * patches[g, q] for g in range(t))
        for f in range(t)
        for q in range(p)
    }
    copies, out = [], {}
    for f in range(t):
        inside = [cls, *(after[f, q] for q in range(p))]
        taken = [sum(spatial[f, row, column] * inside[column] for column in range(p + 1)) for row in range(p + 1)]
        copies.append(taken[0])
        for q in range(p):
            out[f, q] = share * after[f, q] + (1 - share) * taken[q + 1]
    return [share * cls + (1 - share) * sum(copies) / t, *(out[f, q] for f in range(t) for q in range(p))]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_divided_block_is_brute_force_propagation(share):
    temporal, spatial = attention(5, 3, 3), attention(3, 6, 6)
    expected = np.array([propagate(token, temporal, spatial, share) for token in range(16)]).T
    found = divided_block(temporal, spatial, share)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_one_frame_is_plain_attention():
    spatial = attention(1, 6, 6)
    found = divided_block(np.ones((5, 1, 1)), spatial)
    np.testing.assert_allclose(found, with_residual(spatial[0]))


def test_maps_are_relative_to_an_even_spread():
    found = RNG.random((2, 1 + 2 * 3 * 4))
    maps = patch_map(found, 1, (2, 3, 4))
    assert maps.shape == (2, 2, 3, 4)
    np.testing.assert_allclose(maps.mean(axis=(1, 2, 3)), 1)
    assert maps[1, 1, 2, 3] / maps[1, 0, 0, 0] == pytest.approx(found[1, -1] / found[1, 1])
