"""The command-line application: its verbs, and the options before them."""

import logging
from importlib import import_module
from typing import Annotated, Any

import typer

from vidsim import __version__
from vidsim.cli.light import spare_pydantic

WORDS = ("align", "probe", "classify", "report")
"""Verbs with options that take several words."""

VERBS = {
    "index": "Embed a folder of videos, keep every layer, and build the search index of the default layer.",
    "extract": "Write every layer's embeddings of the stimuli to the store, without an index.",
    "search": "Find the stimuli most similar to an indexed one, to a clip, or to a text.",
    "align": "Compare encoders with people: rank correlation of similarities, and odd-one-out accuracy.",
    "partition": "Partition the variance of human distances among models: unique and shared parts, with intervals.",
    "compare": "Compare two spaces: which trials flip towards people, which away; or what two encoders attend to.",
    "probe": "Predict ratings, such as intimacy or valence, from embeddings by ridge regression.",
    "classify": "Recognise actions from embeddings: train a linear classifier, test it, and compare encoders "
    "with the first.",
    "train": "Fine-tune an encoder on odd-one-out judgments, and keep the result as an adapter.",
    "report": "Write one page, and its Markdown twin, with alignment, variance partition, probes and flips.",
    "models": "List the encoders and the adapters that were trained, or show the card and layers of one.",
    "calibrate": "Fit the temperature at which an encoder predicts people's choices, and test it on stimuli not "
    "fitted to.",
    "oddoneout": "Predict which of three stimuli people would single out as the odd one.",
    "label": "Predict the odd one of triplets that nobody has judged, or all similarities, with provenance and a card.",
    "doctor": "Check versions, torch build, GPU, video codecs, store health and known-bad combinations.",
    "judgments": "Import, inspect, plan and model people's odd-one-out judgments.",
    "store": "Look after the embedding store.",
}
"""In the order of the help, with its lines; each is a function, or a group called app, in the module of its name."""


def build(*verbs: str) -> typer.Typer:
    """Build the application with these verbs: importing all takes longer than most answers."""
    made = _empty()
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


def outline() -> typer.Typer:
    """Build the application with all verbs by name alone: what its own help, and a mistyped verb, take."""
    made = _empty()
    for verb, line in VERBS.items():
        made.command(verb, help=line)(lambda: None)
    return made


def _empty() -> typer.Typer:
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


def run(words: list[str]) -> Any:
    """Parse the command line and do what it says.

    Parameters
    ----------
    words : list of str
        Arguments without the program's name.

    Returns
    -------
    int or None
        Exit status, where the command has one of its own.

    Raises
    ------
    Exception
        Whatever the verb or the parser raises.
    """
    chosen = next((word for word in words if not word.startswith("-") or word in {"-h", "--help"}), None)
    command = typer.main.get_command(build(chosen) if chosen in VERBS else outline())
    spare_pydantic()
    try:
        # its main() would end on an interrupt or a closed pipe by itself, without a word
        with command.make_context("vidsim", list(words)) as context:
            return command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
