import subprocess
import sys
from typing import Annotated

import pytest
import typer
import typer.core

from vidsim.cli.light import spare_pydantic


@pytest.fixture
def answer(monkeypatch):
    """Run a small command whose options are read the light way, and typer's own way."""
    made = typer.Typer(add_completion=False)

    @made.command()
    def _command(
        word: Annotated[str | None, typer.Argument()] = None,
        name: Annotated[str, typer.Option(envvar="LIGHT_NAME")] = "x",
        loud: Annotated[bool, typer.Option("--loud/--quiet", envvar="LIGHT_LOUD")] = False,
        times: Annotated[int, typer.Option("-t", count=True)] = 0,
        number: Annotated[int, typer.Option(min=1)] = 3,
        several: Annotated[list[str] | None, typer.Option()] = None,
    ) -> None:
        typer.echo(repr((word, name, loud, times, number, several)))

    own = typer.core.build_runtime_param

    def run(*arguments, light, capsys):
        monkeypatch.setattr(typer.core, "build_runtime_param", getattr(own, "typers_own", own))
        if light:
            spare_pydantic()
        try:
            typer.main.get_command(made).main(list(arguments), standalone_mode=False)
        except Exception as error:
            return f"{type(error).__name__}: {error.format_message()}"
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("w", "--name", "n", "--loud", "-ttt", "--number", "7", "--several", "a", "--several", "b"),
        ("", "--name", ""),
        ("w", "--quiet"),
        ("--number", "0"),
        ("--number", "many"),
        ("--name",),
        ("--nme", "x"),
        ("-t5",),
    ],
)
def test_options_are_read_as_typer_reads_them(arguments, answer, capsys, monkeypatch):
    for environment in ({}, {"LIGHT_NAME": "from outside", "LIGHT_LOUD": "1"}, {"LIGHT_LOUD": "perhaps"}):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert answer(*arguments, light=True, capsys=capsys) == answer(*arguments, light=False, capsys=capsys)


def test_pydantic_is_not_imported_for_plain_options():
    program = (
        "import sys, typer\nfrom vidsim.cli.light import spare_pydantic\nspare_pydantic()\n"
        "def say(word: str = 'w', flag: bool = False): print(word, 'pydantic' in sys.modules)\n"
        "made = typer.Typer(add_completion=False)\nmade.command()(say)\nmade(['--word', 'said', '--flag'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "said False\n"
