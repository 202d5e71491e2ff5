import numpy as np
import pytest

from vidsim.check import at_least, one_of
from vidsim.errors import VidsimError


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "splits 0: expected 1 or more"),
        (np.int64(-1), "splits -1: expected 1 or more"),
        (1.5, "1.5: expected a whole"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(value, message):
    at_least(1, splits=np.int64(1))
    with pytest.raises(VidsimError, match=message):
        at_least(1, seed=3, splits=value)


def test_the_legal_words_are_named():
    one_of("kind", "flat", ("auto", "flat", "hnsw"))
    with pytest.raises(VidsimError, match=r"^no kind 'foo': expected 'auto', 'flat' or 'hnsw'$"):
        one_of("kind", "foo", ("auto", "flat", "hnsw"))
