import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from vidsim.data.sources import from_folder, from_source, from_table
from vidsim.data.stimuli import StimulusSet
from vidsim.errors import VidsimError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_folder_is_searched_at_any_depth_and_by_suffix(tmp_path):
    touch(tmp_path / "b.MP4", tmp_path / "sub" / "a.mkv", tmp_path / "notes.txt", tmp_path / ".hidden.mp4")
    found = from_folder(tmp_path)
    assert found.ids == ("b.MP4", "sub/a.mkv")
    assert [s.path for s in found] == [tmp_path / "b.MP4", tmp_path / "sub" / "a.mkv"]
    assert not found.named


def test_all_files_takes_every_file_but_not_the_artefact_root(tmp_path):
    touch(tmp_path / "clip", tmp_path / ".hidden.mp4", tmp_path / "store" / "t.lance", tmp_path / "faiss" / "x")
    exclude = (tmp_path / "store", tmp_path / "faiss")
    assert from_folder(tmp_path, all_files=True, exclude=exclude).ids == (".hidden.mp4", "clip")


@pytest.mark.parametrize(
    "name", ["a b.mp4", "-dash.mp4", "ünïcödé 視頻.mp4", "new\nline.mp4", "quo'te\".mp4", "semi;colon.mp4", "a..mp4"]
)
def test_odd_names_are_kept_as_they_are(tmp_path, name):
    touch(tmp_path / name)
    (found,) = from_folder(tmp_path)
    assert (found.id, found.path) == (name, tmp_path / name)


def test_link_loops_end_and_broken_links_are_told_of(tmp_path):
    touch(tmp_path / "sub" / "a.mp4")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.mp4").symlink_to(tmp_path / "self.mp4")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert from_folder(tmp_path).ids == ("gone.mp4", "self.mp4", "sub/a.mp4")


def test_a_link_to_a_folder_inside_changes_nothing(tmp_path):
    touch(tmp_path / "a" / "clip.mp4")
    (tmp_path / "zz").symlink_to(tmp_path / "a", target_is_directory=True)
    assert from_folder(tmp_path).ids == ("a/clip.mp4",)


def test_a_link_with_an_impossible_target_is_told_of(tmp_path):
    touch(tmp_path / "a.mp4")
    (tmp_path / "long.mp4").symlink_to("x" * 300)
    found = from_folder(tmp_path)
    assert found.ids == ("a.mp4",)
    assert [path.name for path, _ in found.unreadable] == ["long.mp4"]


def test_a_folder_whose_own_name_is_not_utf8_is_refused_before_any_work(tmp_path):
    folder = tmp_path / os.fsdecode(b"bad\xff")
    touch(folder / "a.mp4")
    with pytest.raises(VidsimError, match=r"name of the folder .* rename it"):
        from_folder(folder)


def test_pipes_are_no_stimuli(tmp_path):
    touch(tmp_path / "a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert from_folder(tmp_path).ids == ("a.mp4",)


def test_names_that_are_not_utf8_are_told_of(tmp_path):
    touch(tmp_path / "a.mp4", tmp_path / os.fsdecode(b"bad\xff.mp4"))
    found = from_folder(tmp_path)
    assert found.ids == ("a.mp4",)
    ((path, reason),) = found.unreadable
    assert os.fsencode(path).endswith(b"bad\xff.mp4")
    assert "UTF-8" in reason


def test_unreadable_folders_are_told_of(tmp_path, monkeypatch):
    touch(tmp_path / "a.mp4", tmp_path / "closed" / "b.mp4")
    scandir = os.scandir

    def closed(place):
        if Path(place).name == "closed":  # as chmod 0 does, but for root too
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", closed)
    found = from_folder(tmp_path)
    assert found.ids == ("a.mp4",)
    assert found.unreadable == ((tmp_path / "closed", "cannot list the folder: Permission denied"),)


def test_missing_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(VidsimError, match=r"no folder .*nowhere"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(VidsimError, match=r"no videos \(.*\.mp4.*--all-files"):
        from_folder(tmp_path)


def test_a_single_video_is_a_source(tmp_path):
    touch(tmp_path / "one.mp4")
    assert from_source(tmp_path / "one.mp4").ids == ("one.mp4",)


CSV = """id,path,caption,split,valence,note
007,clips/a.mp4,"two, people",train,0.5,x
b,,alone,test,,y
007,clips/a.mp4,second caption,train,0.5,z
"""


def test_table_gathers_captions_and_keeps_ids_as_text(tmp_path):
    table = tmp_path / "stimuli.csv"
    table.write_text("\ufeff" + CSV, encoding="utf-8")
    found = from_table(table)
    assert found.ids == ("007", "b")
    first, second = found
    assert first.path == tmp_path / "clips" / "a.mp4"
    assert first.captions == ("two, people", "second caption")
    assert first.ratings == {"valence": 0.5}
    assert second.path is None
    assert second.ratings["valence"] != second.ratings["valence"]  # NaN
    assert found.train.ids == ("007",)
    assert found.test.ids == ("b",)
    assert (first.tags, second.tags) == ({"note": "x"}, {"note": "y"})
    again = StimulusSet.from_arrow(found.table())
    assert [one.tags for one in again] == [one.tags for one in found]
    assert [sorted(one.ratings) for one in again] == [["valence"], ["valence"]]


def test_parquet_equals_csv(tmp_path):
    (tmp_path / "s.csv").write_text("id,caption,split,valence\na,hello,train,0.25\nb,you,test,1.0\n")
    columns = {"id": ["a", "b"], "caption": ["hello", "you"], "split": ["train", "test"], "valence": [0.25, 1.0]}
    parquet.write_table(pa.table(columns), tmp_path / "s.parquet")
    assert from_table(tmp_path / "s.parquet") == from_table(tmp_path / "s.csv")


def test_columns_of_other_names_are_translated(tmp_path):
    table = tmp_path / "captions.csv"
    table.write_text("video_name,caption_index,caption\n007,1,first\n007,2,second\n")
    (found,) = from_table(table, {"id": "video_name"})
    assert (found.id, found.captions) == ("007", ("first", "second"))
    with pytest.raises(VidsimError, match="no column 'name'; the columns are 'video_name'"):
        from_table(table, {"id": "name"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,path\na,b\n", "no column 'id'; the columns are 'name', 'path'; --columns id=NAME"),
        ("id,split\na,train\n", "expected a column 'path' or 'caption'"),
        ("id,path\n,b.mp4\n", "line 2: no id"),
        ("id,path\na,b.mp4\na,c.mp4\n", r"line 3: id 'a' has path .*c\.mp4, earlier .*b\.mp4"),
        ("id,path\n", "a header but no rows"),
        ("id,id,path\na,b,c\n", "column 'id' stands more than once"),
        ("id,path\na\n", "line 2 has not the 2 cells of the header"),
        ("id,path\na,b.mp4,c\n", "line 2 has not the 2 cells of the header"),
        ('id,caption\na,"x\nb,y\n', "a quote that opens in line 2 never closes, which swallows 2 lines"),
        ('id,caption\na,"x\ny"\n\n,z\n', "line 5: no id"),
        ('id,caption,split\na,"x\ny",q\n\na,z,r\n', "line 5: id 'a' has split r, earlier q"),
        ('id,caption\na,"x\ny"\n\nb\n', "line 5 has not the 2 cells of the header"),
        ("id,path\na,b\0.mp4\n", "line 2 holds a NUL byte"),
        ("", "is empty; expected a table"),
    ],
)
def test_bad_tables_are_refused_in_one_line(tmp_path, content, message):
    table = tmp_path / "bad.csv"
    table.write_text(content)
    with pytest.raises(VidsimError, match=message) as caught:
        from_table(table)
    assert "bad.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ids_that_differ_in_unicode_form_alone_are_refused_with_their_lines(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,caption\nb,x\ncaf\u00e9,x\n\nb,y\ncafe\u0301,y\n", encoding="utf-8")
    with pytest.raises(VidsimError) as caught:
        from_table(table)
    told = r"ids 'caf\xe9' in line 3 and 'cafe\u0301' in line 6 differ in Unicode form alone; write both alike"
    assert str(caught.value) == f"'{table}': {told}"


@pytest.mark.parametrize("forms", [("caf\u00e9", "cafe\u0301"), ("cafe\u0301", "caf\u00e9")])
def test_a_table_s_files_are_found_whatever_their_unicode_form(tmp_path, forms):
    written, on_disk = forms
    touch(tmp_path / on_disk / "a.mp4")
    (tmp_path / "t.csv").write_text(f"id,path\na,{written}/a.mp4\nb,{written}/b.mp4\n", encoding="utf-8")
    found = from_table(tmp_path / "t.csv")
    assert [s.path for s in found] == [tmp_path / on_disk / "a.mp4", tmp_path / written / "b.mp4"]


def test_rows_of_parquet_have_no_lines(tmp_path):
    parquet.write_table(pa.table({"id": ["a", ""], "caption": ["x", "y"]}), tmp_path / "s.parquet")
    with pytest.raises(VidsimError, match="row 2: no id; every row needs one"):
        from_table(tmp_path / "s.parquet")


@given(st.binary(max_size=400))
def test_garbage_is_a_table_or_one_line(tmp_path_factory, content):
    table = tmp_path_factory.mktemp("garbage") / "garbage.csv"
    table.write_bytes(content)
    try:
        assert len(from_table(table)) > 0
    except VidsimError as error:
        assert "garbage.csv" in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
