"""What stimuli share: close ratings, equal tags, content words of their captions. Loads no store."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute  # its functions are made when it is imported, so that nothing is known of them

CLOSE = 0.5
"""Ratings are close that differ by at most this many standard deviations of that rating over the indexed stimuli."""

NOT_SHARED = frozenset({"id", "captions", "words", "split", "duration"})
"""Columns that are neither ratings nor tags."""

SHORTEST_WORD = 3
"""Letters of a content word."""

FUNCTION_WORDS = frozenset(
    re.findall(
        r"[a-z]+",
        "the and for with from into onto over under off out about after again all also another any are around away "
        "back been before behind being below beside between both but can could did does doing done down each few "
        "had has have having her here hers him his how its itself just more most near next not now one only other "
        "our own same she should some such than that their them then there these they this those three through too "
        "toward towards two until upon very was were what when where which while who whom whose why will within "
        "without would you your",
    )
)
"""English words that say nothing about a scene."""


def content_words(captions: Iterable[str]) -> set[str]:
    """Return the content words of captions.

    Parameters
    ----------
    captions : iterable of str
        Captions of one stimulus.

    Returns
    -------
    set of str
        Runs of letters in lower case, of at least three, that are not among `FUNCTION_WORDS`. Forms of a word are
        different words.

    Examples
    --------
    >>> sorted(content_words(["Two dogs run after the dog.", "A dog!"]))
    ['dog', 'dogs', 'run']
    """
    found = {word for caption in captions for word in re.findall(r"[^\W\d_]+", caption.casefold())}
    return {word for word in found if len(word) >= SHORTEST_WORD and word not in FUNCTION_WORDS}


@dataclass(frozen=True)
class Shared:
    """Hold what two stimuli have in common.

    Parameters
    ----------
    ratings : mapping of str to (float, float)
        Close ratings, of the first stimulus and the second; those farthest from the mean of all stimuli come first.
    tags : mapping of str to (str or bool)
        Equal tags.
    words : tuple of str
        Content words of captions of both, the rarest first.
    """

    ratings: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    tags: dict[str, str | bool] = field(default_factory=dict[str, "str | bool"])
    words: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ratings or self.tags or self.words)


class Attributes:
    """Compare indexed stimuli by what is known of them.

    Parameters
    ----------
    table : pyarrow.Table
        Of `gather`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @cached_property
    def spread(self) -> dict[str, tuple[float, float]]:
        """Return mean and standard deviation of each rating over the stimuli that have it; constant ones are left out.

        Returns
        -------
        dict of str to (float, float)
            In the table's order.
        """
        found: dict[str, tuple[float, float]] = {}
        for name in self.table.column_names:
            if name in NOT_SHARED or not pa.types.is_floating(self.table[name].type):
                continue
            mean, deviation = pc.mean(self.table[name]).as_py(), pc.stddev(self.table[name]).as_py()
            if deviation and deviation > abs(mean) * 1e-9:  # equal floats may have a deviation of rounding errors
                found[name] = (mean, deviation)
        return found

    @cached_property
    def tags(self) -> list[str]:
        """Return the columns that are texts or flags."""
        kinds = (pa.types.is_string, pa.types.is_boolean)
        names = [name for name in self.table.column_names if name not in NOT_SHARED]
        return [name for name in names if any(kind(self.table[name].type) for kind in kinds)]

    @property
    def comparable(self) -> bool:
        """Tell whether stimuli can share anything."""
        return bool(self.spread or self.tags or "words" in self.table.column_names)

    def of(self, row: int) -> dict[str, Any]:
        """Return what is known of a stimulus."""
        return {name: self.table[name][row].as_py() for name in self.table.column_names}

    def shared(self, first: dict[str, Any], row: int) -> Shared:
        """Find what a stimulus of the table has in common with another.

        Ratings are shared that differ by at most half a standard deviation of that rating over all stimuli (of two
        stimuli drawn at random, 28 % are that close where ratings are normal); tags that are equal texts, or flags
        that both have; words that stand in captions of both.

        Parameters
        ----------
        first : mapping
            What is known of the other, as `of` gives it: or, of a text, its ``words`` alone.
        row : int
            Row of the stimulus.

        Returns
        -------
        Shared
            What they share.
        """
        second = self.of(row)
        close: list[tuple[float, str]] = []
        for name, (mean, deviation) in self.spread.items():
            a, b = first.get(name), second[name]
            if a is not None and b is not None and abs(a - b) <= CLOSE * deviation * (1 + 1e-9):
                close.append((-abs((a + b) / 2 - mean) / deviation, name))
        ratings = {name: (first[name], second[name]) for _, name in sorted(close)}
        tags = {name: second[name] for name in self.tags if second[name] and first.get(name) == second[name]}
        known = set(first.get("words") or ())
        return Shared(ratings, tags, tuple(word for word in second.get("words") or () if word in known))
