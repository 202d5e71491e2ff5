"""Ratings: attributes of stimuli in numbers, such as how intimate a scene is, from a table or a set of stimuli."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from vidsim.data.cells import COLUMNS, TABLE_SUFFIXES, Cells, read_cells
from vidsim.data.stimuli import StimulusSet
from vidsim.embeddings import positions, rows_of
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand

SOCIAL = ("intimacy", "valence", "arousal", "dominance", "communication")
"""The paper's five attributes of social scenes, in its order (Section 3.3.2)."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """Hold ratings of n stimuli for a attributes.

    Parameters
    ----------
    ids : tuple of str
        The stimuli, all distinct.
    attributes : tuple of str
        What was rated, all distinct.
    values : array of shape (n, a)
        In the source's units; NaN where a stimulus was not rated.
    split : tuple of str or None
        The split of each stimulus.
    others : mapping of str to str
        Columns that are no ratings, and what they hold.

    Raises
    ------
    VidsimError
        If the numbers of ids, attributes, splits and values do not fit, or an id or attribute stands twice.
    """

    ids: tuple[str, ...]
    attributes: tuple[str, ...]
    values: Float[ndarray, "n a"]
    split: tuple[str | None, ...]
    others: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.ids), len(self.attributes)) or len(self.split) != len(self.ids):
            raise VidsimError(
                f"{len(self.ids)} ids, {len(self.split)} splits and {len(self.attributes)} attributes were given for "
                f"ratings of shape {self.values.shape}"
            )
        for what, names in (("stimulus id", self.ids), ("attribute", self.attributes)):
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise VidsimError(f"{what} {twice!r} stands more than once; expected every {what.split()[-1]} once")

    @classmethod
    def of(cls, stimuli: StimulusSet) -> "Ratings":
        """Take the ratings of a set of stimuli.

        Parameters
        ----------
        stimuli : StimulusSet
            The stimuli.

        Returns
        -------
        Ratings
            Of all attributes that any of them has.
        """
        names = tuple(dict.fromkeys(name for stimulus in stimuli for name in stimulus.ratings))
        values = [[stimulus.ratings.get(name, np.nan) for name in names] for stimulus in stimuli]
        others: dict[str, str] = dict.fromkeys(("id", "path", "captions", "split"), "text")
        return cls(
            stimuli.ids,
            names,
            np.array(values, np.float64).reshape(len(stimuli), len(names)),
            tuple(stimulus.split for stimulus in stimuli),
            others,
        )

    def take(self, ids: Sequence[str], attributes: Sequence[str]) -> "Ratings":
        """Select stimuli and attributes.

        Parameters
        ----------
        ids : sequence of str
            Stimuli that are here, in the order wanted.
        attributes : sequence of str
            What was rated, in the order wanted.

        Returns
        -------
        Ratings
            Those alone.

        Raises
        ------
        VidsimError
            If there is no such attribute, and then the nearest is suggested; or no such stimulus.
        """
        for name in attributes:
            if name in self.others and name not in self.attributes:
                raise VidsimError(f"column {name!r} holds no ratings but {self.others[name]}; {self._known()}")
            if name not in self.attributes:
                near = get_close_matches(name, self.attributes, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise VidsimError(f"no ratings {name!r}; {hint}{self._known()}")
        rows = rows_of(ids, positions(self.ids), "among the ratings")
        columns = [self.attributes.index(name) for name in attributes]
        return Ratings(
            tuple(ids), tuple(attributes), self.values[np.ix_(rows, columns)], tuple(self.split[row] for row in rows)
        )

    def ordered(self) -> tuple[str, ...]:
        """Return the attributes, the paper's five first."""
        known = [name for name in SOCIAL if name in self.attributes]
        return (*known, *(name for name in self.attributes if name not in SOCIAL))

    def _known(self) -> str:
        return f"there are: {', '.join(self.ordered())}" if self.attributes else "there are no ratings at all"


def read_ratings(path: Place) -> Ratings:
    """Read ratings from a table: one row a stimulus, one column an attribute.

    Parameters
    ----------
    path : str or path
        ``.csv``, ``.tsv`` or ``.parquet`` with a column ``id``, perhaps ``split``; or a folder in the layout of the
        Social-OOO release. A stimulus with several captions may have one row each, all with the same ratings. Columns
        with a cell that is no number are no ratings; empty cells, ``NA`` and ``NaN`` are missing.

    Returns
    -------
    Ratings
        In the table's order.

    Raises
    ------
    VidsimError
        If the table cannot be read, has no ids, or rates a stimulus twice and differently.
    """
    path = expand(path)
    from vidsim.data.judgments.text import show

    if path.is_dir():
        from vidsim.data.judgments.read import read

        stimuli = read(path).stimuli
        if stimuli is None:
            raise VidsimError(f"{show(path)} says nothing about its stimuli; expected ratings")
        return Ratings.of(stimuli)
    if path.suffix.lower() not in TABLE_SUFFIXES:
        raise VidsimError(
            f"{show(path)} is no table; expected a name that ends in {' or '.join(sorted(TABLE_SUFFIXES))}"
        )
    cells = read_cells(path)
    columns = cells.columns
    if "id" not in columns:
        raise VidsimError(f"{show(path)}: no column 'id'; the columns are {', '.join(map(repr, columns))}")
    ids = ["" if cell is None else str(cell).strip() for cell in columns["id"]]
    if not all(ids):
        raise VidsimError(f"{show(path)}: row {ids.index('') + 1} has no id; every row needs one")
    splits = [None if cell is None else str(cell).strip() or None for cell in columns.get("split", [None] * len(ids))]
    rated, others = _columns(cells, ids)
    first: dict[str, int] = {}
    for row, name in enumerate(ids):
        known = first.setdefault(name, row)
        mine, earlier = ([splits[k], *(column[k] for column in rated.values())] for k in (row, known))
        if known != row and repr(mine) != repr(earlier):  # NaN equals NaN when written
            raise VidsimError(
                f"{show(path)}: {name!r} has different ratings or splits in rows {known + 1} and {row + 1}; expected "
                "one row a stimulus, such as the mean over raters"
            )
    rows = list(first.values())
    values = np.array(list(rated.values()), np.float64).reshape(len(rated), len(ids)).T[rows]
    return Ratings(tuple(first), tuple(rated), values, tuple(splits[row] for row in rows), others)


def _columns(cells: Cells, ids: Sequence[str]) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Tell columns of ratings from others, and say what those hold."""
    rated, strange = cells.rated()
    others = {name: "text" for name in COLUMNS if name in cells.columns}
    for name, row in strange.items():
        others[name] = (
            "empty cells" if row is None else f"text, such as {str(cells.columns[name][row])[:40]!r} of {ids[row]!r}"
        )
    return rated, others
