import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.retrieval import exact, gpu


def sorted_by_hand(matrix, queries, k):
    """Sort every line by similarity, and by row where these are equal."""
    products = queries @ matrix.T
    rows = [sorted(range(len(matrix)), key=lambda row: (-line[row], row))[:k] for line in products]
    return np.take_along_axis(products, np.array(rows), axis=1), np.array(rows)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 12), st.integers(0, 1 << 30))
def test_blocks_and_single_queries_equal_sorting(rows, queries, k, seed):
    rng = np.random.default_rng(seed)
    # few different values: ties abound
    matrix = rng.integers(-1, 2, size=(rows, 3)).astype(np.float32)
    asked = rng.integers(-1, 2, size=(queries, 3)).astype(np.float32)
    k = min(k, rows)
    expected = sorted_by_hand(matrix, asked, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "BLOCK_BYTES", 7 * 12)
        patch.setattr(exact, "QUERIES", 5)
        for most_alone in (0, 1000):
            patch.setattr(exact, "ALONE", most_alone)
            similarities, found = exact.nearest(matrix, asked, k)
            np.testing.assert_array_equal(found, expected[1])
            np.testing.assert_array_equal(similarities, expected[0])


def test_parts_may_have_numbers_of_their_own():
    matrix = np.eye(4, dtype=np.float32)
    parts = [(np.array([30, 10]), matrix[[3, 1]]), (np.array([20, 0]), matrix[[2, 0]])]
    similarities, found = exact.nearest_among(parts, matrix[[1, 2]], 1)
    assert (found.tolist(), similarities.tolist()) == ([[10], [20]], [[1.0], [1.0]])


def test_no_queries_are_no_answers():
    assert exact.nearest(np.eye(3, dtype=np.float32), np.empty((0, 3), np.float32), 2)[0].shape == (0, 2)


def test_many_queries_go_to_a_gpu_where_faiss_has_one(fake_gpu):
    rng = np.random.default_rng(0)
    matrix, queries = rng.normal(size=(50, 8)).astype(np.float32), rng.normal(size=(20, 8)).astype(np.float32)
    expected = sorted_by_hand(matrix, queries, 5)[1]
    assert gpu.available()
    np.testing.assert_array_equal(exact.nearest(matrix, queries, 5)[1], expected)
    assert fake_gpu.calls == ["knn_gpu"]
    exact.nearest(matrix, queries[:1], 5)
    assert fake_gpu.calls == ["knn_gpu"]


def test_without_a_device_there_is_no_gpu():
    assert not gpu.available()
