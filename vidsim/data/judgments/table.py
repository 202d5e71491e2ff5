"""Judgments in a plain CSV with named columns, the released trial files and the Meadows triplet task among them."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Literal

import numpy as np
import pyarrow as pa

from vidsim.data.judgments.assemble import Cells, assemble
from vidsim.data.judgments.judgments import DETAILS, Judgments
from vidsim.data.judgments.text import Delimited, pc, read_delimited, show
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand

Order = Literal["odd-last", "odd-first", "choice-column", "comparisons"]
"""How a source tells the odd one: as the last or the first of three, in a column of its own, or, as cblearn's
list-order triplets do, by two rows (anchor, near, far) in which anchor and near change places and far is odd."""

SHOWN = ("stim1", "stim2", "stim3")
COLUMNS = (*SHOWN, "choice", "choice_position", "a", "b", "odd", "participant", "session", "trial", "response_time")
"""Columns of a table of judgments that have a meaning. Either the three stimuli in the order of the screen with the
choice (its id, or its place from 1 to 3), or ``a``, ``b`` and ``odd``; the others where the source has them."""

RELEASED = {
    **{f"stim{i}": f"stim{i}_name" for i in (1, 2, 3)},
    "participant": "participation",
    "session": "task",
}
"""What the released trial files, and Meadows, call these columns."""

MEADOWS = {*(f"stim{i}_{what}" for i in (1, 2, 3) for what in ("id", "name")), "start", "resp", "label"}
"""Columns of a Meadows annotations file."""


def read_table(
    path: Place,
    *,
    columns: Mapping[str, str] | None = None,
    order: Order | None = None,
    names: Mapping[str, str] | None = None,
    unit: Literal["s", "ms"] | None = None,
    notes: Sequence[str] = (),
) -> Judgments:
    """Read a CSV of judgments.

    Parameters
    ----------
    path : str or path
        The file, with a header.
    columns : mapping of str to str, optional
        What the file calls the columns, where it has names of its own: ``{"stim1": "left"}``.
    order : str, optional
        Needed only where no column tells the odd one: ``"odd-last"`` or ``"odd-first"`` among stim1 to stim3.
    names : mapping of str to str, optional
        The id that each label stands for; labels are ids by default.
    unit : {"s", "ms"}, optional
        Unit of the response times.
    notes : sequence of str
        Passed on.

    Returns
    -------
    Judgments
        Every row of the file is a trial or counted among the defects.

    Raises
    ------
    VidsimError
        If a column is missing, the odd one is told in no way or in two ways, or no row is usable.
    """
    path = expand(path)
    source = read_delimited(path)
    if not columns and set(source.header) >= MEADOWS:
        _refuse_idle(unit, source, {})
        return _meadows(source, names, notes)
    given = _columns(source, columns or {})
    _refuse_idle(unit, source, given)
    cells = {ours: source.table[theirs] for ours, theirs in given.items()}
    named = {"a", "b", "odd"} <= set(cells)
    told = [
        *(["choice-column"] if "choice" in cells or "choice_position" in cells else []),
        *(["odd-last"] if named else []),
    ]
    told = told or ([order] if order else [])
    listed = ", ".join(map(repr, source.header))
    if len(told) > 1 or {"choice", "choice_position"} <= set(cells):
        raise VidsimError(f"{show(path)} tells the odd one in two ways; its columns are {listed}; keep one")
    if order is not None and order != told[0]:
        raise VidsimError(f"{show(path)} tells the odd one by {told[0]}, so --order {order} cannot be; leave it out")
    if named:
        shown, choice = [cells[name] for name in ("a", "b", "odd")], cells["odd"]
    else:
        missing = [name for name in SHOWN if name not in cells]
        if missing:
            raise VidsimError(f"{show(path)}: no column {missing[0]!r}{_hint(missing[0], source.header)}")
        shown = [cells[name] for name in SHOWN]
        if told == ["comparisons"]:
            raise VidsimError(f"{show(path)} is a table; --order comparisons is for arrays (.npy, .txt)")
        if not told or (told == ["choice-column"] and not {"choice", "choice_position"} & set(cells)):
            raise VidsimError(
                f"{show(path)}: no column says which stimulus was chosen as odd; the columns are {listed}; "
                "--columns choice=NAME names it, or --order odd-last or odd-first if it is one of the three"
            )
        if "choice_position" in cells:
            choice = _by_position(shown, cells["choice_position"])
        else:
            choice = cells["choice"] if told[0] == "choice-column" else shown[2 if told[0] == "odd-last" else 0]
    details = {k: cells[k] for k in ("participant", "session", "trial", "response_time") if k in cells}
    if unit == "ms" and "response_time" in details:
        details["response_time"] = _milliseconds(details["response_time"])
    return assemble(
        Cells(shown, choice, source.lines, details, source.ragged, screen=told == ["choice-column"]),
        source=path.as_posix(),
        order=told[0],
        names=names,
        notes=notes,
        choice_column="choice" in cells,
    )


def _refuse_idle(unit: str | None, source: Delimited, columns: Mapping[str, str]) -> None:
    """Refuse a unit of response times where none are read."""
    if unit is not None and "response_time" not in columns:
        raise VidsimError(
            f"{show(source.path)} has no column of response times, so --rt-unit {unit} has no effect; leave it out, or "
            "name the column with --columns response_time=NAME"
        )


def _columns(source: Delimited, renamed: Mapping[str, str]) -> dict[str, str]:
    """Map our names to the file's: those said, else ours, else the released ones."""
    for ours, theirs in renamed.items():
        if theirs not in source.header:
            raise VidsimError(f"{show(source.path)}: no column {theirs!r} for {ours!r}{_hint(theirs, source.header)}")
    found = dict(renamed)
    spelt = {name.lower(): name for name in reversed(source.header) if name not in renamed.values()}
    for ours in COLUMNS:
        for theirs in (ours, RELEASED.get(ours)):
            if theirs in spelt:
                found.setdefault(ours, spelt[theirs])
    return found


def _hint(name: str, header: Sequence[str]) -> str:
    near = get_close_matches(name, header, 1, cutoff=0.5)
    listed = ", ".join(map(repr, header[:12])) + (", ..." if len(header) > 12 else "")
    guess = f"; --columns {name}={near[0]} if that is it" if near else ""
    return f"; the columns are {listed}{guess}; expected stim1, stim2, stim3 and choice, or a, b and odd"


def _by_position(shown: Sequence[pa.ChunkedArray], position: pa.ChunkedArray) -> pa.ChunkedArray:
    """Find the stimulus at a place from 1 to 3; a place that is none gives a choice that was not shown."""
    place = pc.replace_substring_regex(position, r"\.0*$", "")
    choice = pc.if_else(pc.equal(place, ""), "", f"(place {position[0]})")
    for number, column in enumerate(shown, 1):
        choice = pc.if_else(pc.equal(place, str(number)), column, choice)
    return choice


def _milliseconds(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Shift the decimal point of texts; what is no number stays as it is, to be counted."""
    return pa.chunked_array([pa.array([_seconds(text) for text in times.to_pylist()], pa.string())])


def _seconds(text: str) -> str:
    try:
        return repr(float(text.replace(",", ".")) / 1000)
    except ValueError:
        return text


def _meadows(source: Delimited, names: Mapping[str, str] | None, notes: Sequence[str]) -> Judgments:
    """Read the annotations of a Meadows triplet task; the label is the name or the Meadows id of the odd one."""
    table = source.table
    three = pc.and_(pc.not_equal(table["stim3_name"], ""), pc.not_equal(table["stim2_name"], ""))
    others = int(pc.sum(pc.invert(three)).as_py() or 0)
    if others:  # annotations of one or two stimuli belong to other tasks
        notes = [*notes, f"{others} rows annotate fewer than three stimuli and belong to other tasks"]
    keep = three.to_numpy()
    table = table.filter(three)
    label = table["label"]
    for i in (1, 2, 3):
        label = pc.if_else(pc.equal(label, table[f"stim{i}_id"]), table[f"stim{i}_name"], label)
    start, stop = (_moments(table[name]) for name in ("start", "resp"))
    details = {
        ours: table[theirs]
        for ours, theirs in RELEASED.items()
        if ours in DETAILS.names and theirs in table.column_names
    }
    details["response_time"] = pa.chunked_array([pa.array(stop - start, from_pandas=True)])
    cells = Cells([table[f"stim{i}_name"] for i in (1, 2, 3)], label, source.lines[keep], details, source.ragged)
    return assemble(cells, source=source.path.as_posix(), order="choice-column", names=names, notes=notes)


def _moments(column: pa.ChunkedArray) -> np.ndarray:
    """Read moments in ISO 8601 or as numbers of seconds, in seconds; NaN where there is none."""
    import datetime as dt

    def moment(text: str) -> float:
        try:
            return dt.datetime.fromisoformat(text).timestamp()
        except ValueError:
            pass
        try:
            return float(text)
        except ValueError:
            return float("nan")

    return np.array([moment(text) for text in column.to_pylist()], np.float64)
