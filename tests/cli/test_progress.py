import io

import pytest

from vidsim.cli import progress
from vidsim.cli.progress import Bar, span


@pytest.fixture
def clock(monkeypatch):
    """Stand for the time: a list of one number, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_hears_of_long_work_once_a_minute(capsys, clock):
    with Bar() as bar:
        bar.begin(3000, "motion-energy")
        for done in range(8, 2001, 8):  # 2 seconds a batch
            clock[0] += 2
            bar.advance(done - done // 400, done // 400)
    minutes = [
        f"motion-energy, {done:,}/3,000: {rate} clips/s, {failed}{left} left"
        for done, rate, failed, left in (
            (240, "4.0", "", "11 min 30 s"),
            (480, "4.0", "1 failed, ", "10 min 30 s"),
            (720, "4.0", "1 failed, ", "9 min 30 s"),
            (960, "4.0", "2 failed, ", "8 min 30 s"),
            (1200, "4.0", "3 failed, ", "7 min 30 s"),
            (1440, "4.0", "3 failed, ", "6 min 30 s"),
            (1680, "4.0", "4 failed, ", "5 min 30 s"),
            (1920, "4.0", "4 failed, ", "4 min 30 s"),
        )
    ]
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", minutes)


def test_short_work_leaves_no_line_in_a_log(capsys, clock):
    with Bar() as bar:
        bar.begin(60, "motion-energy")
        for done in range(1, 60):
            clock[0] += 1
            bar.advance(done, 0)
    assert capsys.readouterr() == ("", "")


def test_nothing_done_in_a_minute_is_told_too(capsys, clock):
    bar = Bar("triplets")
    bar.begin(10, "two\nlines")
    clock[0] += 61
    bar.advance(0, 0)
    assert capsys.readouterr().err == "two\\nlines, 0/10: 0.0 triplets/s\n"


def test_a_terminal_has_a_bar_and_no_lines(monkeypatch, clock):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stderr", screen := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with Bar() as bar:
        bar.begin(10, "motion-energy")
        clock[0] += 100
        bar.advance(4, 1)
    assert "5/10" in screen.getvalue()
    assert "motion-energy, 5/10" not in screen.getvalue()


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (754.0, "12 min 34 s")])
def test_spans_are_written_for_people(seconds, words):
    assert span(seconds) == words
