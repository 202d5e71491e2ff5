"""What stands between the fences of a Markdown page."""

import re
import shlex


def blocks(page: str, language: str) -> list[str]:
    """Return the blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(page: str, language: str = "sh") -> list[list[str]]:
    """Return the words of each line behind the first, which is the program."""
    return [shlex.split(line)[1:] for block in blocks(page, language) for line in block.splitlines() if line.strip()]
