"""The command line's way in and out: which words go where, and how errors end."""

import io
import os
import sys
from pathlib import Path
from typing import Any

from vidsim.cli.root import DEFAULT_ROOT, VARIABLE, root_of
from vidsim.cli.show import printable, say
from vidsim.disk import reason
from vidsim.errors import VidsimError


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
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name is printed whatever the terminal's encoding
    try:
        status = _answer(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:  # the reader of our output has gone, as in `vidsim models | head -1`
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # what they still hold is flushed at the end
            os.dup2(nowhere, stream.fileno())
        status = 141
    sys.exit(status)


def _answer(words: list[str]) -> Any:
    """Run a command and say its error, if the user can mend it."""
    try:
        _look_for_folder()
        return _run(words)
    except BrokenPipeError:
        raise
    except BaseException as error:
        message, status = _explain(error)
        if message is None:
            raise
        say(message, err=True)
        return status


def _look_for_folder() -> None:
    """Refuse to run in a folder that is deleted: libraries fail there in words of their own, or end the process."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise VidsimError("the working directory is gone; cd to one that exists") from None


def _run(words: list[str]) -> Any:
    if words in (["models"], ["models", "--json"]):
        # importing the parser takes longer than the list
        from vidsim.cli.model_list import list_models

        list_models(root_of(os.environ.get(VARIABLE) or DEFAULT_ROOT), json="--json" in words)
        return 0
    from vidsim.cli.app import run

    return run(words)


def _nowhere() -> io.TextIOWrapper:
    """Stand in for a standard stream that the caller has closed, as some job schedulers do."""
    return io.TextIOWrapper(io.FileIO(os.devnull, "w"))


def _explain(error: BaseException) -> tuple[str | None, int]:
    """Say an error in one line, with its exit status; None for one that is a bug. Without a verb, show the help."""
    if isinstance(error, VidsimError):
        return _line(str(error)), 2
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":  # the parser's own, of a question
        return _line("interrupted; what was committed stays, the same command goes on from there"), 130
    if isinstance(error, OSError):
        place = f": {os.fsdecode(error.filename)!r}" if error.filename else ""
        return _line(f"{reason(error)}{place}; nothing committed is lost, run again when mended"), 2
    if type(error).__name__ == "NoArgsIsHelpError":
        return getattr(error, "message", ""), 2
    if hasattr(error, "format_message"):  # the parser's own errors know how to say themselves
        return _line(_usage(error)), 2
    return None, 1


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    dashed = "; a name that begins with - goes behind --" if type(error).__name__ == "NoSuchOption" else ""
    said = error.format_message().rstrip(".").replace("Value error, ", "")  # the name of its own validator's exception
    return f"{said}{dashed}; see: {context.command_path if context else 'vidsim'} --help"


def _line(message: str) -> str:
    return f"vidsim: {printable(' '.join(message.split()))}"
