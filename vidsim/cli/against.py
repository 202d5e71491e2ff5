"""Two spaces side by side: the stimuli nearest to a query in either, with their ranks in both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from vidsim.cli import hits, show

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64
    from numpy import ndarray

    from vidsim.retrieval.duplicates import Clip, Group, Twin
    from vidsim.retrieval.index import Index


@dataclass(frozen=True)
class Row:
    """Place a stimulus in two spaces.

    Parameters
    ----------
    group : Group
        The stimulus with its near-duplicates.
    ranks : tuple of int
        In either space, from 1, among all stimuli of both that the filter lets through: copies and re-encodings count
        like others, but for those of the query.
    similarities : tuple of float
        To the query, in either space.
    """

    group: "Group"
    ranks: tuple[int, int]
    similarities: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """Hold what is nearest to a query in two spaces.

    Parameters
    ----------
    other : Answer
        The second space and the query in it.
    rows : sequence of Row
        The nearest of the first space in order, then those of the second that are not among them.
    aside : sequence of Twin
        Near-duplicates of the query, which have no rank.
    nearest, common : int
        How many were looked for in each space, and how many of these are the same.
    missing : int
        Stimuli that stand in one space only.
    """

    other: "hits.Answer"
    rows: Sequence[Row]
    aside: "Sequence[Twin]"
    nearest: int
    common: int
    missing: int


def compare(
    answer: "hits.Answer",
    other: "Index",
    clip: "Clip",
    n: int,
    within: "Bool[ndarray, ' rows'] | None",
    *,
    every: bool,
) -> Comparison:
    """Search two indexes for a query.

    Parameters
    ----------
    answer : Answer
        First index and the query in it.
    other : Index
        Second index.
    clip : Clip
        The query in it.
    n : int
        How many to find in each.
    within : array of bool, optional
        Rows of the first index that a filter lets through.
    every : bool
        Leave near-duplicates as they are.

    Returns
    -------
    Comparison
        Ranks and similarities in both.
    """
    import numpy as np

    from vidsim.retrieval.duplicates import distinct
    from vidsim.retrieval.index import pc

    index = answer.index
    place = pc.index_in(index.column("id"), other.column("id")).to_numpy()
    there = ~np.isnan(place) if place.dtype.kind == "f" else np.ones(len(index), bool)
    missing = len(index) + len(other) - 2 * int(there.sum())
    chosen = there if within is None else there & within
    second = np.zeros(len(other), bool)
    second[place[chosen].astype(np.int64)] = True
    found = [
        distinct(index, answer.clip, n, within=chosen, every=every),
        distinct(other, clip, n, within=second, every=every),
    ]
    aside = {twin.hit.id: twin for _, twins in reversed(found) for twin in twins}
    rows = np.flatnonzero(chosen)
    gone = [index.find("id", identifier) for identifier in aside]
    rows = rows[~np.isin(rows, [row for row in (*gone, answer.clip.row) if row is not None])]
    ranked = [
        _ranks(index.similarities(answer.clip.vector), rows),
        _ranks(other.similarities(clip.vector), place[rows].astype(np.int64)),
    ]
    position = {row: number for number, row in enumerate(rows.tolist())}
    listed: dict[str, Row] = {}
    first = {identifier for group in found[0][0] for identifier in _members(group)}
    for group in (*found[0][0], *(group for group in found[1][0] if not first.intersection(_members(group)))):
        row = index.find("id", group.hit.id)
        if row not in position:
            continue
        at = position[row]
        listed[group.hit.id] = Row(group, (ranked[0][0][at], ranked[1][0][at]), (ranked[0][1][at], ranked[1][1][at]))
    common = sum(bool(first.intersection(_members(group))) for group in found[1][0])
    return Comparison(
        hits.Answer(other, clip, answer.name, answer.text),
        list(listed.values()),
        list(aside.values()),
        max(len(groups) for groups, _ in found),
        common,
        missing,
    )


def _members(group: "Group") -> list[str]:
    return [group.hit.id, *(twin.hit.id for twin in group.twins)]


def _ranks(similarities: "Float32[ndarray, ' rows']", rows: "Int64[ndarray, ' n']") -> tuple[list[int], list[float]]:
    """Rank rows by similarity, equal ones in their order."""
    import numpy as np

    chosen = similarities[rows]
    ranks = np.empty(len(rows), np.int64)
    ranks[np.argsort(-chosen, kind="stable")] = np.arange(1, len(rows) + 1)
    return ranks.tolist(), np.clip(chosen, -1, 1).tolist()


def emit(answer: "hits.Answer", found: Comparison) -> None:
    """Print a line of JSON a stimulus.

    Parameters
    ----------
    answer : Answer
        First index and the query.
    found : Comparison
        What was found in both.
    """
    spaces = [(one.index.manifest["encoder"], one.index.manifest["layer"]) for one in (answer, found.other)]
    itself = answer.itself(found.aside)
    for row in found.rows:
        facts = [
            {
                "encoder": encoder,
                "layer": layer,
                "rank": rank,
                "similarity": similarity,
                "percentile": of.percentile(similarity),
            }
            for (encoder, layer), of, rank, similarity in zip(
                spaces, (answer, found.other), row.ranks, row.similarities, strict=True
            )
        ]
        line: dict[str, Any] = {**answer.facts(row.group.hit), **facts[0], "against": facts[1]}
        line |= {"change": row.ranks[0] - row.ranks[1], "of_query": row.group.of_query}
        show.emit({**line, "duplicates": hits.duplicates(row.group.twins), "query": itself})


def tell(answer: "hits.Answer", found: Comparison) -> None:
    """Print a table of the stimuli.

    Parameters
    ----------
    answer : Answer
        First index and the query.
    found : Comparison
        What was found in both.
    """
    for letter, one in zip("AB", (answer, found.other), strict=True):
        typer.echo(show.printable(f"{letter}: {one.index.manifest['encoder']} {one.index.manifest['layer']}"))
    rows: list[tuple[str, ...]] = []
    for row in found.rows:
        change = row.ranks[0] - row.ranks[1]
        cells = [str(rank) for rank in row.ranks] + [f"{change:+,}" if change else "="]
        cells += [f"{similarity:.3f}" for similarity in row.similarities]
        rows.append((*cells, hits.called(row.group), answer.last_cell(row.group.hit)))
    numbers = ("rank A", "rank B", "change", "sim. A", "sim. B")
    show.table((*numbers, "id", answer.last_title), rows, right=numbers, prose=(hits.SHARES,))
    typer.echo(f"{found.common} of the {found.nearest} nearest are the same in both; change: places nearer in B")
    hits.explain(answer, [row[-1] for row in rows], found.aside)
