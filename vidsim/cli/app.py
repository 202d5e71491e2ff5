"""The command-line application: its verbs, and how errors end."""

import errno
import io
import logging
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer

from vidsim import __version__
from vidsim.cli.light import spare_pydantic
from vidsim.errors import VidsimError

WORDS = ("align", "probe", "classify", "report")
"""Verbs with options that take several words."""

VERBS = (
    *("index", "extract", "search", "align", "partition", "compare", "probe", "classify", "train", "report", "models"),
    *("calibrate", "oddoneout", "label", "judgments", "store", "doctor"),
)
"""In the order of the help; each is a function, or a group called app, in the module of its name."""


def build(*verbs: str) -> typer.Typer:
    """Build the application with these verbs: importing all takes longer than most answers."""
    made = typer.Typer(
        name="vidsim",
        help="Embed videos with any model, keep every layer in a store, and search them by similarity.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    made.callback(invoke_without_command=True)(_options)
    for verb in verbs:
        module = import_module(f"vidsim.cli.{verb}")
        if hasattr(module, "app"):
            made.add_typer(module.app, name=verb)
        elif verb in WORDS:
            from vidsim.cli.words import Words

            made.command(cls=Words)(getattr(module, verb))
        else:
            made.command()(getattr(module, verb))
    return made


def __getattr__(name: str) -> Any:
    if name == "app":  # all of it
        return build(*VERBS)
    raise AttributeError(name)


def _options(
    verbose: Annotated[
        int, typer.Option("-v", "--verbose", count=True, help="Log more: -v what is done, -vv all.")
    ] = 0,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    levels = [logging.WARNING, logging.INFO, logging.DEBUG]
    logging.basicConfig(
        level=logging.WARNING if verbose < 2 else logging.INFO,
        format="%(asctime)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
    )
    logging.getLogger("vidsim").setLevel(levels[min(verbose, 2)])


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: one line on stderr and exit status 2 for every problem a user can mend.

    Parameters
    ----------
    arguments : list of str, optional
        Arguments without the program's name; those of the process by default.

    Raises
    ------
    BaseException
        Whatever is a bug rather than the user's to mend.
    """
    # OpenMP threads that spin while they wait take the cores from the decoding threads; read when torch is imported
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name is printed whatever the terminal's encoding
    try:
        words = sys.argv[1:] if arguments is None else arguments
        # a mistyped verb, or none, is answered from all of them
        chosen = next((word for word in words if not word.startswith("-")), None)
        command = typer.main.get_command(build(*([chosen] if chosen in VERBS else VERBS)))
        spare_pydantic()
        status = command.main(arguments, prog_name="vidsim", standalone_mode=False)
    except BrokenPipeError:  # the reader of our output has gone, as in `vidsim models | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    except BaseException as error:
        message, status = _explain(error)
        if message is None:
            raise
        from vidsim.cli.show import printable

        typer.echo(f"vidsim: {printable(' '.join(message.split()))}", err=True)
    sys.exit(status)


DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}


def _explain(error: BaseException) -> tuple[str | None, int]:
    """Say an error in one line, with its exit status; None for one that is a bug."""
    if isinstance(error, VidsimError):
        return str(error), 2
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "interrupted; what was committed stays, the same command goes on from there", 130
    if isinstance(error, OSError):
        place = f": {os.fsdecode(error.filename)!r}" if error.filename else ""
        what = DISK.get(error.errno or 0, error.strerror or str(error))
        return f"{what}{place}; nothing committed is lost, run again when mended", 2
    if hasattr(error, "format_message"):  # the parser's own errors know how to say themselves
        return _usage(error), 2
    return None, 1


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f"{error.format_message().rstrip('.')}; see: {context.command_path if context else 'vidsim'} --help"
