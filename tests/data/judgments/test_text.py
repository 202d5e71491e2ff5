import pytest

from vidsim.data.judgments import text
from vidsim.data.judgments.text import read_delimited
from vidsim.errors import VidsimError


def rows(path, **more):
    return [list(row.values()) for row in read_delimited(path, **more).table.to_pylist()]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_marks_are_recognised(tmp_path, separator, encoding):
    path = tmp_path / "t.csv"
    lines = [["id", "größe"], ["日本", ' "a" '], ["x", ""]]
    path.write_text("\r\n".join(separator.join(line) for line in lines).replace('"a"', "a"), encoding=encoding)
    source = read_delimited(path)
    assert source.separator == separator
    assert source.header == ["id", "größe"]
    assert rows(path) == [["日本", "a"], ["x", ""]]


def test_excels_note_of_the_separator_is_no_row(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\na;b,c\n1;2\n")
    source = read_delimited(path)
    assert (source.header, source.lines.tolist()) == (["a", "b,c"], [3])


def test_pipes_are_refused_without_waiting(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(VidsimError, match="is a pipe or a device"):
        read_delimited(tmp_path / "pipe.csv")


def test_lines_are_those_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,2\n\n3,"x\ny"\n,\n4,5,6\n7,8\n9\n')
    source = read_delimited(path)
    assert source.lines.tolist() == [2, 4, 8]
    assert source.ragged == ((7, 1), (9, 1))
    assert rows(path) == [["1", "2"], ["3", "x\ny"], ["7", "8"]]


def test_quotes_hold_separators_and_quotes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"1,""2""",\'; DROP TABLE x; --\n')
    assert rows(path) == [['1,"2"', "'; DROP TABLE x; --"]]


def test_a_row_with_broken_quotes_is_counted(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"2"3\n4,5\n')
    source = read_delimited(path)
    assert source.ragged == ((2, 1),)
    assert rows(path) == [["4", "5"]]


def test_a_file_longer_than_a_chunk_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "_CHUNK", 3)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{i},{i * i}\n" for i in range(10)))
    assert rows(path) == [[str(i), str(i * i)] for i in range(10)]


def test_without_a_header_columns_are_numbered(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("x\ny\n")
    assert rows(path, header=False, single=True) == [["x"], ["y"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; expected a table"),
        (b"  \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"a,b\n", "has a header but no rows"),
        (b"a,b\n\n\n", "has a header but no rows"),
        (b"word\n1\n", "line 1 has a single column, 'word'"),
        (b"a,b,a\n1,2,3\n", "line 1: column 'a' stands more than once"),
        (b"a,b\n1,\xff\xfe\n", "is not text in UTF-8"),
        (b"a,b\n1,\x00\n", "line 2 holds a NUL byte"),
        (bytes(range(256)) * 20, "binary|UTF-8|NUL"),
        (b"\x89PNG\r\n\x1a\n\0\0", "UTF-8|NUL"),
        (b'a,b\n1,2\n3,"4\n5,6\n7,8\n', "a quote that opens in line 3 never closes, which swallows 3 lines"),
        (b'"a,b\n1,2\n', "line 1 cannot be read as a header"),
    ],
)
def test_what_is_no_table_is_one_line_that_names_the_file(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(VidsimError, match=message) as caught:
        read_delimited(path)
    assert "t.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_endless_line_is_refused_without_reading_it_all(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "LINE_LIMIT", 1000)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n" + "3," * 100_000)
    with pytest.raises(VidsimError, match="line 3 is longer than 1,000 characters"):
        read_delimited(path)


@pytest.mark.slow
def test_a_gigabyte_of_one_line_takes_little_memory(tmp_path):
    import subprocess
    import sys

    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n")
        file.truncate(1 << 30)
        file.seek(4)
        for _ in range(1 << 10):
            file.write(b"1" * (1 << 20))
    code = f"""
import resource
from pathlib import Path
from vidsim.data.judgments.text import read_delimited
from vidsim.errors import VidsimError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_delimited(Path({str(path)!r}))
except VidsimError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, grown = run.stdout.splitlines()
    assert "line 2 is longer than 16,777,216 characters" in message
    assert int(grown) < 200


def test_places_that_are_no_files(tmp_path):
    with pytest.raises(VidsimError, match="no file"):
        read_delimited(tmp_path / "none.csv")
    with pytest.raises(VidsimError, match="is a folder"):
        read_delimited(tmp_path)
