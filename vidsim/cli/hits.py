"""Results of a search: what each has in common with the query, and its near-duplicates, for people and machines."""

from collections.abc import Sequence
from functools import cached_property
from math import isnan
from typing import TYPE_CHECKING, Any

import typer

from vidsim.cli import show

if TYPE_CHECKING:
    from vidsim.retrieval.duplicates import Clip, Group, Twin
    from vidsim.retrieval.index import Hit, Index
    from vidsim.retrieval.shared import Attributes, Shared

RATINGS, TAGS, WORDS, NAMES = 2, 2, 3, 3
"""How many are named in a table; the others are counted."""

SHARES = "shares"
"""Title of what results have in common with the query."""

OF_QUERY = {"copy": "a copy of the query", "re-encoding": "likely the query re-encoded"}


class Answer:
    """Hold an index and what was searched for in it.

    Parameters
    ----------
    index : Index
        The index.
    clip : Clip
        The query.
    name : str
        The query's id, the name of its file, or the text.
    text : str or None
        The text, where the query is one.
    """

    def __init__(self, index: "Index", clip: "Clip", name: str, text: str | None) -> None:
        self.index = index
        self.clip = clip
        self.name = name
        self.text = text

    @cached_property
    def attributes(self) -> "Attributes | None":
        """Return what is known of the stimuli; None where nothing is that two could share."""
        from vidsim.retrieval.shared import Attributes

        known = self.index.attributes
        found = None if known is None else Attributes(known)
        return found if found is not None and found.comparable else None

    @cached_property
    def known(self) -> dict[str, Any]:
        """Return what is known of the query: of a text, its words."""
        from vidsim.retrieval.shared import content_words

        if self.text is not None:
            return {"words": content_words([self.text])}
        return self.attributes.of(self.clip.row) if self.attributes is not None and self.clip.row is not None else {}

    def shared(self, identifier: str) -> "Shared":
        """Find what a stimulus of the index shares with the query."""
        from vidsim.retrieval.shared import Shared

        row = self.index.find("id", identifier)
        if self.attributes is None or row is None or row == self.clip.row:
            return Shared()
        return self.attributes.shared(self.known, row)

    def percentile(self, similarity: float) -> float | None:
        """Say what share of all pairs of the index is less similar, in per cent; None where there are no pairs."""
        found = self.index.percentile(similarity)
        return None if isnan(found) else round(found, 1)

    def facts(self, hit: "Hit") -> dict[str, Any]:
        """Describe a result for machines."""
        found = self.shared(hit.id)
        return {
            "rank": hit.rank,
            "id": hit.id,
            "path": hit.path,
            "similarity": hit.similarity,
            "percentile": self.percentile(hit.similarity),
            "shared": {"ratings": found.ratings, "tags": found.tags, "words": found.words},
        }

    @property
    def last_title(self) -> str:
        """Return the title of the last column of a table."""
        return "path" if self.attributes is None else SHARES

    def last_cell(self, hit: "Hit") -> str:
        """Write what a result shares with the query; its path where nothing is known of the stimuli."""
        return show.place(hit.path) if self.attributes is None else shares(self.shared(hit.id))

    def itself(self, aside: "Sequence[Twin]") -> dict[str, Any]:
        """Describe the query for machines, with those of its near-duplicates that are no results."""
        identifier = None if self.clip.row is None else self.name
        return {"id": identifier, "text": self.text, "duplicates": duplicates(aside)}


def duplicates(twins: "Sequence[Twin]") -> list[dict[str, Any]]:
    """Describe near-duplicates for machines."""
    return [
        {"id": twin.hit.id, "path": twin.hit.path, "similarity": twin.hit.similarity, "kind": twin.kind}
        for twin in twins
    ]


def emit(answer: Answer, groups: "Sequence[Group]", aside: "Sequence[Twin]") -> None:
    """Print a line of JSON a result.

    Parameters
    ----------
    answer : Answer
        What was searched for.
    groups : sequence of Group
        The results, in order.
    aside : sequence of Twin
        Near-duplicates of the query.
    """
    itself = answer.itself(aside)
    for group in groups:
        facts = {"of_query": group.of_query, "duplicates": duplicates(group.twins), "query": itself}
        show.emit({**answer.facts(group.hit), **facts})


def tell(answer: Answer, groups: "Sequence[Group]", aside: "Sequence[Twin]") -> None:
    """Print a table of the results.

    Parameters
    ----------
    answer : Answer
        What was searched for.
    groups : sequence of Group
        The results, in order.
    aside : sequence of Twin
        Near-duplicates of the query.
    """
    rows: list[tuple[str, ...]] = []
    for group in groups:
        hit = group.hit
        percentile = answer.percentile(hit.similarity)
        placed = "-" if percentile is None else f"{percentile:.1f}"
        rows.append((str(hit.rank), f"{hit.similarity:.4f}", placed, called(group), answer.last_cell(hit)))
    numbers = ("rank", "similarity", "percentile")
    show.table((*numbers, "id", answer.last_title), rows, right=numbers, prose=(SHARES,))
    explain(answer, [row[-1] for row in rows], aside)


def explain(answer: Answer, cells: Sequence[str], aside: "Sequence[Twin]") -> None:
    """Say below a table what its cells mean and which near-duplicates of the query are left out.

    Parameters
    ----------
    answer : Answer
        What was searched for.
    cells : sequence of str
        What the results share with it.
    aside : sequence of Twin
        Near-duplicates of the query.
    """
    if answer.attributes is not None and any(cells):
        typer.echo("shares: ratings within half a standard deviation (query/result), equal tags, words of both")
    if aside:
        from vidsim.retrieval.duplicates import relatives

        names = ", ".join(show.printable(twin.hit.id) for twin in aside[:NAMES]) + ", ..." * (len(aside) > NAMES)
        typer.echo(f"left out: {relatives(aside)} of the query ({names}); --all lists them")


def called(group: "Group") -> str:
    """Name a result and count its near-duplicates."""
    from vidsim.retrieval.duplicates import relatives

    notes = [] if group.of_query is None else [OF_QUERY[group.of_query]]
    notes += [f"and {relatives(group.twins)}"] if group.twins else []
    return f"{group.hit.id} ({', '.join(notes)})" if notes else group.hit.id


def shares(found: "Shared") -> str:
    """Write what two stimuli share, the most telling first; what is more than a few is counted."""
    ratings = [f"{name} {a:.2g}/{b:.2g}" for name, (a, b) in found.ratings.items()]
    tags = [name if value is True else f"{name} {value}" for name, value in found.tags.items()]
    parts = [few(given, most) for given, most in ((ratings, RATINGS), (tags, TAGS), (found.words, WORDS))]
    return "; ".join(part for part in parts if part)


def few(given: Sequence[str], most: int) -> str:
    """Join the first of some names and count the others."""
    return ", ".join(given[:most]) + (f" +{len(given) - most}" if len(given) > most else "")
