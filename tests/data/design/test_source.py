import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from vidsim.data.design import ids_of
from vidsim.errors import VidsimError


def test_a_number_names_that_many():
    assert ids_of("12") == tuple(str(i) for i in range(12))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("ids.txt", "b.mp4\na.mp4\n c.mp4 \n", ("b.mp4", "a.mp4", "c.mp4")),
        ("ids", "﻿007\r\n\r\nünï cödé\r\n3'; DROP TABLE x; --", ("007", "ünï cödé", "3'; DROP TABLE x; --")),
        ("ids.csv", 'caption,id\n"a, b",007\nx,1\ny,"q""uote"\n', ("007", "1", 'q"uote')),
        ("ids.CSV", "﻿id\r\n1\r\n2\r\n3\r\n", ("1", "2", "3")),
        ("ids.tsv", "id\tx\na,b\t1\nc\t2\nd\t3\n", ("a,b", "c", "d")),
    ],
)
def test_files_name_their_stimuli(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content.encode())
    assert ids_of(str(tmp_path / name)) == expected


@pytest.mark.parametrize("values", [["b", "a", "c"], [6, 5, 4], pa.array(["x", "y", "z"]).dictionary_encode()])
def test_parquet_names_its_stimuli(tmp_path, values):
    parquet.write_table(pa.table({"x": [1, 2, 3], "id": values}), tmp_path / "ids.parquet")
    assert ids_of(str(tmp_path / "ids.parquet")) == tuple(str(v) for v in values)


def test_a_file_whose_name_is_a_number_is_reached_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "3").write_text("a\nb\nc\nd\n")
    assert ids_of("3") == ("0", "1", "2")
    assert ids_of("./3") == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.txt", b"a\n\nb\na\n", r"ids\.txt' line 4: id 'a' stands in line 1 already"),
        ("ids.txt", b"", r"ids\.txt': 0 ids; expected at least 3"),
        ("ids.txt", b"a\nb\n", r"ids\.txt': 2 ids; expected at least 3"),
        ("ids.txt", b"\xff\xfe\x00", r"ids\.txt': not text in UTF-8 \(byte 0\)"),
        ("ids.txt", b"a\nb\0\nc", r"line 2: a NUL character"),
        ("ids.csv", b"", r"ids\.csv': cannot be read as a table: Empty CSV file"),
        ("ids.csv", b"id\n", r"ids\.csv': 0 ids; expected at least 3"),
        ("ids.csv", b"name\na\nb\n", r"no column 'id'; the columns are 'name': expected one column 'id'"),
        ("ids.csv", b"id,id\na,b\n", r"column 'id' stands more than once"),
        ("ids.csv", b"id,x\na,1\n,2\nb,3\n", r"ids\.csv' row 2: no id"),
        ("ids.csv", b"id,x\na,1\nb\nc,3\n", r"ids\.csv': cannot be read as a table"),
        ("ids.csv", b"id,x\na,1\nb,2\na,3\n", r"ids\.csv' row 3: id 'a' stands in row 1 already"),
        ("ids.csv", b"id\n\xff\xff\n1\n2\n", r"ids\.csv': cannot be read as a table"),
        ("ids.parquet", b"garbage", r"ids\.parquet': cannot be read"),
    ],
)
def test_bad_files_are_told_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VidsimError, match=message) as caught:
        ids_of(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0, 3.0], "holds fractions"),
        ([["a"], ["b"]], "cannot be read as a table"),
        (["a", None], "row 2: no id"),
    ],
)
def test_bad_parquet(tmp_path, values, message):
    parquet.write_table(pa.table({"id": values}), tmp_path / "ids.parquet")
    with pytest.raises(VidsimError, match=message):
        ids_of(str(tmp_path / "ids.parquet"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("0", "a design of 0 stimuli; expected at least 3"),
        ("002", "a design of 2 stimuli; expected at least 3"),
        ("20001", "expected at most 20,000"),
        ("9" * 5000, "expected at most 20,000"),
        ("-5", "'-5' is no whole number, and no such file exists"),
        ("2.5", "no such file"),
        ("", "is a folder"),
        ("\uff11\uff12", "no such file"),
        ("a\0b", "no such file"),
        ("x" * 5000, "File name too long"),
        ("~nobody-of-this-name/x", "begins with a home folder that is not known here"),
    ],
)
def test_what_is_neither_number_nor_file_is_told_in_one_line(source, message):
    with pytest.raises(VidsimError, match=message):
        ids_of(source)


def test_links_that_go_round_are_told_of(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "a")
    with pytest.raises(VidsimError, match=r"no such file|cannot be read"):
        ids_of(str(tmp_path / "a"))


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("a\nb\nc")

    def refuse(path):  # root may read everything, so no mode would do
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(VidsimError, match="Permission denied"):
        ids_of(str(tmp_path / "a"))


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["ids.txt", "ids.csv", "ids.tsv", "ids.parquet"]))
def test_any_bytes_give_distinct_ids_or_one_line(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("ids") / name
    path.write_bytes(content)
    try:
        ids, message = ids_of(str(path)), ""
    except VidsimError as error:
        ids, message = None, str(error)
    if ids is None:
        assert len(message.splitlines()) == 1
    else:
        assert len(set(ids)) == len(ids) >= 3
