import subprocess
import sys

import pytest

from vidsim.adapt.claim import RANKS, claimed
from vidsim.errors import VidsimError

HOLD = """
import sys, time
from pathlib import Path
from vidsim.adapt.claim import claimed
with claimed([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "adapters"


def test_a_name_is_claimed_once_at_a_time(folder):
    with claimed([folder / "mine", folder / "mine.seed-0"]):
        with claimed([folder / "other"]):
            pass
        for name in ("mine", "mine.seed-0"):
            said = rf"^another training of '{name}' is running in '{folder}'; wait until it ends, or give another --n"
            with pytest.raises(VidsimError, match=said), claimed([folder / "third", folder / name]):
                pass
            with claimed([folder / "third"]):  # what was claimed before that is free again
                pass
    assert not folder.exists()
    with claimed([folder / "mine"]):
        pass


def test_an_error_gives_the_name_free(folder):
    with pytest.raises(KeyError), claimed([folder / "mine"]):
        raise KeyError
    with claimed([folder / "mine"]):
        pass


def test_a_process_that_is_killed_gives_the_name_free(folder):
    with subprocess.Popen([sys.executable, "-c", HOLD, folder / "mine"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(VidsimError, match="another training"), claimed([folder / "mine"]):
            pass
        process.kill()
    assert (folder / ".mine.lock").exists()
    with claimed([folder / "mine"]):
        pass


@pytest.mark.parametrize("rank", RANKS)
def test_of_several_processes_the_first_claims(rank, folder, monkeypatch):
    monkeypatch.setenv(rank, "0")
    with claimed([folder / "mine"]):
        monkeypatch.setenv(rank, "1")
        with claimed([folder / "mine"]):
            pass
    assert not folder.exists()
