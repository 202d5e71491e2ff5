import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from vidsim.data.ratings import SOCIAL, Ratings, read_ratings
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.errors import VidsimError

TABLE = """id,split,mood,valence,note,intimacy
a,train,0.5,1,first,3
b,train,NA,2,,
c,test,nan,"2,5",third,1e0
"""


def written(tmp_path, text, name="ratings.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_a_table_is_read(tmp_path):
    found = read_ratings(written(tmp_path, TABLE))
    assert (found.ids, found.split) == (("a", "b", "c"), ("train", "train", "test"))
    assert found.attributes == ("mood", "valence", "intimacy")
    np.testing.assert_array_equal(found.values, [[0.5, 1, 3], [np.nan, 2, np.nan], [np.nan, 2.5, 1]])
    assert found.others["note"] == "text, such as 'first' of 'a'"
    assert found.ordered() == ("intimacy", "valence", "mood")


def test_kinds_of_tables_agree(tmp_path):
    columns = {"id": ["a", "b"], "split": ["x", None], "warmth": [0.25, None], "rank": [1, 2], "word": ["y", "z"]}
    parquet.write_table(pa.table(columns), tmp_path / "r.parquet")
    found = read_ratings(tmp_path / "r.parquet")
    same = read_ratings(written(tmp_path, "id\tsplit\twarmth\trank\tword\na\tx\t.25\t1\ty\nb\t\t\t2\tz\n", "r.tsv"))
    np.testing.assert_array_equal(found.values, [[0.25, 1], [np.nan, 2]])
    np.testing.assert_array_equal(same.values, found.values)
    assert (same.ids, same.split, same.attributes) == (found.ids, found.split, found.attributes)
    assert found.split == ("x", None)


def test_stimuli_with_several_captions_count_once(tmp_path):
    text = "id,caption,warmth\na,hello,1\na,again,1\nb,there,\nb,too,\n"
    found = read_ratings(written(tmp_path, text))
    assert found.ids == ("a", "b")
    np.testing.assert_array_equal(found.values, [[1], [np.nan]])
    with pytest.raises(VidsimError, match=r"'a' has different ratings or splits in rows 1 and 2; expected one row"):
        read_ratings(written(tmp_path, text.replace("again,1", "again,2")))


def test_stimuli_of_the_store_have_ratings():
    stimuli = StimulusSet(
        (Stimulus("a", ratings={"warmth": 1.0}, split="train"), Stimulus("b", captions=("x",), ratings={"size": 2.0}))
    )
    found = Ratings.of(StimulusSet.from_arrow(stimuli.table()))
    assert found.attributes == ("warmth", "size")
    np.testing.assert_array_equal(found.values, [[1, np.nan], [np.nan, 2]])
    assert found.split == ("train", None)
    assert Ratings.of(StimulusSet((Stimulus("a"),))).values.shape == (1, 0)


def test_the_release_holds_the_paper_s_attributes(shared):
    found = read_ratings(shared / "data" / "social-ooo")
    assert found.ordered()[:5] == SOCIAL
    rated = np.isfinite(found.values).all(axis=1)
    assert (len(found.ids), rated.sum(), len(found.attributes)) == (250, 200, 11)
    assert {part for part, some in zip(found.split, rated, strict=True) if some} == {"train"}


def test_parts_are_taken_in_the_order_asked_for(tmp_path):
    found = read_ratings(written(tmp_path, TABLE)).take(["c", "a"], ["intimacy", "mood"])
    assert (found.ids, found.attributes, found.split) == (("c", "a"), ("intimacy", "mood"), ("test", "train"))
    np.testing.assert_array_equal(found.values, [[1, np.nan], [3, 0.5]])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("intimcy", "no ratings 'intimcy'; did you mean 'intimacy'? there are: intimacy, valence, mood"),
        ("zzz", "no ratings 'zzz'; there are: intimacy, valence, mood"),
        ("note", "column 'note' holds no ratings but text, such as 'first' of 'a'; there are: intimacy, valence, mood"),
        ("split", "column 'split' holds no ratings but text; there are"),
    ],
)
def test_wrong_columns_are_told(tmp_path, name, message):
    with pytest.raises(VidsimError) as error:
        read_ratings(written(tmp_path, TABLE)).take(["a"], [name])
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,warmth\na,1\n", "no column 'id'; the columns are 'name', 'warmth'"),
        ("id,warmth\na,1\n,2\n", "row 2 has no id"),
        ("id,warmth\na,1\nb,2,3\n", "line 3 has not the 2 cells of the header"),
    ],
)
def test_broken_tables_are_refused(tmp_path, text, message):
    with pytest.raises(VidsimError, match=message):
        read_ratings(written(tmp_path, text))


def test_what_is_no_table_is_refused(tmp_path):
    for name, message in (
        ("r.txt", "is no table"),
        ("r.csv", "no such file|No such file|no file"),
        ("r.parquet", "no table"),
    ):
        with pytest.raises(VidsimError, match=message):
            read_ratings(tmp_path / name)
    written(tmp_path, "no parquet", "bad.parquet")
    with pytest.raises(VidsimError, match="cannot be read as a table"):
        read_ratings(tmp_path / "bad.parquet")
    with pytest.raises(VidsimError):
        read_ratings(tmp_path)
    with pytest.raises(VidsimError, match="stands more than once"):
        Ratings(("a", "a"), ("x",), np.zeros((2, 1)), (None, None))
    with pytest.raises(VidsimError, match="were given for ratings of shape"):
        Ratings(("a", "b"), ("x",), np.zeros((2, 2)), (None, None))
    with pytest.raises(VidsimError, match="attribute 'x' stands more than once; expected every attribute once"):
        Ratings(("a",), ("x", "y", "x"), np.zeros((1, 3)), (None,))
    with pytest.raises(VidsimError, match="1 of 2 ids are not among the ratings, the first is 'nope'"):
        Ratings(("a", "b"), ("x",), np.zeros((2, 1)), (None, None)).take(["b", "nope"], ["x"])
