import errno
import json

import pytest

from vidsim.cli.doctor import combinations


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({"faiss-cpu", "faiss-gpu"}, ["overwrite each other's files"]),
        (set(), ["no faiss"]),
        ({"faiss-gpu", "decord"}, ["decord 0.6 returns wrong frames"]),
        ({"faiss-cpu", "decord", "decord2"}, ["share a module name"]),
        ({"faiss-cpu", "decord2"}, []),
    ],
)
def test_bad_combinations_are_named_with_a_remedy(installed, words):
    found = combinations(installed)
    assert len(found) == len(words)
    for line, word in zip(found, words, strict=True):
        assert word in line
        assert "pip " in line


def test_the_doctor_reports_what_is_here(vidsim, tmp_path):
    import av
    import torch

    status, out, _ = vidsim("doctor", "--root", tmp_path / "nowhere", "--json")
    facts = json.loads(out)
    assert facts["problems"] == []
    assert status == 0
    assert facts["torch"].startswith(torch.__version__)
    assert facts["libraries"]["av"] == av.__version__
    assert "h264" in facts["codecs"]
    assert "vidsim index" in facts["store"]


def test_a_corrupted_index_is_found(vidsim, clips, tmp_path):
    vidsim("index", clips, "-e", "motion-energy", "--limit", "2", "--root", tmp_path)
    vectors = next(p for p in (tmp_path / "faiss").rglob("vectors-*"))
    vectors.write_bytes(vectors.read_bytes()[:-1])
    status, out, _ = vidsim("doctor", "--root", tmp_path)
    assert status == 1
    assert "problem: " in out
    assert "checksum" in out


def test_a_root_that_cannot_be_written_is_named(vidsim, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / "file").write_text("mine")
    assert vidsim("doctor", "--root", tmp_path)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    status, out, _ = vidsim("doctor", "--root", tmp_path)
    assert status == 1
    told = f"problem: nothing can be written to {str(tmp_path)!r}: Read-only file system; mend that, or choose another"
    assert told in out
    assert vidsim("doctor", "--root", tmp_path / "none")[0] == 0


def test_a_torchvision_that_does_not_fit_is_named(vidsim, tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    status, out, _ = vidsim("doctor", "--root", tmp_path / "root")
    assert status == 1
    assert "pip uninstall torchvision" in out
