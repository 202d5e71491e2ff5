"""A page as Markdown: the same text and tables, its figures in files beside it."""

import base64
import re
from collections.abc import Sequence

from vidsim.report.page import Card, Page, Section


def markdown(page: Page, folder: str) -> tuple[str, dict[str, bytes]]:
    """Write a page as Markdown.

    Parameters
    ----------
    page : Page
        The page.
    folder : str
        Where its figures will lie, relative to the Markdown file.

    Returns
    -------
    str
        The text; everything that came from data is escaped.
    dict of str to bytes
        Contents of the figures, by file name within the folder.
    """
    files: dict[str, bytes] = {}
    parts = [f"# {escape(page.title)}", escape(page.lead)]
    for section in page.sections:
        parts.extend(_section(section, folder, files))
    if page.footer:
        parts.append(f"---\n\n{escape(page.footer)}")
    return "\n\n".join(part for part in parts if part) + "\n", files


def escape(text: str) -> str:
    r"""Keep text from being read as markup, on one line.

    Parameters
    ----------
    text : str
        Anything.

    Returns
    -------
    str
        The same, to a reader.

    Examples
    --------
    >>> print(escape("a_b | *c*"))
    a\_b \| \*c\*
    """
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _section(section: Section, folder: str, files: dict[str, bytes]) -> list[str]:
    parts = [f"## {escape(section.title)}", escape(section.text)]
    if section.facts:
        parts.append(_table(("", ""), list(section.facts.items()), ("",)))
    for caption, drawn in section.figures.items():
        image = _image(drawn)
        form, data = image or ("svg", drawn.encode())
        name = f"{len(files) + 1:02}.{form}"
        files[name] = data
        parts.append(f"![{escape(caption)}]({folder}/{name})\n\n*{escape(caption)}*")
    for strip in section.strips:
        parts.append(f"### {escape(strip.title)}")
        parts.append("\n".join(_card(card, folder, files) for card in strip.cards))
    if section.rows:
        parts.append(_table(section.header, section.rows, section.numbers))
    return parts


def _card(card: Card, folder: str, files: dict[str, bytes]) -> str:
    marks = f" ({'; '.join(escape(mark) for mark in card.marks)})" if card.marks else ""
    name = escape(card.name)
    line = f"- **{name}**{marks} {escape(card.text)}".rstrip()
    image = _image(card.image)
    if image is None:
        return line
    file = f"{len(files) + 1:02}.{image[0]}"
    files[file] = image[1]
    return f"{line}\n\n  ![{name}]({folder}/{file})"


def _image(text: str) -> tuple[str, bytes] | None:
    """Take the picture out of a ``data:`` URI, in an ``img`` tag or alone: its form and content."""
    found = re.search(r"data:image/(\w+);base64,([\w+/=]*)", text)
    return None if found is None or "<svg" in text else (found[1], base64.b64decode(found[2]))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> str:
    lines = [header, ["---:" if name and name in numbers else "---" for name in header]]
    text = ["| " + " | ".join(escape(cell) for cell in lines[0]) + " |", "| " + " | ".join(lines[1]) + " |"]
    text.extend("| " + " | ".join(escape(str(cell)) for cell in row) + " |" for row in rows)
    return "\n".join(text)
