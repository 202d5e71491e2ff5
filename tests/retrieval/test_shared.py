import numpy as np
import pyarrow as pa
import pytest

from vidsim.retrieval.shared import CLOSE, FUNCTION_WORDS, Attributes, content_words


def test_shared_attributes_are_those_of_a_slow_comparison():
    rng = np.random.default_rng(0)
    ratings = {name: rng.normal(3, scale, 200) for name, scale in (("valence", 0.2), ("arousal", 5.0))}
    for values in ratings.values():
        values[rng.random(200) < 0.2] = np.nan
    table = pa.table(
        {
            "id": [f"c{k}" for k in range(200)],
            "duration": [2.0] * 200,
            "constant": [0.3] * 200,
            "split": ["train"] * 200,
            "setting": [("in", "out", None)[k % 3] for k in range(200)],
            "loud": [(True, False, None, None)[k % 4] for k in range(200)],
            **{name: pa.array(values, pa.float64(), from_pandas=True) for name, values in ratings.items()},
        }
    )
    attributes = Attributes(table)
    known = attributes.of(0)
    for row in range(1, 200):
        found = attributes.shared(known, row)
        close = {
            name: (values[0], values[row])
            for name, values in ratings.items()
            if abs(values[0] - values[row]) <= 0.5 * np.nanstd(values)
        }
        assert found.ratings == close
        assert found.tags == ({"setting": "in"} if row % 3 == 0 else {}) | ({"loud": True} if row % 4 == 0 else {})
        assert found.words == ()
        assert bool(found) == bool(close or found.tags)


def test_a_bit_over_a_quarter_of_random_pairs_share_a_normal_rating():
    """What the guide says of the rule: |x - y| <= sd / 2 holds for 27.6 % of pairs of normal ratings."""
    values = np.random.default_rng(1).normal(size=20_000)
    attributes = Attributes(pa.table({"valence": values}))
    _, deviation = attributes.spread["valence"]
    assert np.mean(np.abs(values[::2] - values[1::2]) <= CLOSE * deviation) == pytest.approx(0.276, abs=0.015)


def test_ratings_farthest_from_the_mean_come_first():
    table = pa.table({"a": [0.1, 0.1, -3.0, 3.0], "b": [2.0, 2.0, -2.0, -2.0]})
    assert list(Attributes(table).shared(Attributes(table).of(0), 1).ratings) == ["b", "a"]


def test_words_are_shared_in_the_order_of_the_table():
    table = pa.table({"words": pa.array([["kiss", "woman"], ["kiss", "dog", "woman"], None], pa.list_(pa.string()))})
    attributes = Attributes(table)
    assert attributes.comparable
    assert attributes.shared(attributes.of(0), 1).words == ("kiss", "woman")
    assert attributes.shared({"words": content_words(["A WOMAN!"])}, 1).words == ("woman",)
    assert not attributes.shared(attributes.of(2), 1)
    assert not attributes.shared(attributes.of(1), 2)


def test_nothing_can_be_shared_where_nothing_is_known():
    assert not Attributes(pa.table({"id": ["a", "b"], "duration": [1.0, 1.0]})).comparable


def test_words_of_any_script_are_words_and_those_that_say_nothing_are_none():
    assert content_words(["Ünïcode 視頻剪輯, the_end of 3D an's", "ÜNÏCODE"]) == {"ünïcode", "視頻剪輯", "end"}
    assert content_words([]) == set()
    assert {word for word in FUNCTION_WORDS if len(word) < 3} == set()
