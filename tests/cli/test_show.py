import io
import json

import pytest

from vidsim.cli import show
from vidsim.cli.model_list import list_models
from vidsim.encoders import catalog

HEADERS = ("id", "r", "95 %", "shares", "table")
ROWS = [
    ("clip 1 of 2.mp4", "0.51", "0.4 to 0.6", "valence 3/4, two words of both", "x3d-m.a52a9eae133f"),
    ("[b]", "-", "", "", "y"),
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Return a function that makes stdout a terminal of so many columns."""

    def make(columns, kind="xterm"):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", kind)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr("sys.stdout", screen := Terminal())
        return screen

    return make


def lines_of(screen):
    lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in screen.getvalue().splitlines()]
    assert [line for line in lines if line.endswith(" ")] == []  # behind the edge they would be lines
    return lines


def print_table():
    show.table(HEADERS, ROWS, right=("r", "95 %"), prose=("shares",))


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_a_table_that_fits_in_no_way_runs_over_whole(terminal, capsys, columns):
    print_table()
    whole = capsys.readouterr().out.splitlines()
    screen = terminal(columns)
    print_table()
    assert lines_of(screen) == whole
    assert [line.split() for line in whole if "─" not in line] == [
        [],
        " ".join(HEADERS).split(),
        *(" ".join(row).split() for row in ROWS),
        [],
    ]


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_a_long_name_is_cut_in_no_terminal(terminal, kind):
    screen = terminal(80, kind)
    show.table(("id",), [("x" * 500,)])
    assert f" {'x' * 500}" in lines_of(screen)


@pytest.mark.parametrize("columns", [61, 70, 80, 90])
def test_words_and_numbers_wrap_where_the_table_fits_so_and_names_stay_whole(terminal, columns):
    screen = terminal(columns)
    print_table()
    lines = lines_of(screen)
    assert max(map(len, lines)) <= columns
    words = " ".join(lines).split()
    assert sorted(word for word in words if "─" not in word) == sorted(
        " ".join(map(" ".join, (HEADERS, *ROWS))).split()
    )
    for name in ("clip 1 of 2.mp4", "x3d-m.a52a9eae133f"):
        assert any(name in line for line in lines)


def test_a_table_is_created_at_a_minute(vidsim, clips, tmp_path):
    root = ("--root", tmp_path / "root")
    vidsim("index", clips, "--encoder", "motion-energy", "--limit", "2", *root)
    created = json.loads(vidsim("store", "info", *root, "--json")[1])["tables"][0]["created"]
    out = vidsim("store", "info", *root)[1]
    assert created not in out
    assert f" {created[:10]} {created[11:16]} " in out
    assert created.endswith("+00:00")
    assert "created (UTC)" in out


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_the_list_of_models_cuts_no_name(terminal, columns, tmp_path):
    screen = terminal(columns)
    list_models(str(tmp_path))
    lines = lines_of(screen)[1:]
    assert [line.split()[0].rstrip("…") for line in lines] == list(catalog.CARDS)
    assert all(len(line) <= columns or line == f"{line.split()[0]}" for line in lines)
