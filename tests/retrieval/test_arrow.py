import numpy as np
import pyarrow as pa
import pytest

from vidsim.retrieval.arrow import numbers, text_scalar


@pytest.mark.parametrize("text", ["", "a", "視頻 é\n\0"])
def test_texts_are_what_pyarrow_makes_of_them(text):
    assert text_scalar(text).equals(pa.scalar(text))


def test_a_text_that_is_not_utf_8_is_none():
    with pytest.raises(UnicodeEncodeError):
        text_scalar("\udcff")


def test_numbers_are_read_from_chunks_slices_and_nulls():
    column = pa.chunked_array([[1.0, None, 3.0, 4.0], [], [None, -0.5]], pa.float64())
    for part in (column, column.slice(1, 4), column.slice(6), pa.chunked_array([], pa.float64())):
        np.testing.assert_array_equal(numbers(part), part.to_numpy())
