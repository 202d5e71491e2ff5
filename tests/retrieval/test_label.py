from itertools import combinations
from math import comb

import numpy as np
import pytest

from vidsim.data.design import pairs_covered, schoenheim
from vidsim.errors import VidsimError
from vidsim.retrieval import label as module
from vidsim.retrieval.label import Labels, check_design, label, predict

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(25, 7)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def in_small_parts(monkeypatch):
    """Let labels come in several parts."""
    monkeypatch.setattr(module, "CHUNK", 64)


def slow(rows, temperature):
    """Predict one triplet after another in float64: (a, b, odd), probability, entropy."""
    x = VECTORS.astype(float)
    for i, j, k in rows:
        weights = {odd: np.exp(x[a] @ x[b] / temperature) for a, b, odd in ((i, j, k), (i, k, j), (j, k, i))}
        p = np.array(list(weights.values())) / sum(weights.values())
        odd = max(weights, key=weights.__getitem__)
        yield (*sorted({i, j, k} - {odd}), odd), p.max(), -(p * np.log(p)).sum()


def whole(*arguments, **options):
    parts = list(label(VECTORS, *arguments, **options))
    assert all(len(part) <= 64 for part in parts)
    return Labels(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("rows", "probability", "entropy")))


def test_predictions_are_those_of_a_slow_loop():
    rows = np.array(list(combinations(range(25), 3)), np.int32)[::4]
    found = predict(VECTORS, rows, 0.3)
    expected = list(slow(rows.tolist(), 0.3))
    assert list(map(tuple, found.rows.tolist())) == [choice for choice, _, _ in expected]
    np.testing.assert_allclose(found.probability, [p for _, p, _ in expected], rtol=1e-5)
    np.testing.assert_allclose(found.entropy, [h for _, _, h in expected], rtol=1e-4, atol=1e-6)
    assert (found.probability > 1 / 3).all()


def test_a_random_sample_has_no_triplet_twice_and_begins_as_a_smaller_one():
    found, fewer = whole(0.3, count=1000), whole(0.3, count=150)
    assert len(np.unique(np.sort(found.rows, axis=1), axis=0)) == len(found) == 1000
    np.testing.assert_array_equal(found.rows[:150], fewer.rows)
    assert not np.array_equal(fewer.rows, whole(0.3, count=150, seed=1).rows)
    every = whole(0.3, count=comb(25, 3))
    assert sorted(map(tuple, np.sort(every.rows, axis=1).tolist())) == list(combinations(range(25), 3))


def test_a_cover_holds_every_pair_with_the_fewest_triplets():
    found = whole(0.3, design="covering")
    assert len(found) == schoenheim(25)
    assert pairs_covered(found.rows, 25) == comb(25, 2)


@pytest.mark.parametrize(("count", "pool"), [(10, None), (100, 700), (500, 2300), (2300, 2300)])
def test_the_most_uncertain_of_the_pool_come_first(count, pool):
    found = whole(0.3, design="uncertain", count=count, pool=pool)
    of = whole(0.3, count=pool or 10 * count)
    order = np.argsort(-of.entropy, kind="stable")[:count]
    np.testing.assert_array_equal(found.rows, of.rows[order])
    np.testing.assert_array_equal(found.entropy, of.entropy[order])
    assert (np.diff(found.entropy) <= 0).all()


def test_copies_are_a_tie_that_is_told_as_one():
    found = predict(np.ones((3, 4), np.float32) / 2, np.array([[0, 1, 2]], np.int32), 0.1)
    assert found.rows.tolist() == [[1, 2, 0]]
    assert found.probability == pytest.approx(1 / 3)
    assert found.entropy == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("n", "options", "said"),
    [
        (2, {"count": 1}, "2 clips make no triplet; expected at least 3"),
        (5, {"count": 11}, "11 triplets were asked for; 5 clips make 10 different ones"),
        (5, {"count": 0}, "expected 1 to that many"),
        (5, {}, "expected 1 to that many"),
        (5, {"count": 3, "pool": 5}, "a pool is for the design uncertain, not random"),
        (5, {"count": 3, "design": "covering"}, "as many triplets as it takes"),
        (5, {"count": 3, "pool": 2, "design": "uncertain"}, "at least the 3 to keep and at most the 10 there are"),
        (5, {"count": 3, "pool": 11, "design": "uncertain"}, "at most the 10 there are"),
        (20_001, {"design": "covering"}, "expected at most 20,000"),
        (5, {"count": 3, "design": "foo"}, "no design 'foo': expected 'random', 'covering' or 'uncertain'"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(unhooked, n, options, said):
    design = options.pop("design", "random")
    with pytest.raises(VidsimError, match=said):
        check_design(n, design, **options)
    with pytest.raises(VidsimError, match=said):
        label(np.eye(n, 2, dtype=np.float32), 0.1, design=design, **options)  # before anything is asked of it


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(VidsimError, match="temperature"):
        label(VECTORS, temperature, count=1)


def test_a_seed_below_0_is_refused():
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        label(VECTORS, 0.1, count=1, seed=-1)


@pytest.mark.parametrize(
    ("scale", "advice"),
    [
        (0, "leave it out"),
        (np.nan, "leave it out"),
        (5, r"Embeddings\.unit does"),
        (1.01, r"Embeddings\.unit does"),
    ],
)
def test_vectors_that_are_not_of_length_1_are_refused(scale, advice):
    vectors = VECTORS.copy()
    vectors[4] *= scale
    with pytest.raises(VidsimError, match=rf"vector 4 has length {scale:g}: expected vectors of length 1; .*{advice}$"):
        label(vectors, 0.1, count=1)
    with pytest.raises(VidsimError, match=rf"vector 4 has length {scale:g}: expected vectors of length 1"):
        predict(vectors, np.array([[0, 1, 2]], np.int32), 0.1)
    assert len(predict(VECTORS.astype(np.float16), np.array([[0, 1, 2]], np.int32), 0.1)) == 1


@pytest.mark.parametrize("row", [[1, 1, 2], [2, 1, 2], [0, 2, 2]])
def test_triplets_that_show_a_stimulus_twice_are_refused(row):
    rows = np.array([[0, 1, 2], row, row], np.int32)
    with pytest.raises(VidsimError, match=r"^triplet 1, \[.*\], shows a stimulus more than once \(2 such triplets\)"):
        predict(VECTORS, rows, 0.1)
