"""Judgments: odd-one-out trials as people gave them, with who, when, how fast, and what was wrong with the source."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from vidsim.data.judgments.text import pc
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

DETAILS = pa.schema(
    [
        pa.field("position", pa.int8()),
        pa.field("participant", pa.string()),
        pa.field("session", pa.string()),
        pa.field("trial", pa.int64()),
        pa.field("response_time", pa.float64()),
        pa.field("line", pa.int64()),
    ]
)
"""What is kept of a trial beside its stimuli: place on the screen (1 to 3) of the odd one, who judged it, in which
session, as which trial, in how many seconds, and the line of the source (for arrays: the row, from 1); null where
unknown."""

FORMAT = 1


@dataclass(frozen=True)
class Defect:
    """Describe one kind of malformed row.

    Parameters
    ----------
    kind : str
        Short machine-readable name, such as ``"choice-not-shown"``.
    meaning : str
        One line for a person: what is wrong.
    count : int
        How many rows.
    lines : tuple of int
        The first line numbers.
    kept : bool
        Whether the rows are among the trials nevertheless, mended as ``meaning`` says.
    """

    kind: str
    meaning: str
    count: int
    lines: tuple[int, ...]
    kept: bool = False


@dataclass(frozen=True)
class Exclusion:
    """Record what a rule has removed.

    Parameters
    ----------
    rule : str
        Name of the rule, such as ``"min_catch_accuracy"``.
    value : object
        Its threshold.
    rows : int
        Trials removed, catch trials included.
    participants : tuple of str
        People all of whose trials were removed.
    """

    rule: str
    value: Any
    rows: int
    participants: tuple[str, ...] = ()


def _no_details() -> pa.Table:
    return DETAILS.empty_table()


@dataclass(frozen=True, eq=False)
class Judgments:
    """Hold odd-one-out judgments in their one form.

    Parameters
    ----------
    ids : tuple of str
        Stimuli that are judged, in the order of the source's own list where it has one.
    rows : array of shape (t, 3)
        Positions of ``(a, b, odd)``, catch trials included: a catch trial shows a stimulus twice.
    details : pyarrow.Table
        One row per trial, columns as in `DETAILS`.
    source_rows : int
        Rows of the source, unusable ones included.
    source : str
        Where they come from.
    order : str
        How the source tells the odd one: ``"odd-last"``, ``"odd-first"``, ``"choice-column"`` or ``"comparisons"``.
    defects : tuple of Defect
        What was wrong with the source.
    exclusions : tuple of Exclusion
        What rules have removed.
    notes : tuple of str
        What a person should know about the import: files that were missing, say.
    predicted : mapping, optional
        Where labels that a model has predicted come from (JSON-able, with its ``encoder`` and ``layer``); None where
        people judged.

    Raises
    ------
    VidsimError
        If trials and details differ in number.
    """

    ids: tuple[str, ...]
    rows: Int[ndarray, "t 3"]
    details: pa.Table = field(default_factory=_no_details)
    source_rows: int = 0
    source: str = ""
    order: str = "odd-last"
    defects: tuple[Defect, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    notes: tuple[str, ...] = ()
    predicted: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if len(self.rows) != self.details.num_rows:
            raise VidsimError(f"{len(self.rows)} trials were given with details of {self.details.num_rows}")

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def catch(self) -> Bool[ndarray, " t"]:
        """Mark catch trials: a stimulus is shown more than once. Sources flag them wrongly, so structure decides."""
        a, b, odd = self.rows.T
        return (a == b) | (a == odd) | (b == odd)

    @cached_property
    def catch_correct(self) -> Bool[ndarray, " t"]:
        """Mark catch trials in which the lone stimulus was chosen."""
        a, b, odd = self.rows.T
        return (a == b) & (a != odd)

    @cached_property
    def triplets(self) -> Triplets:
        """Return the real trials, in order."""
        return Triplets(self.ids, self.rows[~self.catch])

    @cached_property
    def participants(self) -> tuple[tuple[str, ...], Int[ndarray, " t"]]:
        """Return the participants, sorted, and for each trial the number of its participant (-1 where unknown)."""
        names = self.details["participant"].combine_chunks()
        known = sorted(set(names.unique().drop_null().to_pylist()))
        codes = names.dictionary_encode()
        order = {name: number for number, name in enumerate(known)}
        renumber = np.array([order.get(name, -1) for name in codes.dictionary.to_pylist()] + [-1], np.int64)
        return tuple(known), renumber[codes.indices.fill_null(len(renumber) - 1).to_numpy(zero_copy_only=False)]

    @property
    def response_time(self) -> Float[ndarray, " t"]:
        """Return the response times in seconds; NaN where unknown."""
        return self.details["response_time"].to_numpy()

    @property
    def position(self) -> Int[ndarray, " t"]:
        """Return the place on the screen of the odd one, 1 to 3; 0 where unknown."""
        return self.details["position"].fill_null(0).to_numpy().astype(np.int64)

    def select(self, which: Shaped[ndarray, " k"], exclusion: Exclusion | None = None) -> "Judgments":
        """Keep some trials, by number or by mask.

        Parameters
        ----------
        which : array of shape (k,) or (t,)
            Trials to keep.
        exclusion : Exclusion, optional
            Why the others go.

        Returns
        -------
        Judgments
            Over the same ids.
        """
        numbers = np.arange(len(self))[which]
        record = (*self.exclusions, exclusion) if exclusion else self.exclusions
        return replace(self, rows=self.rows[numbers], details=self.details.take(numbers), exclusions=record)

    def table(self) -> pa.Table:
        """Return the judgments as an Arrow table, as the store keeps them.

        Returns
        -------
        pyarrow.Table
            Columns ``a``, ``b``, ``odd`` (ids), ``catch``, and those of `DETAILS`; source, defects, exclusions and the
            order of ids are in the schema's metadata.
        """
        names = pa.array(self.ids, pa.string())
        columns = {name: names.take(pa.array(self.rows[:, i])) for i, name in enumerate(("a", "b", "odd"))}
        facts = {
            "format": FORMAT,
            "ids": self.ids,
            "source": self.source,
            "source_rows": self.source_rows,
            "order": self.order,
            "defects": [asdict(d) for d in self.defects],
            "exclusions": [asdict(e) for e in self.exclusions],
            "notes": self.notes,
            "predicted": self.predicted,
        }
        table = pa.table({**columns, "catch": pa.array(self.catch)})
        for name in DETAILS.names:
            table = table.append_column(DETAILS.field(name), self.details[name])
        return table.replace_schema_metadata({"judgments": json.dumps(facts)})

    @classmethod
    def of(cls, triplets: Triplets, participant: Sequence[str | None] | None = None) -> "Judgments":
        """Make judgments of trials that carry nothing but, perhaps, their participants.

        Parameters
        ----------
        triplets : Triplets
            Trials.
        participant : sequence of str or None, optional
            One name per trial; None where unknown.

        Returns
        -------
        Judgments
            Without sessions, response times and positions.
        """
        t = len(triplets)
        columns = {f.name: pa.nulls(t, f.type) for f in DETAILS}
        columns["line"] = pa.array(np.arange(1, t + 1))
        if participant is not None:
            columns["participant"] = pa.array(participant, pa.string())
        details = pa.table(columns, schema=DETAILS)
        return cls(tuple(triplets.ids), triplets.rows.astype(np.int32), details, source_rows=t)

    @classmethod
    def from_table(cls, table: pa.Table) -> "Judgments":
        """Read back what `table` gives.

        Parameters
        ----------
        table : pyarrow.Table
            A table of judgments.

        Returns
        -------
        Judgments
            The judgments.

        Raises
        ------
        VidsimError
            If the table does not hold judgments, or a newer vidsim has written it.
        """
        try:
            facts: Mapping[str, Any] = json.loads((table.schema.metadata or {})[b"judgments"])
            if facts["format"] > FORMAT:
                raise VidsimError("these judgments were written by a newer vidsim; upgrade vidsim to use them")
            ids = tuple(facts["ids"])
            known = pa.array(ids, pa.string())
            codes = [_codes(table[name], known) for name in ("a", "b", "odd")]
            return cls(
                ids=ids,
                rows=np.column_stack(codes).astype(np.int32),
                details=table.select(DETAILS.names).cast(DETAILS),
                source_rows=facts["source_rows"],
                source=facts["source"],
                order=facts["order"],
                defects=tuple(
                    Defect(d["kind"], d["meaning"], d["count"], tuple(d["lines"]), d["kept"]) for d in facts["defects"]
                ),
                exclusions=tuple(
                    Exclusion(e["rule"], e["value"], e["rows"], tuple(e["participants"])) for e in facts["exclusions"]
                ),
                notes=tuple(facts["notes"]),
                predicted=facts.get("predicted"),
            )
        except (KeyError, ValueError, TypeError) as error:
            raise VidsimError("the table does not hold judgments; import them again") from error


def _codes(column: pa.ChunkedArray, known: pa.Array) -> Int[ndarray, " t"]:
    return pc.index_in(column, value_set=known).to_numpy()
