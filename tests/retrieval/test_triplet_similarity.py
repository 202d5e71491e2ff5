import sys

import numpy as np
import pytest

from vidsim.errors import VidsimError
from vidsim.retrieval.triplet_similarity import triplet_similarities, unit_vectors

RNG = np.random.default_rng(0)


def test_similarities_are_the_cosines_of_a_slow_loop():
    matrix = RNG.normal(size=(40, 23)).astype(np.float32)
    vectors = unit_vectors(matrix, tuple(map(str, range(40))), "net:x")
    rows = np.array([RNG.choice(40, 3, replace=False) for _ in range(500)], np.int32)
    expected = []
    for a, b, c in rows:
        x, y, z = (matrix[i].astype(float) / np.linalg.norm(matrix[i].astype(float)) for i in (a, b, c))
        expected.append([x @ y, x @ z, y @ z])
    found = triplet_similarities(vectors, rows)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert triplet_similarities(vectors, rows[:0]).shape == (0, 3)


def test_rows_that_lie_apart_in_memory_are_read_rightly():
    wide = unit_vectors(RNG.normal(size=(9, 8)), tuple("abcdefghi"), "x")
    rows = np.array([[0, 4, 8], [1, 2, 3]])
    np.testing.assert_array_equal(triplet_similarities(np.asfortranarray(wide), rows), triplet_similarities(wide, rows))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_unit_vectors_have_length_one(kind, monkeypatch):
    monkeypatch.setattr("vidsim.retrieval.exact.BLOCK_BYTES", 200)
    matrix = RNG.normal(size=(50, 10)).astype(kind)
    found = unit_vectors(matrix, tuple(map(str, range(50))), "x")
    assert found.dtype == np.float32
    expected = matrix.astype(float) / np.linalg.norm(matrix.astype(float), axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_vectors_without_direction_are_named(value):
    matrix = RNG.normal(size=(5, 3))
    matrix[[1, 3]] = value
    with pytest.raises(VidsimError, match="2 of 5 stimuli in net:x are zero or not finite, the first is 'b'"):
        unit_vectors(matrix, tuple("abcde"), "net:x")


@pytest.mark.parametrize("row", [[0, 1, 5], [-1, 0, 1]])
def test_positions_outside_are_refused(row):
    with pytest.raises(VidsimError, match="expected 0 to 4"):
        triplet_similarities(np.eye(5, dtype=np.float32), np.array([row]))


def test_faiss_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(VidsimError, match="faiss is not installed: pip install"):
        triplet_similarities(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]]))
