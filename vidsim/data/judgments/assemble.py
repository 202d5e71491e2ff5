"""From the cells of any source to judgments: ids looked up, choices found, every row either a trial or counted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from vidsim.data.judgments.judgments import DETAILS, Defect, Judgments
from vidsim.data.judgments.text import pc
from vidsim.errors import VidsimError
from vidsim.triplets import triplet_numbers

LINES_SHOWN = 10
"""So many line numbers are given for each kind of defect."""

MEANINGS = {
    "ragged": "the number of cells is not the header's, or quotes are broken",
    "item-number": "a value is no item number: a whole number from 0",
    "missing-cell": "a stimulus or the choice is missing",
    "unknown-id": "a stimulus is not in the list of ids",
    "choice-not-shown": "the choice is none of the three stimuli",
    "unpaired-comparison": "a comparison (anchor, near, far) has no partner with anchor and near exchanged",
    "identical": "all three stimuli are the same: a catch trial without an answer",
    "decimal-id": "an id is written as a decimal number, such as 6.0; read as 6",
    "response-time": "the response time is not a number of seconds of at least 0; left empty",
    "trial-number": "the trial number is not a whole number; left empty",
    "repeated": "one person judges the same three stimuli again",
}
"""What each kind of defect means."""

KEPT = frozenset({"identical", "decimal-id", "response-time", "trial-number", "repeated"})
"""Kinds of which the rows are kept."""

_DECIMAL = re.compile(r"([+-]?\d+)\.0*")


@dataclass(frozen=True, eq=False)
class Cells:
    """Hold the cells of a source, as text.

    Parameters
    ----------
    shown : sequence of three pyarrow arrays
        The stimuli, in the order in which the source lists them.
    choice : pyarrow array
        The odd one, as the source names it.
    lines : array of shape (t,)
        Where each row stands, from 1.
    details : mapping of str to pyarrow array
        ``participant``, ``session``, ``trial`` and ``response_time`` (seconds), where the source has them.
    ragged : tuple of (int, int)
        Rows that could not be parted into cells: first line and number of lines.
    screen : bool
        Whether the order of ``shown`` is that of the screen.
    unpaired : tuple of int
        Rows that are comparisons without a partner, and no trials.
    unnumbered : tuple of int
        Rows with a value that is no item number, and no trials.
    """

    shown: Sequence[pa.ChunkedArray]
    choice: pa.ChunkedArray
    lines: Int[ndarray, " t"]
    details: Mapping[str, pa.ChunkedArray] = field(default_factory=dict)
    ragged: tuple[tuple[int, int], ...] = ()
    screen: bool = True
    unpaired: tuple[int, ...] = ()
    unnumbered: tuple[int, ...] = ()


def assemble(
    cells: Cells,
    *,
    source: str,
    order: str,
    names: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    choice_column: bool = False,
) -> Judgments:
    """Turn cells into judgments.

    Parameters
    ----------
    cells : Cells
        What the source says.
    source : str
        Where it comes from; named in errors.
    order : str
        How the source tells the odd one.
    names : mapping of str to str, optional
        The id that each label of the source stands for, in the order of the source's list; labels outside it are
        unknown. By default labels are ids.
    notes : sequence of str
        Passed on.
    choice_column : bool
        Whether the choice stands in a column of ids that could be named as one of places.

    Returns
    -------
    Judgments
        Every row is a trial or counted among the defects.

    Raises
    ------
    VidsimError
        If no row is usable.
    """
    t = len(cells.lines)
    counts: dict[str, Bool[ndarray, " t"]] = {}
    labels, codes = _encode([*cells.shown, cells.choice], t)
    ids, known, mended = _ids(labels, names)
    at = np.append(known, -1)[codes]  # a null cell has code -1
    shown, choice = at[:, :3], at[:, 3]
    free = np.ones(t, bool)

    def mark(kind: str, rows: Any) -> None:
        counts[kind] = rows & free
        if kind not in KEPT:
            free[rows] = False

    mark("missing-cell", (at == -1).any(axis=1))
    mark("unknown-id", (shown == -2).any(axis=1))
    match = shown == choice[:, None]
    mark("choice-not-shown", ~match.any(axis=1))
    mark("identical", (shown == shown[:, :1]).all(axis=1))
    mark("decimal-id", np.append(mended, False)[codes].any(axis=1))
    details = {name: column.combine_chunks() for name, column in cells.details.items()}
    seconds, bad = numbers(details.get("response_time"), t)
    mark("response-time", bad | (seconds < 0))
    trial, bad = numbers(details.get("trial"), t)
    mark("trial-number", np.asarray(bad | (trial != np.floor(trial)) & ~np.isnan(trial)))
    keep = np.flatnonzero(free)
    where = match[keep].argmax(axis=1)
    shown = shown[keep]
    rest = np.array([[1, 2], [0, 2], [0, 1]])[where]
    rows = np.column_stack([np.take_along_axis(shown, rest, axis=1), choice[keep]])
    certain = match[keep].sum(axis=1) == 1
    table = pa.table(
        {
            "position": pa.array(where + 1, pa.int8(), mask=~certain if cells.screen else np.ones(len(keep), bool)),
            "participant": _texts(details.get("participant"), keep),
            "session": _texts(details.get("session"), keep),
            "trial": _optional(np.where(counts["trial-number"], np.nan, trial)[keep], pa.int64()),
            "response_time": _optional(np.where(counts["response-time"], np.nan, seconds)[keep], pa.float64()),
            "line": pa.array(cells.lines[keep]),
        },
        schema=DETAILS,
    )
    used = np.unique(rows)
    compact = np.zeros(len(ids), np.int32)
    compact[used] = np.arange(len(used))
    rows = compact[rows].astype(np.int32) if len(rows) else np.empty((0, 3), np.int32)
    judgments = Judgments(tuple(ids[i] for i in used), rows, table)
    repeated = np.zeros(t, bool)
    repeated[keep[repeats(judgments)]] = True
    counts["repeated"] = repeated
    defects = [
        *_apart(cells),
        *(
            Defect(kind, MEANINGS[kind], int(rows.sum()), _first(cells.lines[rows]), kind in KEPT)
            for kind, rows in counts.items()
            if rows.any()
        ),
    ]
    if not len(rows):
        why = "; ".join(f"{d.count} rows: {d.meaning}" for d in defects)
        places = {labels[code] for code in np.unique(codes[:, 3]) if code >= 0} <= {"1", "2", "3"}
        hint = (
            "; if the choice is a place from 1 to 3: --columns choice_position=NAME" if choice_column and places else ""
        )
        raise VidsimError(f"{source!r} has no usable trial: {why}{hint}")
    return Judgments(
        judgments.ids,
        rows,
        table,
        source_rows=t + sum(lines for _, lines in cells.ragged),
        source=source,
        order=order,
        defects=tuple(defects),
        notes=tuple(notes),
    )


def repeats(judgments: Judgments) -> Int[ndarray, " r"]:
    """Find the trials in which a person judges three stimuli that the same person has judged before.

    Parameters
    ----------
    judgments : Judgments
        Judgments; trials of unknown participants and catch trials are passed over.

    Returns
    -------
    array of shape (r,)
        Numbers of the later ones.
    """
    _, person = judgments.participants
    real = np.flatnonzero((person >= 0) & ~judgments.catch)
    trial = triplet_numbers(judgments.rows[real])
    _, first = np.unique(person[real] * (trial.max(initial=0) + 1) + trial, return_index=True)
    return np.delete(real, first)


def _apart(cells: Cells) -> list[Defect]:
    """Count the rows that are no cells."""
    ragged = tuple(line for line, _ in cells.ragged)
    rows = {
        "ragged": (ragged, sum(lines for _, lines in cells.ragged)),
        "unpaired-comparison": (cells.unpaired, len(cells.unpaired)),
        "item-number": (cells.unnumbered, len(cells.unnumbered)),
    }
    return [Defect(kind, MEANINGS[kind], count, lines[:LINES_SHOWN]) for kind, (lines, count) in rows.items() if count]


def _encode(columns: Sequence[pa.ChunkedArray], t: int) -> tuple[list[str], Int[ndarray, "t 4"]]:
    """Number the labels of all columns together; -1 for nulls."""
    every = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()).combine_chunks()
    encoded = every.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes.reshape(len(columns), t).T


def _ids(labels: list[str], names: Mapping[str, str] | None) -> tuple[list[str], ndarray, ndarray]:
    """Give the ids, for each label the number of its id (-1 empty, -2 unknown), and whether it was mended."""
    whole = [found[1] if (found := _DECIMAL.fullmatch(label)) else label for label in labels]
    if names is None:
        # 6.0 is 6 only where all ids are numbers: elsewhere it is a name
        if not all(re.fullmatch(r"[+-]?\d+", label) for label in whole if label):
            whole = labels
        texts = sorted({label for label in whole if label}, key=_natural)
        names = {label: label for label in texts}
    else:
        whole = [
            plain if plain in names and label not in names else label
            for label, plain in zip(labels, whole, strict=True)
        ]
    ids = list(dict.fromkeys(names.values()))
    number = {name: i for i, name in enumerate(ids)}
    known = np.array([-1 if not w else number[names[w]] if w in names else -2 for w in whole], np.int64)
    mended = np.array([w != label for w, label in zip(whole, labels, strict=True)], bool)
    return ids, known, mended


def _natural(label: str) -> tuple[int, int, str]:
    """Sort numbers as numbers, before texts."""
    return (0, int(label), label) if re.fullmatch(r"[+-]?\d{1,18}", label) else (1, 0, label)


def numbers(column: pa.Array | None, t: int) -> tuple[Float[ndarray, " t"], Bool[ndarray, " t"]]:
    """Read numbers, with a decimal point or comma.

    Parameters
    ----------
    column : pyarrow.Array, optional
        Texts or numbers.
    t : int
        How many.

    Returns
    -------
    tuple of array of shape (t,) and array of shape (t,)
        The numbers, NaN where there is none; and where a text is not a number.
    """
    if column is None:
        return np.full(t, np.nan), np.zeros(t, bool)
    if not pa.types.is_string(column.type):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
        return values, np.isinf(values)
    text = pc.replace_substring(column.fill_null(""), ",", ".")
    good = pc.match_substring_regex(text, r"^[+-]?(\d{1,300}\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$")
    values = pc.cast(pc.if_else(good, text, None), pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    missing = pc.equal(text, "").to_numpy(zero_copy_only=False)
    return values, ~missing & ~np.isfinite(values)


def _optional(values: ndarray, kind: pa.DataType) -> pa.Array:
    missing = np.isnan(values)
    return pa.array(np.where(missing, 0, values).astype(kind.to_pandas_dtype()), kind, mask=missing)


def _texts(column: pa.Array | None, keep: Int[ndarray, " k"]) -> pa.Array:
    if column is None:
        return pa.nulls(len(keep), pa.string())
    return pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column).take(pa.array(keep))


def _first(lines: Int[ndarray, " k"]) -> tuple[int, ...]:
    return tuple(int(line) for line in lines[:LINES_SHOWN])
