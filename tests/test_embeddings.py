import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vidsim.embeddings import Embeddings, unit_rows
from vidsim.errors import VidsimError


@given(arrays(np.float64, st.tuples(st.integers(0, 6), st.integers(1, 9)), elements=st.floats(-1e6, 1e6)))
def test_unit_rows_equals_a_slow_loop(matrix):
    expected = np.zeros_like(matrix)
    for row, vector in enumerate(matrix):
        length = math.hypot(*vector)  # whatever its size
        if length > 0:
            expected[row] = [x / length for x in vector]
    np.testing.assert_allclose(unit_rows(matrix), expected, atol=1e-12)


def test_half_precision_is_scaled_in_single():
    half = np.full((1, 4096), 300.0, np.float16)  # its squared length overflows float16
    unit = unit_rows(half)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit), 1.0, rtol=1e-6)


def test_a_row_that_is_not_finite_is_nan_alone():
    matrix = np.array([[3.0, 4.0], [np.inf, 1.0], [np.nan, 0.0], [0.0, 0.0]], np.float32)
    np.testing.assert_array_equal(unit_rows(matrix), np.float32([[0.6, 0.8], [np.nan] * 2, [np.nan] * 2, [0, 0]]))


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize("matrix", [np.array([["x"]]), np.array([[1j]]), np.array([[None]])])
def test_what_is_no_real_number_is_refused(matrix):
    with pytest.raises(VidsimError, match="were given; expected real numbers"):
        Embeddings(("a",), matrix)


def test_take_keeps_the_order_asked_for():
    embeddings = Embeddings(("a", "b", "c"), np.arange(6.0).reshape(3, 2))
    taken = embeddings.take(("c", "a"))
    assert taken.ids == ("c", "a")
    np.testing.assert_array_equal(taken.matrix, [[4.0, 5.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("ids", "message"),
    [(("a",), "1 ids were given for 2"), (("a", "a"), "'a' stands more than once")],
)
def test_ids_that_do_not_fit_are_refused(ids, message):
    with pytest.raises(VidsimError, match=message):
        Embeddings(ids, np.zeros((2, 1)))


@pytest.mark.usefixtures("unhooked")
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros(2), r"embeddings of shape \(2,\) were given; expected an array of shape \(n, d\)"),
        (np.float64(3), "embeddings came as float64"),
        (np.zeros((2, 1, 1)), r"embeddings of shape \(2, 1, 1\)"),
        ([[1.0], [2.0]], "embeddings came as list; expected a numpy array"),
    ],
)
def test_what_is_no_matrix_is_refused(matrix, message):
    with pytest.raises(VidsimError, match=message):
        Embeddings(("a", "b"), matrix)


def test_unknown_ids_are_counted_and_named():
    with pytest.raises(VidsimError, match="2 of 3 ids are not among the embeddings, the first is 'x'"):
        Embeddings(("a",), np.zeros((1, 1))).take(("a", "x", "y"))
