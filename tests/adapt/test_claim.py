import errno
import subprocess
import sys

import pytest
from filelock import FileLock

from vidsim.adapt.claim import PROCESSES, RANKS, claimed
from vidsim.errors import VidsimError

HOLD = """
import sys, time
from pathlib import Path
from vidsim.adapt.claim import claimed
with claimed(Path(sys.argv[1]), ["mine"]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in (*PROCESSES, *RANKS):
        monkeypatch.delenv(name, raising=False)


def test_a_name_is_claimed_once_at_a_time(tmp_path):
    with claimed(tmp_path, ["mine", "mine.seed-0"]):
        with claimed(tmp_path, ["other"]):
            pass
        for name in ("mine", "mine.seed-0"):
            said = rf"^another training of '{name}' is running in '{tmp_path}'; wait until it ends, or give another --n"
            with pytest.raises(VidsimError, match=said), claimed(tmp_path, ["third", name]):
                pass
            with claimed(tmp_path, ["third"]):  # what was claimed before that is free again
                pass
    assert not list(tmp_path.iterdir())
    with claimed(tmp_path, ["mine"]):
        pass


def test_an_error_gives_the_name_free(tmp_path):
    with pytest.raises(KeyError), claimed(tmp_path, ["mine"]):
        raise KeyError
    with claimed(tmp_path, ["mine"]):
        pass


def test_a_process_that_is_killed_gives_the_name_free(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(VidsimError, match="another training"), claimed(tmp_path, ["mine"]):
            pass
        process.kill()
    assert (tmp_path / ".mine.lock").exists()
    with claimed(tmp_path, ["mine"]):
        pass


@pytest.mark.parametrize(("local", "rank"), [*zip(PROCESSES, RANKS, strict=True)])
def test_of_several_processes_the_first_claims(local, rank, tmp_path, monkeypatch):
    monkeypatch.setenv(rank, "1")  # left over: it is no process of several
    with claimed(tmp_path, ["mine"]):
        with pytest.raises(VidsimError, match="another training"), claimed(tmp_path, ["mine"]):
            pass
        monkeypatch.setenv(local, "0")
        with claimed(tmp_path, ["mine"]):
            pass
        monkeypatch.setenv(rank, "0")
        with pytest.raises(VidsimError, match="another training"), claimed(tmp_path, ["mine"]):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES])
def test_without_locks_nothing_is_claimed_and_that_is_told(number, tmp_path, monkeypatch, caplog):
    def refuse(self, *_, **__):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with claimed(tmp_path, ["mine"]), claimed(tmp_path, ["mine"]):
        pass
    told = f"'{tmp_path}/.mine.lock' cannot be locked (no locks here): see that no other training has the name 'mine'"
    assert caplog.messages == [told, told]
