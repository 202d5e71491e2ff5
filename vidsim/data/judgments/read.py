"""The door for any file of judgments: which reader it needs is said, or plain from its structure, and never guessed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from vidsim.check import one_of
from vidsim.data.judgments.arrays import read_array
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.matrix import looks_like_matrix, read_matrix
from vidsim.data.judgments.meadows import read_arrangements
from vidsim.data.judgments.predicted import read_predicted
from vidsim.data.judgments.released import base_of, read_release
from vidsim.data.judgments.table import COLUMNS, Order, read_table
from vidsim.data.judgments.text import read_delimited, show
from vidsim.data.stimuli import StimulusSet, refuse_twins
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand
from vidsim.rsm import RSM

Format = Literal["released", "table", "things", "cblearn", "meadows", "rsm", "predicted"]
"""Kinds of sources. Folders, tables, .mat and .json files are told apart by their structure; bare arrays are not."""


@dataclass(frozen=True, eq=False)
class Imported:
    """Hold what a source held.

    Parameters
    ----------
    judgments : Judgments, optional
        Odd-one-out trials.
    stimuli : StimulusSet, optional
        Captions, ratings and splits.
    rsms : mapping of str to RSM
        Similarity matrices; the key is empty where there is one of nobody in particular, else the participant.
    """

    judgments: Judgments | None = None
    stimuli: StimulusSet | None = None
    rsms: Mapping[str, RSM] | None = None


@dataclass(frozen=True)
class Reading:
    """Say how to read a source, where its structure does not.

    Parameters
    ----------
    format : str, optional
        Kind of source.
    order : str, optional
        Which is the odd one; needed for bare arrays.
    columns : mapping of str to str, optional
        What a table calls its columns.
    ids : str or path, optional
        A file of ids: for arrays one id a line by item number; for tables the legal ids, or a CSV of ``index`` and
        ``id``.
    counts : str or path, optional
        Counts of a similarity matrix.
    zero : {"unseen", "similarity"}, optional
        What 0 means in a similarity matrix without counts.
    unit : {"s", "ms"}, optional
        Unit of response times in tables; s where none is given.

    Raises
    ------
    VidsimError
        If ``format``, ``order``, ``zero`` or ``unit`` is no such word.
    """

    format: Format | None = None
    order: Order | None = None
    columns: Mapping[str, str] | None = None
    ids: Place | None = None
    counts: Place | None = None
    zero: Literal["unseen", "similarity"] | None = None
    unit: Literal["s", "ms"] | None = None

    def __post_init__(self) -> None:
        for name, word, legal in (
            ("format", self.format, get_args(Format)),
            ("order", self.order, get_args(Order)),
            ("meaning of zero", self.zero, ("unseen", "similarity")),
            ("unit", self.unit, ("s", "ms")),
        ):
            if word is not None:
                one_of(name, word, legal)


def read(path: Place, how: Reading = Reading()) -> Imported:
    """Read judgments or similarity matrices from a file or folder.

    Parameters
    ----------
    path : str or path
        The Social-OOO release (folder), a table (CSV), a Meadows export (.mat, .json, annotations CSV), an array (.npy,
        .txt), a similarity matrix (CSV, .npy), or what `vidsim label` has written (.parquet).
    how : Reading
        What the structure does not say.

    Returns
    -------
    Imported
        Judgments with, perhaps, stimuli; or similarity matrices.

    Raises
    ------
    VidsimError
        If the path is missing, of no known kind, or cannot be read; something needed is not said; or two ids
        look the same.
    """
    path = expand(path)
    kind = how.format or _kind(path, how)
    _fits(path, kind, how)
    if how.counts is not None and not expand(how.counts).exists():
        raise VidsimError(f"no file {show(expand(how.counts))}: expected the counts of {show(path)} there")
    if kind == "released":
        judgments, stimuli = read_release(path)
        return Imported(_placed(judgments, path), stimuli)
    if kind == "meadows" and path.suffix.lower() in {".mat", ".json"}:
        return Imported(rsms=read_arrangements(path))
    if kind == "predicted":
        found = read_predicted(path)
        return Imported(rsms={"": found}) if isinstance(found, RSM) else Imported(_placed(found, path))
    if kind == "rsm":
        names = list(read_ids(how.ids).values()) if how.ids else None
        return Imported(rsms={"": read_matrix(path, counts=how.counts, zero=how.zero, ids=names)})
    if kind in {"things", "cblearn"}:
        order = "things" if kind == "things" else how.order
        if kind == "cblearn" and how.order not in {"odd-first", "comparisons"}:
            raise VidsimError(
                f"{show(path)}: cblearn keeps odd-one-out queries with the odd one first, and list-order triplets "
                "(anchor, near, far): say which, --order odd-first or --order comparisons"
            )
        return Imported(_placed(read_array(path, order=order, names=_by_number(how.ids)), path))
    if path.suffix.lower() in {".npy", ".txt"} and how.format is None:
        return Imported(_placed(read_array(path, order=how.order, names=_by_number(how.ids)), path))
    names = read_ids(how.ids) if how.ids else None
    judgments = read_table(path, columns=how.columns, order=how.order, names=names, unit=how.unit)
    return Imported(_placed(judgments, path))


def read_ids(path: Place) -> dict[str, str]:
    """Read a list of ids.

    Parameters
    ----------
    path : str or path
        One id a line; or a table with the column ``id`` (or ``video_name``) and perhaps ``index``.

    Returns
    -------
    dict of str to str
        For each label, its index where the table has one, the id.

    Raises
    ------
    VidsimError
        If there are none, or one stands twice.
    """
    path = expand(path)
    source = read_delimited(path, single=True, header=path.suffix.lower() in {".csv", ".tsv"})
    column = next((name for name in ("id", "video_name", "0") if name in source.header), None)
    if column is None:
        listed = ", ".join(map(repr, source.header))
        raise VidsimError(f"{show(path)}: no column 'id'; the columns are {listed}")
    ids = source.table[column].to_pylist()
    labels = source.table["index"].to_pylist() if "index" in source.header else ids
    for what, values in (("id", ids), ("index", labels)):
        seen: set[str] = set()
        for line, value in zip(source.lines.tolist(), values, strict=True):
            if not value or value in seen:
                raise VidsimError(f"{show(path)} line {line}: {what} {value!r} is empty or stands more than once")
            seen.add(value)
    return dict(zip(labels, ids, strict=True))


def _by_number(path: Place | None) -> list[str] | None:
    if path is None:
        return None
    return list(read_ids(path).values())


def _placed(judgments: Judgments, path: Path) -> Judgments:
    """Note the absolute place, so that another import of it is known as such; refuse ids that look the same."""
    refuse_twins(judgments.ids, show(path))
    return replace(judgments, source=path.resolve().as_posix())


def _kind(path: Path, how: Reading) -> Format:
    """Tell the kind of a source from its structure."""
    if path.is_dir():
        if base_of(path) is None:
            raise VidsimError(
                f"{show(path)} is a folder without data/interim/similarity; expected the layout of the Social-OOO "
                "release, or a file"
            )
        return "released"
    if not path.exists():
        raise VidsimError(f"no file or folder {show(path)}")
    suffix = path.suffix.lower()
    if suffix in {".mat", ".json"}:
        return "meadows"
    if suffix == ".parquet":
        return "predicted"
    if suffix in {".npy", ".txt"}:
        if how.order is None:
            raise VidsimError(
                f"{show(path)} is a bare array, which does not say which item is the odd one: --format things (odd "
                "last), --format cblearn, or --order odd-last, odd-first, choice-column; --format rsm for similarities"
            )
        return "table"
    source = read_delimited(path)
    square = looks_like_matrix(source.header, len(source.lines))
    judged = [name for name in source.header if name in {*COLUMNS, "stim1_name", "stim2_name", "stim3_name"}]
    if how.counts is not None or how.zero is not None:
        if judged and not square:  # stimuli of a matrix may be called as columns of trials are
            option = "--zero" if how.counts is None else "--counts"
            raise VidsimError(
                f"{show(path)} has columns of trials ({', '.join(judged)}), and {option} is for a similarity matrix; "
                "leave it out"
            )
        return "rsm"
    return "rsm" if square and not judged and not how.columns else "table"


def _fits(path: Path, kind: Format, how: Reading) -> None:
    """Refuse options that the kind of source has no use for: they would be passed over in silence."""
    bare = how.format is None and path.suffix.lower() in {".npy", ".txt"}
    legal = {
        "released": set[str](),
        "table": {"order", "ids"} if bare else {"order", "columns", "ids", "unit"},
        "things": {"ids"},
        "cblearn": {"order", "ids"},
        "meadows": {"ids"} if path.suffix.lower() == ".csv" else set[str](),
        "rsm": {"ids", "counts", "zero"},
        "predicted": set[str](),
    }[kind]
    said = {
        "order": how.order,
        "columns": how.columns,
        "ids": how.ids,
        "counts": how.counts,
        "zero": how.zero,
        "unit": how.unit,
    }
    surplus = [name for name, value in said.items() if value and name not in legal]
    if surplus:
        option = {"unit": "--rt-unit"}.get(surplus[0], f"--{surplus[0]}")
        raise VidsimError(f"{show(path)} is read as {kind!r}, which takes no {option}; leave it out or say --format")
