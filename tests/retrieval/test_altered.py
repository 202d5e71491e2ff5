import os
from pathlib import Path

import pyarrow as pa
import pytest

from vidsim.retrieval.altered import altered


@pytest.fixture
def entries(tmp_path):
    ids = ["a.mp4", "sub/b.mp4", "sub/c.mp4", "caption", "named"]
    paths = [*(f"{tmp_path}/videos/{name}" for name in ids[:3]), "", f"{tmp_path}/videos/other.mp4"]
    for path in filter(None, paths):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("video")
    status = [(tmp_path / path).stat() for path in paths]
    sizes = {"size": [one.st_size for one in status], "mtime_ns": [one.st_mtime_ns for one in status]}
    return pa.table({"id": ids, "path": paths, **sizes})


def test_what_is_there_is_not_gone(entries):
    assert altered(entries).gone == frozenset()


def test_files_and_whole_subfolders_are_gone(entries, tmp_path):
    (tmp_path / "videos" / "sub" / "b.mp4").unlink()
    (tmp_path / "videos" / "other.mp4").unlink()
    assert altered(entries).gone == {"sub/b.mp4", "named"}
    (tmp_path / "videos" / "sub" / "c.mp4").unlink()
    (tmp_path / "videos" / "sub").rmdir()
    assert altered(entries).gone == {"sub/b.mp4", "sub/c.mp4", "named"}


@pytest.mark.parametrize("empty", [True, False])
def test_a_disk_that_is_not_there_deletes_nothing(entries, tmp_path, empty):
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    if empty:  # a mount point
        (tmp_path / "videos").mkdir()
    assert altered(entries).gone == frozenset()


def test_what_cannot_be_looked_at_is_not_gone(entries, tmp_path, locked, monkeypatch):
    (tmp_path / "videos" / "a.mp4").unlink()
    (tmp_path / "videos" / "sub" / "b.mp4").unlink()
    locked(tmp_path / "videos" / "sub")
    assert altered(entries).gone == {"a.mp4"}
    listed = Path.iterdir

    def refuse(folder):
        if folder == tmp_path / "videos":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert altered(entries).gone == frozenset()


def test_files_of_another_size_or_time_have_changed(entries, tmp_path):
    assert altered(entries).changed == 0
    videos = tmp_path / "videos"
    (videos / "a.mp4").write_text("another video")
    os.utime(videos / "sub" / "b.mp4", (1, 1))
    (videos / "sub" / "c.mp4").unlink()
    assert altered(entries).changed == 2
    unknown = entries.set_column(3, "mtime_ns", pa.array([0] * 5))
    assert altered(unknown).changed == 0
