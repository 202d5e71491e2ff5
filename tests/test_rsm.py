import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm, square

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(7, 5))
IDS = tuple("abcdefg")


def test_cosine_is_scipys():
    rsm = cosine_rsm(Embeddings(IDS, MATRIX.astype(np.float32)))
    np.testing.assert_allclose(rsm.distances, squareform(pdist(MATRIX, "cosine")), atol=1e-7)
    assert rsm.counts is None
    assert not rsm.upper_counts.any()
    np.testing.assert_array_equal(rsm.similarities, rsm.similarities.T)


def test_cosine_does_not_change_with_scale_or_rotation():
    rotation, _ = np.linalg.qr(RNG.normal(size=(5, 5)))
    turned = cosine_rsm(Embeddings(IDS, 3 * MATRIX @ rotation))
    np.testing.assert_allclose(turned.similarities, cosine_rsm(Embeddings(IDS, MATRIX)).similarities, atol=1e-12)


def test_rows_are_taken_with_their_columns():
    similarities = np.array([[1, 0.1, np.nan], [0.1, 1, 0.3], [np.nan, 0.3, 1]])
    counts = np.array([[0, 1, 0], [1, 0, 3], [0, 3, 0]])
    taken = RSM(("a", "b", "c"), similarities, counts).take(["c", "a"])
    assert taken.ids == ("c", "a")
    np.testing.assert_array_equal(taken.similarities, [[1, np.nan], [np.nan, 1]])
    np.testing.assert_array_equal(taken.counts, 0)


@pytest.mark.parametrize("n", [2, 3, 17, 1025, 2100])
def test_square_is_the_inverse_of_the_upper_triangle(n):
    upper = RNG.normal(size=n * (n - 1) // 2)
    matrix = square(upper, n, 1.0)
    np.testing.assert_array_equal(matrix[np.triu_indices(n, 1)], upper)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(matrix.diagonal(), 1)
    if n < 100:
        np.testing.assert_array_equal(matrix - np.eye(n), squareform(upper))


def test_tables_come_back_exactly():
    counts = np.array([[0, 2, 0], [2, 0, 1], [0, 1, 0]])
    similarities = np.array([[1, 0.5, np.nan], [0.5, 1, 1 / 3], [np.nan, 1 / 3, 1]])
    for given in (RSM(("a", "b", "'; DROP"), similarities, counts), RSM(("a", "b", "c"), similarities)):
        again = RSM.from_table(given.table())
        assert again.ids == given.ids
        np.testing.assert_array_equal(again.similarities, given.similarities)
        assert (again.counts is None) == (given.counts is None)
        if given.counts is not None:
            np.testing.assert_array_equal(again.counts, given.counts)


@pytest.mark.parametrize(
    ("ids", "similarities", "message"),
    [
        (("a", "a"), np.eye(2), "'a' stands more than once"),
        (("a", "b", "c"), np.eye(2), r"shape \(2, 2\) were given for 3 ids"),
        (("a", "b"), np.array([[1, 0.2], [0.3, 1]]), "not symmetric"),
        (("a", "b"), np.array([[1, np.nan], [0.3, 1]]), "not symmetric"),
    ],
)
def test_what_is_no_rsm_is_refused(ids, similarities, message):
    with pytest.raises(VidsimError, match=message):
        RSM(ids, similarities)


def test_unknown_ids_are_named():
    with pytest.raises(VidsimError, match="1 of 2 ids are not in the similarity matrix, the first is 'x'"):
        cosine_rsm(Embeddings(IDS, MATRIX)).take(["a", "x"])
