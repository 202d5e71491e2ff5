import math

import pyarrow as pa
import pytest
from pyarrow import parquet

from vidsim.data.cells import number, read_cells
from vidsim.data.ratings import Ratings, read_ratings
from vidsim.data.sources import from_table

TABLE = """id,caption,fine,comma,gaps,bad,huge,word,none
a,x,1,"1,5",,1,inf,red,
b,y,2,2,n/a,2,2,blue,NA
c,z,3e1,3,4,x,3,,
"""


@pytest.mark.parametrize(
    ("cell", "value"),
    [("2", 2), (" 2,5 ", 2.5), (".5", 0.5), (3, 3), ("1e3", 1000), ("x", None), ("inf", None), ("2024-01-02", None)],
)
def test_what_is_a_number(cell, value):
    assert number(cell) == value


@pytest.mark.parametrize("cell", ["", " ", "NA", "n/a", "#N/A", "NaN", "null", None, math.nan, math.inf])
def test_what_is_missing(cell):
    assert math.isnan(number(cell))


def test_both_readers_see_the_same_ratings(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    columns = read_cells(tmp_path / "t.csv").columns
    parquet.write_table(pa.table(dict(columns)), tmp_path / "t.parquet")
    for path in (tmp_path / "t.csv", tmp_path / "t.parquet"):
        stored, read = Ratings.of(from_table(path)), read_ratings(path)
        assert stored.attributes == read.attributes == ("fine", "comma", "gaps")
        assert repr(stored.values.tolist()) == repr(read.values.tolist())
        assert repr(read.values.tolist()) == "[[1.0, 1.5, nan], [2.0, 2.0, nan], [30.0, 3.0, 4.0]]"
        assert read.others["none"] == "empty cells"
        first, second, last = from_table(path)
        assert first.tags == {"bad": "1", "huge": "inf", "word": "red"}
        assert (second.tags["word"], last.tags) == ("blue", {"bad": "x", "huge": "3"})
