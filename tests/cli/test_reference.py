import runpy
from pathlib import Path

import pytest

from vidsim.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = runpy.run_path(str(ROOT / "docs" / "reference.py"))


def test_the_reference_is_what_the_commands_say():
    assert (ROOT / "docs" / "cli.md").read_text() == REFERENCE["reference"](), (
        "run: python docs/reference.py > docs/cli.md"
    )


def test_every_verb_is_in_the_reference_with_help():
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    for group in app.registered_groups:
        verbs |= {
            group.name,
            *(f"{group.name} {c.name or c.callback.__name__}" for c in group.typer_instance.registered_commands),
        }
    assert verbs == set(REFERENCE["VERBS"]) - {""}
    assert all(command.callback.__doc__ for command in app.registered_commands)


@pytest.mark.parametrize("verb", [v for v in REFERENCE["VERBS"] if v])
def test_every_verb_has_help(vidsim, verb):
    status, out, err = vidsim(*verb.split(), "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"Usage: vidsim {verb}")
