import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from vidsim.analysis import choice
from vidsim.analysis.choice import entropy, odd_probabilities, triplet_similarities
from vidsim.errors import VidsimError

from judges import unit_points

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("temperature", [1e-6, 0.05, 1.0, 1e6])
def test_probabilities_are_the_softmax_of_what_the_others_share(temperature):
    similarities = RNG.uniform(-1, 1, size=(50, 3))
    found = odd_probabilities(similarities, temperature)
    for (ab, ac, bc), row in zip(similarities, found, strict=True):
        assert row == pytest.approx(scipy.special.softmax(np.array([bc, ac, ab]) / temperature), abs=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.floats(0.01, 100))
def test_the_likeliest_odd_one_lies_outside_the_most_similar_pair(pairs, temperature):
    found = odd_probabilities(np.array([pairs]), temperature)[0]
    assert found.sum() == pytest.approx(1)
    assert found[2 - int(np.argmax(pairs))] == found.max()


def test_a_shift_of_all_similarities_changes_nothing_and_a_scale_is_a_temperature():
    similarities = RNG.normal(size=(20, 3))
    found = odd_probabilities(similarities, 0.5)
    np.testing.assert_allclose(odd_probabilities(similarities + 7, 0.5), found)
    np.testing.assert_allclose(odd_probabilities(similarities * 3, 1.5), found)


def test_precision_is_kept_and_chunks_make_no_difference(monkeypatch):
    similarities = RNG.normal(size=(100, 3)).astype(np.float32)
    found = odd_probabilities(similarities, 0.1)
    assert (found.dtype, entropy(found).dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(found, odd_probabilities(similarities.astype(np.float64), 0.1), atol=1e-6)
    monkeypatch.setattr(choice, "CHUNK", 7)
    np.testing.assert_array_equal(odd_probabilities(similarities, 0.1), found)


def test_entropy_is_scipys():
    found = odd_probabilities(RNG.normal(size=(50, 3)), 0.2)
    np.testing.assert_allclose(entropy(found), scipy.stats.entropy(found, axis=1), atol=1e-12)
    certain = entropy(np.array([[0.0, 1.0, 0.0]], np.float32))
    assert certain.tolist() == [0.0]
    assert not np.signbit(certain[0])
    assert entropy(np.full((1, 3), 1 / 3)) == pytest.approx(np.log(3))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf"), 1e-7])
def test_what_is_no_temperature_is_refused(temperature):
    with pytest.raises(VidsimError, match=r"^the temperature is .*: expected a number from 1e-06 to 1e\+06$"):
        odd_probabilities(np.zeros((1, 3)), temperature)


def test_similarities_of_pairs_are_cosines(monkeypatch):
    unit = unit_points(10)
    rows = np.array([[0, 1, 2], [9, 3, 0], [4, 4, 4]])
    found = triplet_similarities(unit, rows)
    for (a, b, c), row in zip(rows, found, strict=True):
        assert row == pytest.approx([unit[a] @ unit[b], unit[a] @ unit[c], unit[b] @ unit[c]])
    monkeypatch.setattr(choice, "BYTES", 1)
    np.testing.assert_array_equal(triplet_similarities(unit, rows), found)


@pytest.mark.parametrize("temperature", [1e-6, 0.05, 1.0, 1e6])
def test_half_precision_is_computed_in_single(temperature):
    similarities = RNG.uniform(-1, 1, size=(50, 3)).astype(np.float16)
    found = odd_probabilities(similarities, temperature)
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, odd_probabilities(similarities.astype(np.float64), temperature), atol=1e-3)


def test_whole_numbers_are_similarities_too():
    similarities = np.array([[3, 1, 2]])
    found = odd_probabilities(similarities, 1.0)
    assert found.tolist() == odd_probabilities(similarities.astype(np.float64), 1.0).tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_similarities_that_are_no_numbers_are_refused(value):
    with pytest.raises(VidsimError, match="a similarity is not finite"):
        odd_probabilities(np.array([[0.1, 0.2, 0.3], [0.1, value, 0.3]]), 1.0)
