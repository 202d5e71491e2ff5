import shlex
import subprocess
import sys

import pytest
import typer

from vidsim.cli.app import VERBS, build, outline
from vidsim.store import Store


def test_the_outline_says_of_every_verb_what_the_verb_says_itself():
    whole, names = (typer.main.get_command(made) for made in (build(*VERBS), outline()))
    assert list(names.commands) == list(whole.commands)
    for verb, command in whole.commands.items():
        for width in (45, 200):
            assert names.commands[verb].get_short_help_str(width) == command.get_short_help_str(width)


def test_without_a_verb_the_help_is_shown(vidsim):
    for words in ([], ["store"], ["judgments"]):
        status, out, err = vidsim(*words)
        assert (status, out) == (2, "")
        shown = vidsim(*words, "--help")[1]
        assert shown.count("\n") > 5
        assert err.strip() == shown.strip()


def test_help_before_a_verb_is_that_of_all(vidsim):
    assert vidsim("--help", "search") == vidsim("--help")


def test_a_mistyped_verb_is_answered_with_the_nearest(vidsim):
    status, out, err = vidsim("serch", "clip")
    assert (status, out) == (2, "")
    assert err == "vidsim: No such command 'serch'. Did you mean 'search'?; see: vidsim --help\n"


def test_a_name_that_begins_with_a_dash_goes_behind_two(vidsim, tmp_path):
    status, _, err = vidsim("search", "-Yw 1.mp4", "--root", tmp_path)
    assert status == 2
    assert err == ("vidsim: No such option: -Y; a name that begins with - goes behind --; see: vidsim search --help\n")
    assert "no index in" in vidsim("search", "--root", tmp_path, "--", "-Yw 1.mp4")[2]


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_closed_streams_stop_nothing(closed, clips, tmp_path):
    verb = f"index {shlex.quote(str(clips))} --encoder motion-energy --root {shlex.quote(str(tmp_path))}"
    code = "from vidsim.cli import main; main()"
    done = subprocess.run(["sh", "-c", f"{sys.executable} -c '{code}' {verb} {closed}"], check=False)
    assert done.returncode == 0
    assert len(Store(tmp_path)["motion-energy"]["energy"]) == 6


@pytest.mark.parametrize(
    "words",
    [
        ("models", "--root"),
        ("doctor", "--root"),
        ("search", "clip", "--root"),
        ("index",),
        ("train", "recipe", "--name", "mine", "--judgments"),
        ("align", "--encoders", "x", "--judgments"),
        ("classify", "--encoders", "x", "--splits"),
    ],
)
def test_a_home_folder_that_is_not_known_is_named(words, vidsim):
    status, out, err = vidsim(*("~nobodyhere/r.toml" if word == "recipe" else word for word in words), "~nobodyhere/x")
    assert (status, out) == (2, "")
    place = "~nobodyhere/r.toml" if "recipe" in words else "~nobodyhere/x"
    assert err == f"vidsim: {place!r} begins with a home folder that is not known here; write the path out\n"
