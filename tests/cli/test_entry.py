import pytest


@pytest.mark.parametrize("words", [("models",), ("store", "info"), ("extract", "clips", "-e", "motion-energy")])
def test_a_working_directory_that_is_gone_is_named(words, vidsim, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    root = () if words == ("models",) else ("--root", tmp_path / "root")
    line = "vidsim: the working directory is gone; cd to one that exists\n"
    assert vidsim(*words, *root) == (2, "", line)
