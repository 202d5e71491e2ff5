import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import pdist, squareform

from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_blocks, cosine_rsm, pearson_blocks, pearson_rsm, square

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


def test_pearson_is_numpys():
    rsm = pearson_rsm(Embeddings(IDS, MATRIX.astype(np.float32)))
    np.testing.assert_allclose(rsm.similarities, np.corrcoef(MATRIX.astype(np.float32)), atol=1e-14)
    np.testing.assert_array_equal(rsm.similarities, rsm.similarities.T)
    np.testing.assert_array_equal(rsm.similarities.diagonal(), 1)


def test_pearson_is_rsatoolboxs():
    rsatoolbox = pytest.importorskip("rsatoolbox", reason="the oracle of this distance")
    matrix = RNG.normal(3, size=(40, 301))
    theirs = rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(matrix.copy()), method="correlation").get_vectors()[0]
    ours = pearson_rsm(Embeddings(tuple(map(str, range(40))), matrix))
    np.testing.assert_allclose(1 - ours.upper, theirs, rtol=0, atol=1e-12)


def test_pearson_does_not_change_with_scale_or_shift():
    moved = pearson_rsm(Embeddings(IDS, MATRIX * RNG.uniform(1, 9, (7, 1)) + RNG.normal(size=(7, 1))))
    np.testing.assert_allclose(moved.similarities, pearson_rsm(Embeddings(IDS, MATRIX)).similarities, atol=2e-12)


def test_pearson_is_the_cosine_of_centred_embeddings():
    centred = cosine_rsm(Embeddings(IDS, MATRIX - MATRIX.mean(axis=1, keepdims=True)))
    np.testing.assert_allclose(pearson_rsm(Embeddings(IDS, MATRIX)).similarities, centred.similarities, atol=2e-12)


@pytest.mark.parametrize("compute", [cosine_rsm, lambda e: list(cosine_blocks(e, rows=2))])
@pytest.mark.parametrize("values", [np.nan, [1, 1, 1, 1, np.nan], [0, 1, -np.inf, 3, np.inf]])
def test_an_embedding_that_is_similar_to_nothing_is_named(compute, values):
    matrix = MATRIX.copy()
    matrix[4] = values
    with pytest.raises(VidsimError, match="the embedding of 'e' is not finite"):
        compute(Embeddings(IDS, matrix))


@pytest.mark.parametrize("compute", [cosine_rsm, pearson_rsm])
def test_equal_embeddings_are_equally_similar_in_any_order(compute):
    twins = np.repeat(RNG.normal(size=(40, 384)), 2, axis=0)
    ids = tuple(map(str, range(80)))
    for order in (np.arange(80), RNG.permutation(80)):
        found = compute(Embeddings(tuple(ids[k] for k in order), twins[order])).take(ids).similarities
        np.testing.assert_array_equal(found[::2], found[1::2])
        np.testing.assert_array_equal(found[:, ::2], found[:, 1::2])
    collapsed = compute(Embeddings(ids, np.tile(twins[:1], (80, 1)))).similarities
    np.testing.assert_array_equal(collapsed, 1)


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e20, 1e200])
def test_long_and_short_embeddings_have_directions(scale):
    np.testing.assert_allclose(
        cosine_rsm(Embeddings(IDS, MATRIX * scale)).similarities,
        cosine_rsm(Embeddings(IDS, MATRIX)).similarities,
        atol=2e-12,
    )


@pytest.mark.parametrize("values", [0.0, 0.1, 1e300, [1, 1, 1, 1, np.nan], [0, 1, 2, 3, np.inf], [0, 0, 0, 1e200, 0]])
@pytest.mark.parametrize("compute", [pearson_rsm, lambda e: list(pearson_blocks(e, rows=2))])
def test_an_embedding_that_correlates_with_nothing_is_named(compute, values):
    matrix = MATRIX.copy()
    matrix[4] = values
    with pytest.raises(VidsimError, match="the embedding of 'e' is constant or not finite"):
        compute(Embeddings(IDS, matrix))


def test_a_long_constant_embedding_is_constant_in_spite_of_rounding():
    matrix = np.full((2, 999_983), 0.1, np.float32)
    matrix[1, 0] = 0.2
    with pytest.raises(VidsimError, match="the embedding of 'a' is constant"):
        pearson_rsm(Embeddings(("a", "b"), matrix))


@given(
    n=st.integers(0, 12),
    rows=st.integers(1, 15),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    seed=st.integers(0, 99),
    kind=st.sampled_from([(cosine_blocks, cosine_rsm), (pearson_blocks, pearson_rsm)]),
)
def test_blocks_are_rows_of_the_matrix(n, rows, dtype, seed, kind):
    blocks, whole = kind
    embeddings = Embeddings(tuple(map(str, range(n))), np.random.default_rng(seed).normal(size=(n, 6)).astype(dtype))
    found = list(blocks(embeddings, rows))
    assert [i for part, _ in found for i in range(n)[part]] == list(range(n))
    assert all(len(block) == len(range(n)[part]) <= rows for part, block in found)
    assert all(block.dtype == np.promote_types(dtype, np.float32) for _, block in found)
    joined = np.concatenate([np.empty((0, n)), *(block for _, block in found)])
    expected = whole(embeddings).similarities
    np.testing.assert_allclose(joined, expected, atol=1e-14 if dtype == np.float64 else 1e-6)
    np.testing.assert_array_equal(joined.diagonal(), 1)


def test_a_zero_embedding_is_the_same_in_blocks():
    embeddings = Embeddings(IDS, MATRIX * (np.arange(7) != 3)[:, None])
    (only,) = cosine_blocks(embeddings)
    np.testing.assert_allclose(only[1], cosine_rsm(embeddings).similarities, atol=1e-15)


@pytest.mark.parametrize("blocks", [cosine_blocks, pearson_blocks])
def test_blocks_without_rows_are_refused_at_once(blocks):
    with pytest.raises(VidsimError, match="blocks of 0 rows were asked for; expected at least 1"):
        blocks(Embeddings(IDS, MATRIX), 0)


PEAK = """
import numpy as np
from pathlib import Path
from vidsim.embeddings import Embeddings
from vidsim.rsm import {blocks}

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

matrix = np.random.default_rng(0).standard_normal((12_000, 16), dtype=np.float32)
embeddings = Embeddings(tuple(map(str, range(12_000))), matrix)
before = peak()
for part, block in {blocks}(embeddings, 128):
    pass
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("blocks", ["cosine_blocks", "pearson_blocks"])
def test_blocks_never_hold_the_whole_matrix(blocks):
    run = subprocess.run([sys.executable, "-c", PEAK.format(blocks=blocks)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 64 * 1024  # kB; the whole matrix has 562,500


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
    for rsm in (RSM(("a", "b", "'; DROP"), similarities, counts), RSM(("a", "b", "c"), similarities)):
        again = RSM.from_table(rsm.table())
        assert again.ids == rsm.ids
        np.testing.assert_array_equal(again.similarities, rsm.similarities)
        assert (again.counts is None) == (rsm.counts is None)
        if rsm.counts is not None:
            np.testing.assert_array_equal(again.counts, rsm.counts)


def test_lists_of_one_length_with_null_for_nan_are_read():
    rows = pa.array([[1, None], [None, 1]], pa.list_(pa.float64(), 2))
    again = RSM.from_table(pa.table({"id": ["a", "b"], "similarity": rows}))
    np.testing.assert_array_equal(again.similarities, [[1, np.nan], [np.nan, 1]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a"]}, "the table has no column 'id'; expected one that RSM.table has made"),
        ({"id": ["a", "b"], "similarity": [1.0, 2.0]}, "column 'similarity' of the table holds no matrix"),
        ({"id": ["a", "b"], "similarity": [[1.0, 0.5], [0.5]]}, "expected 2 lists of 2 numbers"),
        ({"id": ["a"], "similarity": [[1.0]], "count": [0]}, "column 'count' of the table holds no matrix"),
    ],
)
def test_another_table_is_refused(columns, message):
    with pytest.raises(VidsimError, match=message):
        RSM.from_table(pa.table(columns))


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("ids", "similarities", "message"),
    [
        (("a", "a"), np.eye(2), "'a' stands more than once"),
        (("a", "b", "c"), np.eye(2), r"shape \(2, 2\) were given for 3 ids"),
        (("a", "b"), np.array([[1, 0.2], [0.3, 1]]), "not symmetric"),
        (("a", "b"), np.array([[1, np.nan], [0.3, 1]]), "not symmetric"),
        (("a", "b"), np.array([[1, 0.2 + 1e-9], [0.2, 1]]), "not symmetric"),
        (("a", "b"), np.array([[1, 0.9], [0.85, 1]], np.float16), "not symmetric"),
        (("a", "b"), np.array([[1, np.inf], [np.inf, 1]]), "a similarity is infinite; expected numbers, or NaN"),
        (("a", "b"), np.array([[1, np.nan], [np.nan, -np.inf]]), "a similarity is infinite"),
        (("a", "b"), np.eye(2, dtype=object), "similarities of type object were given; expected floats"),
        (("a", "b"), np.ones(4), r"similarities of shape \(4,\) were given"),
    ],
)
def test_what_is_no_rsm_is_refused(ids, similarities, message):
    with pytest.raises(VidsimError, match=message):
        RSM(ids, similarities)


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.array([[0, -1], [-1, 0]]), "a count is -1; expected 0 or more"),
        (np.array([[0, np.nan], [np.nan, 0]]), "counts of type float64 were given; expected integers"),
        (np.array([[0, 1], [2, 0]]), "the counts are not symmetric"),
        (np.zeros((3, 3), np.int64), r"counts of shape \(3, 3\) were given for 2 ids"),
    ],
)
def test_what_counts_nothing_is_refused(counts, message):
    with pytest.raises(VidsimError, match=message):
        RSM(("a", "b"), np.eye(2), counts)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_averaged_out(dtype):
    made = np.array([[1, 0.3, np.nan], [0.3, 1, 0.7], [np.nan, 0.7, 1]], dtype)
    made[1, 0] = np.nextafter(made[1, 0], dtype(1))
    rsm = RSM(("a", "b", "c"), made)
    np.testing.assert_array_equal(rsm.similarities, rsm.similarities.T)
    np.testing.assert_allclose(rsm.similarities, made, rtol=0, atol=np.finfo(dtype).eps)
    assert rsm.similarities.dtype == dtype
    assert made[0, 1] != made[1, 0]  # what was given stays as it is


@pytest.mark.usefixtures("unhooked")
def test_categories_are_similarities():
    labels = np.array([0, 1, 0])
    same = labels[:, None] == labels
    for kind in (bool, np.int64, np.uint8):
        np.testing.assert_array_equal(RSM(("a", "b", "c"), same.astype(kind)).similarities, same.astype(np.float64))


def test_large_values_are_finite():
    assert RSM(("a", "b"), np.array([[1, -1e300], [-1e300, 1]])).upper == -1e300


def test_unknown_ids_are_named():
    with pytest.raises(VidsimError, match="1 of 2 ids are not in the similarity matrix, the first is 'x'"):
        cosine_rsm(Embeddings(IDS, MATRIX)).take(["a", "x"])
