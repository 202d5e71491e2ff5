import os
import subprocess
import sys

import pytest

from vidsim.cli import main


@pytest.mark.parametrize("words", [("models",), ("store", "info"), ("extract", "clips", "-e", "motion-energy")])
def test_a_working_directory_that_is_gone_is_named(words, vidsim, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    root = () if words == ("models",) else ("--root", tmp_path / "root")
    line = "vidsim: the working directory is gone; cd to one that exists\n"
    assert vidsim(*words, *root) == (2, "", line)


@pytest.mark.parametrize(
    "words",
    [("models",), ("store", "info"), ("store", "info", "--json"), ("search", "clip 0.mp4"), ("search", "--help")],
)
def test_a_reader_that_has_gone_ends_every_verb_alike(words, indexed):
    assert run_without_reader(words, indexed, "stdout") == 141


def test_a_reader_of_errors_that_has_gone_is_as_one_of_answers(indexed):
    assert run_without_reader(("search", "nonsuch"), indexed, "stderr") == 141


@pytest.fixture(scope="module")
def indexed(clips, tmp_path_factory):
    """Index the clips and return the root."""
    root = tmp_path_factory.mktemp("root")
    with pytest.raises(SystemExit):
        main(["index", str(clips), "--encoder", "motion-energy", "--root", str(root)])
    return root


def run_without_reader(words, root, stream):
    """Run the command line with a stream whose reader has gone; return the exit status."""
    reader, writer = os.pipe()
    os.close(reader)
    program = (sys.executable, "-c", "from vidsim.cli import main; main()")
    other = "stderr" if stream == "stdout" else "stdout"
    with os.fdopen(writer, "w") as pipe:
        run = subprocess.run(
            (*program, *words),
            env={**os.environ, "VIDSIM_ROOT": str(root)},
            check=False,
            **{stream: pipe, other: subprocess.PIPE},
        )
    assert not getattr(run, other)
    return run.returncode
