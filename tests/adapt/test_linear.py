import numpy as np
import pytest
from planted import planted, space

from vidsim.adapt.linear import LinearTransform
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError


def test_it_is_applied_by_a_slow_loop():
    embeddings, transform = space(), planted()
    found = transform.apply(embeddings).matrix
    for row, vector in zip(found, embeddings.matrix, strict=True):
        expected = [sum((vector - transform.mean) * column) for column in transform.weight.T]
        np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-5)
    half = Embeddings(embeddings.ids, embeddings.matrix.astype(np.float16))
    assert LinearTransform(transform.mean.astype(np.float32), transform.weight).apply(half).matrix.dtype == np.float32


@pytest.mark.parametrize(
    ("mean", "weight", "says"),
    [
        (np.zeros(2, np.float32), np.eye(3, dtype=np.float32), "a mean of 2 numbers"),
        (np.full(3, np.nan, np.float32), np.eye(3, dtype=np.float32), "not finite"),
        (np.zeros(3, np.float32), np.full((3, 1), np.inf, np.float32), "not finite"),
    ],
)
def test_what_is_no_transform_is_refused(mean, weight, says):
    with pytest.raises(VidsimError, match=says):
        LinearTransform(mean, weight)


def test_embeddings_of_another_width_are_refused():
    with pytest.raises(VidsimError, match="12 dimensions; expected 7"):
        planted(7).apply(space(10))
