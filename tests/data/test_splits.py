import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from vidsim.data.splits import validation_split
from vidsim.errors import VidsimError


@given(st.lists(st.text(max_size=5), min_size=4, max_size=60, unique=True), st.floats(0.1, 0.7), st.integers(0, 9))
def test_the_split_is_scikit_learns(ids, share, seed):
    train, held = train_test_split(sorted(ids), test_size=share, random_state=seed)
    assert validation_split(ids, share, seed) == (tuple(train), tuple(held))


@pytest.mark.parametrize(("ids", "share"), [(["a", "b"], 1.0), (["a", "b"], 0.0), ([], 0.5), (["a"], 0.5)])
def test_an_empty_part_is_refused(ids, share):
    with pytest.raises(VidsimError, match="leaves one part empty"):
        validation_split(ids, share)


def test_an_id_that_would_fall_on_both_sides_is_refused():
    with pytest.raises(VidsimError, match="id 'a' stands more than once; expected every id once"):
        validation_split(["a", "b", "c", "d", "e"] * 2)
