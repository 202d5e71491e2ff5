import signal
import threading
import time

import numpy as np
import pytest
from tiny_study import ready, run, study

from vidsim.adapt.manifest import read_manifest
from vidsim.adapt.schedule import learning_rate
from vidsim.adapt.scores import METRICS
from vidsim.adapt.sections import Optimiser
from vidsim.cli.tensorboard import TensorBoard, check_tensorboard
from vidsim.cli.training import Watchers
from vidsim.errors import VidsimError

__all__ = ["ready", "study"]

events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard")

SETTINGS = Optimiser(learning_rate=0.25, schedule="cosine", warmup=0.25, epochs=3)
STEPS = 4


def read(folder):
    """Read a run back: {tag: [(step, value), ...]}."""
    found = events.EventAccumulator(str(folder)).Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def rate(step, steps):
    return learning_rate(SETTINGS, step, steps)


def row(epoch, loss):
    scores = {"rho": epoch / 8, "three_way": 0.5, "two_way": None}
    return {"epoch": epoch, "losses": {"triplet": loss}, "seconds": 2.0, **scores}


def log(folder, done, epochs, *, first=0.0, cut_after=None, processes=1):
    """Log epochs from ``done`` to ``epochs``, and some steps of the next; step e, n has loss ``first`` + e + n/8."""
    watcher = TensorBoard(folder, forwards=64, rate=rate, processes=processes)
    watcher.begin("mine", 0, 3, STEPS, done)
    for epoch in range(done, epochs):
        for number in range(STEPS // processes):
            watcher.step(number, {"triplet": first + epoch + number / 8})
        watcher.epoch(row(epoch + 1, first + epoch), epoch + 1)
    for number in range(cut_after or 0):
        watcher.step(number, {"triplet": first + epochs + number / 8})
    return watcher


def test_a_run_reads_back(tmp_path):
    with log(tmp_path, 0, 3):
        pass
    found = read(tmp_path / "mine")
    assert found["step/loss triplet"] == [(e * 4 + n + 1, e + n / 8) for e in range(3) for n in range(4)]
    expected = [pytest.approx(rate(step, 12)) for step in range(12)]
    assert [value for _, value in found["step/learning rate"]] == expected
    assert len({value for _, value in found["step/learning rate"]}) > 8
    assert found["epoch/loss triplet"] == [(1, 0.0), (2, 1.0), (3, 2.0)]
    assert found["validation/rho"] == [(1, 1 / 8), (2, 2 / 8), (3, 3 / 8)]
    assert found["validation/three_way"] == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert found["epoch/stimuli per second"] == [(1, 32.0), (2, 32.0), (3, 32.0)]
    assert found["epoch/best"] == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert "validation/two_way" not in found  # not measured


def test_a_run_that_was_cut_off_goes_on_at_its_step(tmp_path):
    cut = log(tmp_path, 0, 2, cut_after=3)
    cut._writer.flush()
    with log(tmp_path, 2, 3, first=16.0):
        pass
    cut._writer.close()
    found = read(tmp_path / "mine")
    kept = [(e * 4 + n + 1, e + n / 8) for e in range(2) for n in range(4)]
    assert found["step/loss triplet"] == [*kept, *((9 + n, 18 + n / 8) for n in range(4))]
    assert [step for step, _ in found["step/learning rate"]] == list(range(1, 13))
    assert found["epoch/loss triplet"] == [(1, 0.0), (2, 1.0), (3, 18.0)]
    assert [step for step, _ in found["validation/rho"]] == [1, 2, 3]


def test_a_run_that_starts_over_leaves_nothing_of_the_one_before(tmp_path):
    with log(tmp_path, 0, 2):
        pass
    with log(tmp_path, 0, 1, first=16.0):
        pass
    found = read(tmp_path / "mine")
    assert found["step/loss triplet"] == [(n + 1, 16 + n / 8) for n in range(4)]
    assert found["validation/rho"] == [(1, 1 / 8)]


def test_steps_that_processes_share_are_counted_all(tmp_path):
    with log(tmp_path, 0, 2, processes=2):
        pass
    assert [step for step, _ in read(tmp_path / "mine")["step/loss triplet"]] == [1, 3, 5, 7]


def test_epochs_are_on_the_disk_before_a_run_ends(tmp_path):
    watcher = log(tmp_path, 0, 1)
    assert read(tmp_path / "mine")["validation/rho"] == [(1, 1 / 8)]
    watcher.__exit__(None, None, None)


@pytest.fixture
def heeded():
    """Let an interrupt be one, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_in(watcher, method):
    """Let an interrupt come once in the middle of a method of the writer."""
    asked = getattr(watcher._writer, method)

    def disturbed(*arguments):
        setattr(watcher._writer, method, asked)
        signal.raise_signal(signal.SIGINT)
        return asked(*arguments)

    setattr(watcher._writer, method, disturbed)


@pytest.mark.usefixtures("heeded")
def test_an_interrupt_waits_until_the_writer_is_done(tmp_path):
    watcher = log(tmp_path, 0, 1)
    interrupt_in(watcher, "add_scalar")
    with pytest.raises(KeyboardInterrupt), watcher:
        watcher.step(0, {"triplet": 9.0, "rsa": 9.0})
    found = read(tmp_path / "mine")
    assert found["step/loss triplet"][-1] == found["step/loss rsa"][-1] == (5, 9.0)
    assert found["step/learning rate"][-1][0] == 5
    watcher = log(tmp_path, 1, 2)
    interrupt_in(watcher, "flush")
    with pytest.raises(KeyboardInterrupt), watcher:
        watcher.epoch(row(3, 2.0), 3)
    assert read(tmp_path / "mine")["epoch/best"][-1] == (3, 3.0)


@pytest.mark.usefixtures("heeded")
def test_an_interrupt_never_waits_for_ever_for_the_writer_to_close(tmp_path, monkeypatch):
    monkeypatch.setattr("vidsim.cli.tensorboard.CLOSING", 0.1)
    forever = threading.Event()
    watcher = log(tmp_path, 0, 1)
    close, watcher._writer.close = watcher._writer.close, forever.wait
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), watcher:
        raise KeyboardInterrupt
    assert time.monotonic() - start < 5
    forever.set()
    close()


def test_only_a_run_that_ends_well_tells_that_its_log_does_not_close(tmp_path):
    watcher = log(tmp_path, 0, 1)
    close = watcher._writer.close

    def full():
        raise OSError(28, "No space left on device")

    watcher._writer.close = full
    with pytest.raises(OSError, match="No space left"):
        watcher.__exit__(None, None, None)
    with pytest.raises(VidsimError, match=r"^the first$"), watcher:
        raise VidsimError("the first")
    close()


def test_what_cannot_be_logged_is_refused_before_anything_is_done(tmp_path, monkeypatch):
    check_tensorboard(None)
    check_tensorboard(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(VidsimError, match=r"--tensorboard .*file' is a file; expected a folder"):
            check_tensorboard(place)
    monkeypatch.setattr("vidsim.cli.tensorboard.find_spec", lambda _: None)
    with pytest.raises(VidsimError, match=r"^--tensorboard: .* not installed: pip install 'vidsim\[tensorboard\]'$"):
        check_tensorboard(tmp_path)


def test_watchers_are_all_told():
    told = []

    class Watcher:
        def __getattr__(self, name):
            return lambda *arguments: told.append((name, arguments))

    both = Watchers([Watcher(), Watcher()])
    both.begin("mine", 0, 3, 4, 1)
    both.step(2, {"soft": 1.0})
    both.epoch({"epoch": 2}, 1)
    once = [("begin", ("mine", 0, 3, 4, 1)), ("step", (2, {"soft": 1.0})), ("epoch", ({"epoch": 2}, 1))]
    assert told == [one for one in once for _ in range(2)]


def test_tensorboard_has_what_the_manifest_has(vidsim, ready):
    status, _, err = run(vidsim, "--tensorboard", "logs/social", "--seeds", "0,1")
    assert status == 0, err
    assert sorted(path.name for path in (ready / "logs" / "social").iterdir()) == ["mine.seed-0", "mine.seed-1"]
    for name in ("mine.seed-0", "mine.seed-1"):
        found = read(ready / "logs" / "social" / name)
        curve = read_manifest(ready / "indexes" / "adapters" / name).curve[1:]
        for metric in METRICS:
            assert found[f"validation/{metric}"] == [(one["epoch"], pytest.approx(one[metric])) for one in curve]
        assert found["epoch/loss soft"] == [(one["epoch"], pytest.approx(one["losses"]["soft"])) for one in curve]
        steps = found["step/loss soft"]
        assert [step for step, _ in steps] == [1, 2, 3, 4, 5, 6]
        for epoch, measured in enumerate(curve):
            mean = np.mean([value for _, value in steps[3 * epoch : 3 * epoch + 3]])
            assert mean == pytest.approx(measured["losses"]["soft"], rel=1e-5)
        assert found["step/learning rate"] == [(step, pytest.approx(2e-3)) for step in range(1, 7)]
        assert all(value > 0 for _, value in found["epoch/stimuli per second"])
