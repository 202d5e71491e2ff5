import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from vidsim.cli import main
from vidsim.errors import VidsimError
from vidsim.extract import writer
from vidsim.store import Store

from clips import moving_square, write_clip

COMMAND = [sys.executable, "-c", "from vidsim.cli import main; main()"]
# a process that a shell puts into the background ignores the interrupt, and so do its children
HEEDING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "

CLIPS = 45

INTERRUPTED = "vidsim: interrupted; what was committed stays, the same command goes on from there"


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    for number in range(CLIPS):
        write_clip(folder / f"{number}.mp4", moving_square(frames=6 + number % 7, step=1 + number, start=number))
    (folder / "broken.mp4").write_bytes(b"")
    return folder


def index(folder, root):
    return [*COMMAND, "index", str(folder), "--encoder", "motion-energy", "--json", "--root", str(root)]


def run(arguments, answer):
    """Run vidsim in this process; the forkserver has imported most of what takes time, so that kills fall into work."""
    writer.COMMIT_ROWS, writer.COMMIT_SECONDS = 4, (0.0, 1.0)  # so that kills fall between and into commits
    with answer.open("wb") as file:
        os.dup2(file.fileno(), 1)
    sys.argv = ["vidsim", *arguments]
    main()


@pytest.mark.slow
def test_killed_at_random_moments_the_store_ends_as_if_nothing_had_happened(many, tmp_path):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vidsim.cli", "torch", "pyarrow.dataset", "lance_namespace"])
    answer = tmp_path / "answer.json"

    def started(root):
        process = context.Process(target=run, args=(index(many, root)[len(COMMAND) :], answer))
        process.start()
        return process

    started(tmp_path / "first").join()  # the server is up
    start = time.monotonic()
    started(tmp_path / "whole").join()
    length = time.monotonic() - start
    (table,) = Store(tmp_path / "whole").tables()
    assert table.version > 4
    whole = Store(tmp_path / "whole")["motion-energy"]
    moments = random.Random(0)
    killed = finished = 0
    while killed < 30 or not finished:
        root = tmp_path / f"killed {finished}"
        process = started(root)
        # later than the last kill asked for, the run may finish
        process.join(moments.uniform(0.1, 1.0) * length if killed < 30 else 60)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:
            killed += 1
            if (root / "store").exists():
                assert_no_doubles(root)
            continue
        finished += 1
        assert process.exitcode == 0
        out = json.loads(answer.read_text())
        assert (out["stimuli"], out["failures"]) == (CLIPS, 1)
        resumed = Store(root)["motion-energy"]
        assert list(whole) == list(resumed)
        for layer in whole:
            assert len(resumed[layer]) == CLIPS
            np.testing.assert_array_equal(resumed[layer].take(whole[layer].ids).matrix, whole[layer].matrix)
        assert Store(root).check() == []


def assert_no_doubles(root):
    try:
        tables = Store(root).tables()
    except VidsimError:
        return  # killed before there was a store
    for table in tables:
        ids = table.entries()["id"].to_pylist()
        assert len(set(ids)) == len(ids)


def test_shards_run_at_the_same_time(many, tmp_path):
    parts = [subprocess.Popen([*index(many, tmp_path), "--shard", f"{n}/3"], stdout=subprocess.PIPE) for n in (1, 2, 3)]
    answers = [json.loads(part.communicate()[0]) for part in parts]
    assert [part.returncode for part in parts] == [0, 0, 0]
    assert sum(answer["encoded"] for answer in answers) == CLIPS
    layers = Store(tmp_path)["motion-energy"]
    assert sorted(layers["combined"].ids) == sorted(f"{n}.mp4" for n in range(CLIPS))
    # whoever finished last indexed everything
    again = json.loads(subprocess.run(index(many, tmp_path), check=True, capture_output=True).stdout)
    assert (again["encoded"], again["index"]["rows"]) == (0, CLIPS)


def test_an_interrupt_is_told_in_one_line_and_keeps_what_was_committed(many, tmp_path):
    python, flag, code, *words = index(many, tmp_path)
    process = subprocess.Popen([python, flag, HEEDING + code, *words], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / "store").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1].splitlines()
    assert (process.returncode, told[-1:]) == (130, [INTERRUPTED])
    assert not any("Traceback" in line for line in told)
    again = subprocess.run(index(many, tmp_path), check=True, capture_output=True)
    assert json.loads(again.stdout)["index"]["rows"] == CLIPS
    assert Store(tmp_path).check() == []
