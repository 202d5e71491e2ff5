import pytest

from vidsim.adapt.batches import Counts
from vidsim.cli import training
from vidsim.cli.training import Lines

COUNTS = Counts(steps=400, rsa_steps=2, forwards=400, trials=1200, pairs=36)


@pytest.fixture
def clock(monkeypatch):
    """Stand for the time: a list of one number, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    return now


def told(capsys):
    out, err = capsys.readouterr()
    assert not out
    return err.splitlines()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_log_hears_of_a_long_epoch_once_a_minute(capsys, clock, processes):
    lines = Lines(counts=COUNTS, processes=processes)
    lines.begin("mine", 3, epochs=2, steps=400, done=0)
    holds = "400 forward passes each (the first: 1,200 trials and 36 judged pairs)"
    assert told(capsys) == [f"mine: seed 3, 2 epochs of 400 steps, {holds}"]
    for number in range(400 // processes):  # 1 second a step
        clock[0] += processes
        lines.step(number, {"triplet": 0.25, "rsa": -0.5})
    minutes = [f"epoch 1/2, step {n}/400: triplet 0.250, rsa -0.500" for n in (60, 120, 180, 240, 300, 360)]
    left = ["12 min 20 s", "11 min 20 s", "10 min 20 s", "9 min 20 s", "8 min 20 s", "7 min 20 s"]
    assert told(capsys) == [f"{line}, {span} left" for line, span in zip(minutes, left, strict=True)]
    lines.epoch({"epoch": 1, "losses": {"triplet": 0.25, "rsa": -0.5}, "seconds": 400.0, "rho": 0.4}, 1)
    assert told(capsys) == [
        "epoch 1/2: triplet 0.2500, rsa -0.5000, validation rho 0.400, 1 stimuli/s, 400.0 s, 6 min 40 s left (best)"
    ]
    clock[0] += 59
    lines.step(58, {"triplet": 0.25})
    assert told(capsys) == []  # an epoch's own line counts


def test_a_run_that_goes_on_reckons_with_what_it_made_itself(capsys, clock):
    lines = Lines(counts=COUNTS)
    lines.begin("mine", 0, epochs=5, steps=100, done=3)
    clock[0] += 100
    lines.step(49, {"soft": 1.0})
    assert told(capsys)[-1] == "epoch 4/5, step 50/100: soft 1.000, 5 min 00 s left"


def test_other_processes_say_nothing(capsys, clock):
    lines = Lines(counts=COUNTS, quiet=True)
    lines.begin("mine", 0, epochs=5, steps=100, done=0)
    clock[0] += 100
    lines.step(49, {"soft": 1.0})
    lines.epoch({"epoch": 1, "losses": {"soft": 1.0}, "seconds": 1.0}, 1)
    assert told(capsys) == []
