"""Near-duplicates: copies of a clip's file and re-encodings of it, told from clips that are truly similar.

Copies have the same bytes. A re-encoding (other codec, bit rate, size or frame rate) has not, and how similar it is to
its original depends on the encoder: some spaces set different clips of one scene closer than that. So it is measured
against the clip's own neighbours. Two clips are taken for one if

- their lengths differ by at most `SAME_LENGTH`, and
- their distance (1 - cosine) is at most `NEARER` times that from either to the nearest clip of another length (by more
  than twice as much, so that it can be no re-encoding of the same clip either).

Where more than `COMMON` of the clips have about that length, it says nothing and nobody is taken for a re-encoding; nor
where the index is one of captions, or knows no lengths.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray

from vidsim.data.video import file_content
from vidsim.embeddings import unit_rows
from vidsim.retrieval.arrow import numbers, text_scalar
from vidsim.retrieval.index import Hit, Index, pc

SAME_LENGTH = 0.1
"""Seconds: a frame at 10 frames a second, by which re-encoding may change a length."""

NEARER = 0.35
"""Share of the distance to the nearest clip of another length."""

COMMON = 0.35
"""Share of clips beyond which their length says nothing."""

ROUNDING = 1e-6
"""Distances and lengths that differ by less are the same in float32."""

NEIGHBOURS = 64
"""Neighbours of a clip among which the nearest of another length is looked for."""

Kind = Literal["copy", "re-encoding"]


@dataclass(frozen=True, eq=False)
class Clip:
    """Describe a clip that may have near-duplicates.

    Parameters
    ----------
    vector : array of shape (d,)
        Its embedding.
    content : str
        Hash of its file's bytes; empty where there is no file.
    duration : float
        Length in seconds; NaN where it is not known.
    row : int, optional
        Its row of the index, if it stands there.
    """

    vector: Float[ndarray, " d"]
    content: str = ""
    duration: float = float("nan")
    row: int | None = None


@dataclass(frozen=True)
class Twin:
    """A near-duplicate.

    Parameters
    ----------
    hit : Hit
        The stimulus and its similarity to the query; its rank is that of the clip that it repeats.
    kind : {"copy", "re-encoding"}
        How it repeats it.
    """

    hit: Hit
    kind: Kind


@dataclass
class Group:
    """One clip among the results, with its near-duplicates.

    Parameters
    ----------
    hit : Hit
        The one most similar to the query (or least), first in the index where equal.
    of_query : {"copy", "re-encoding"}, optional
        Whether it is the query itself once more.
    twins : list of Twin
        The others.
    """

    hit: Hit
    of_query: Kind | None = None
    twins: list[Twin] = field(default_factory=list[Twin])


class Guard:
    """Tell near-duplicates among the clips of an index.

    Parameters
    ----------
    index : Index
        The index; lengths stand in its attributes.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        features = index.manifest["provenance"].get("identity", {}).get("features", {})
        self.of_files = "decoder" in features or "captions" not in features
        known = index.attributes
        lengths = None if known is None or "duration" not in known.column_names else known["duration"]
        self._lengths = np.full(len(index), np.nan) if lengths is None else numbers(lengths)
        self.tells_encodings = self.of_files and lengths is not None
        self._reaches: dict[int, float] = {}

    def clip(self, row: int) -> Clip:
        """Return a clip of the index."""
        content = file_content(self._index.value("content", row)) if self.of_files else ""
        return Clip(self._index.vector(row), content, float(self._lengths[row]), row)

    def copies(self, clip: Clip) -> list[int]:
        """Return the rows of the index, other than its own, whose files have the bytes of a clip's."""
        if not clip.content:
            return []
        contents = self._index.column("content")
        # behind a plus stand captions that are encoded with the file
        same = pc.or_(pc.equal(contents, text_scalar(clip.content)), pc.starts_with(contents, f"{clip.content}+"))
        return [row for row in pc.indices_nonzero(same).to_pylist() if row != clip.row]

    def relation(self, first: Clip, second: Clip) -> Kind | None:
        """Tell whether two clips are one.

        Parameters
        ----------
        first, second : Clip
            Clips of the index, or not.

        Returns
        -------
        {"copy", "re-encoding"} or None
            How one repeats the other; None where they differ, or nothing can tell.
        """
        if first.content and first.content == second.content:
            return "copy"
        if not self.tells_encodings or not abs(first.duration - second.duration) <= SAME_LENGTH + ROUNDING:
            return None
        a, b = unit_rows(np.stack([first.vector, second.vector]).astype(np.float64))
        distance = float(1 - a @ b)
        near = all(distance <= NEARER * self._reach(clip) - ROUNDING for clip in (first, second))
        return "re-encoding" if near else None

    def _reach(self, clip: Clip) -> float:
        """Return the distance to the nearest clip of another length; 0 where too few are of another."""
        if clip.row in self._reaches:
            return self._reaches[clip.row]
        others = (
            np.abs(self._lengths - clip.duration) > 2 * SAME_LENGTH + ROUNDING
        )  # those of unknown length may be as long
        reach = 0.0
        count = len(others) - (clip.row is not None)
        if others.any() and count - others.sum() <= max(1, COMMON * count):
            for hit in self._index.search(clip.vector, NEIGHBOURS, exclude=clip.row):
                reach = 1 - hit.similarity  # where all of them are as long, the next is at least so far
                if others[hit.row]:
                    break
        if clip.row is not None:
            self._reaches[clip.row] = reach
        return reach


def distinct(
    index: Index,
    query: Clip,
    n: int,
    *,
    keep_query: bool = False,
    least: bool = False,
    within: Bool[ndarray, " rows"] | None = None,
    every: bool = False,
) -> tuple[list[Group], list[Twin]]:
    """Search for clips that are not the same one again.

    Parameters
    ----------
    index : Index
        Where to search.
    query : Clip
        What to search for; a text has neither content nor duration.
    n : int
        How many distinct clips, at least 1; fewer come back if there are no more.
    keep_query : bool
        Keep a query that stands in the index among the results.
    least, within
        As `Index.search` takes them.
    every : bool
        Let the same clip come again: each is a group of its own.

    Returns
    -------
    tuple of list of Group and list of Twin
        The clips found in order, with all copies of them, and with re-encodings as far as they are similar enough to
        be met on the way; and the near-duplicates of a query that stands in the index itself. Those of any other query
        are one of the groups.

    Raises
    ------
    VidsimError
        If ``n`` is below 1 or the query is no direction.
    """
    if every:
        gone = None if keep_query else query.row
        return [Group(hit) for hit in index.search(query.vector, n, exclude=gone, least=least, within=within)], []
    guard = Guard(index)
    search = _Search(index, guard, query, within)
    aside: list[Twin] = []
    if query.row is not None and not keep_query:
        aside = search.copies_of(query, 0)
        search.gone.add(query.row)
    asked = n + 10
    while True:
        hits = index.search(query.vector, asked, exclude=search.gone, least=least, within=within)
        for hit in hits:
            if hit.row in search.gone:
                continue
            if search.place(guard.clip(hit.row), hit, n, aside, keep_query=keep_query):
                search.gone.add(hit.row)
        if len(search.groups) >= n or len(hits) < asked:
            return search.groups, aside
        asked *= 2


class _Search:
    """Groups as they grow, and the rows that have their place."""

    def __init__(self, index: Index, guard: Guard, query: Clip, within: Bool[ndarray, " rows"] | None) -> None:
        self._index = index
        self._guard = guard
        self._query = query
        self._within = within
        self._heads: list[Clip] = []
        self.groups: list[Group] = []
        self.gone: set[int] = set()

    def place(self, clip: Clip, hit: Hit, n: int, aside: list[Twin], *, keep_query: bool) -> bool:
        """Find a clip's place: aside with the query, with a group, or as a new one; False where there are n already."""
        of_query = None if clip.row == self._query.row else self._guard.relation(self._query, clip)
        if of_query and self._query.row is not None and not keep_query:
            aside += [Twin(replace(hit, rank=0), of_query), *self.copies_of(clip, 0, of_query)]
            return True
        for head, group in zip(self._heads, self.groups, strict=True):
            same_query = of_query and (group.of_query or head.row == self._query.row)
            kind = self._guard.relation(head, clip) or (of_query if same_query else None)
            if kind:
                group.twins += [
                    Twin(replace(hit, rank=group.hit.rank), kind),
                    *self.copies_of(clip, group.hit.rank, kind),
                ]
                return True
        if len(self.groups) == n:
            return False
        rank = len(self.groups) + 1
        self.gone.add(clip.row if clip.row is not None else -1)
        self.groups.append(Group(replace(hit, rank=rank), of_query, self.copies_of(clip, rank)))
        self._heads.append(clip)
        return True

    def copies_of(self, clip: Clip, rank: int, kind: Kind = "copy") -> list[Twin]:
        """Take all copies of a clip that have no place yet."""
        rows = [row for row in self._guard.copies(clip) if row not in self.gone]
        rows = [row for row in rows if self._within is None or self._within[row]]
        if not rows:
            return []
        self.gone.update(rows)
        unit = unit_rows(self._query.vector[None].astype(np.float32))[0]
        similarities: Float32[ndarray, " n"] = np.clip(self._index.vectors(np.array(rows)) @ unit, -1, 1)
        return [
            Twin(Hit(rank, self._index.value("id", row), self._index.value("path", row), similarity, row), kind)
            for row, similarity in zip(rows, similarities.tolist(), strict=True)
        ]


def relatives(twins: Collection[Twin]) -> str:
    """Count near-duplicates in words.

    Parameters
    ----------
    twins : collection of Twin
        Near-duplicates.

    Returns
    -------
    str
        Such as ``"2 copies and 1 likely re-encoding"``; empty where there are none.

    Examples
    --------
    >>> relatives([Twin(Hit(1, "a", "", 1.0, 0), "copy")] * 2)
    '2 copies'
    """
    counts = [(sum(twin.kind == kind for twin in twins), one, many) for kind, one, many in _WORDS]
    return " and ".join(f"{count} {one if count == 1 else many}" for count, one, many in counts if count)


_WORDS = (("copy", "copy", "copies"), ("re-encoding", "likely re-encoding", "likely re-encodings"))
