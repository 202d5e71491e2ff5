"""The command line: one file a verb; everything heavy is imported inside the verbs."""

from vidsim.cli.entry import main

__all__ = ["main"]
