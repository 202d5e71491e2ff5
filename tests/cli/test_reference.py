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


@pytest.mark.parametrize(
    ("verb", "option", "told"),
    [
        ("extract", "--layers", "`index` indexes the default layer, or the last of these without it."),
        ("index", "--layers", "`index` indexes the default layer, or the last of these without it."),
        *(
            (verb, "--revision", "Commit, branch or tag of the hub checkpoint")
            for verb in ("extract", "index", "train")
        ),
        *((verb, "-e, --encoders", "ENCODER:LAYER, or a file of embeddings; ") for verb in ("classify", "probe")),
        *(
            (verb, "--captions", "Which embeddings of encoders that read: ")
            for verb in ("align", "calibrate", "compare", "label", "oddoneout", "partition", "probe", "report")
        ),
    ],
)
def test_an_option_says_what_its_verb_takes(vidsim, verb, option, told):
    shown = " ".join(vidsim(verb, "--help")[1].split())
    assert told in shown[shown.index(f" {option} ") :][:200]
