"""Judgments as bare arrays of item numbers: THINGS (odd last) and cblearn (list order)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int
from numpy import ndarray

from vidsim.data.judgments.assemble import Cells, assemble
from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.table import Order
from vidsim.data.judgments.text import LINE_LIMIT, show
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand


def read_array(
    path: Place,
    *,
    order: Order | Literal["things"] | None,
    names: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Judgments:
    """Read judgments from an array of item numbers.

    Parameters
    ----------
    path : str or path
        ``.npy``, or text with numbers parted by spaces, commas or tabs; N x 3, or N x 4 with the choice last.
    order : str
        ``"odd-last"`` (THINGS), ``"odd-first"`` (cblearn's odd-one-out queries), ``"choice-column"`` (N x 4), or
        ``"comparisons"`` (cblearn's list-order triplets: anchor, near, far). Never guessed. ``"things"`` is odd-last
        for N x 3 and choice-column for N x 4.
    names : sequence of str, optional
        The ids, by item number from 0; by default the numbers themselves.
    notes : sequence of str
        Passed on.

    Returns
    -------
    Judgments
        Every row is a trial or counted among the defects.

    Raises
    ------
    VidsimError
        If the file is no such array, the order is not given or does not fit, or no row is usable.
    """
    path = expand(path)
    array = _numpy(path) if path.suffix.lower() == ".npy" else _text(path)
    if array.ndim != 2 or array.shape[1] not in {3, 4} or not len(array):
        raise VidsimError(f"{show(path)} holds an array of shape {array.shape}; expected (trials, 3) or (trials, 4)")
    wide = array.shape[1] == 4
    if order == "things":
        order = "choice-column" if wide else "odd-last"
    fits = {"choice-column"} if wide else {"odd-last", "odd-first", "comparisons"}
    if order not in fits:
        said = "no order was given" if order is None else f"{order!r} does not fit"
        raise VidsimError(
            f"{show(path)} has {array.shape[1]} columns and {said}: --order must say which is the odd one, "
            f"{' or '.join(sorted(fits))}{'' if wide else '; files differ, and a wrong guess would pass unseen'}"
        )
    lines = np.arange(1, len(array) + 1)
    wrong = _wrong(array).any(axis=1)
    usable, lines, unnumbered = array[~wrong], lines[~wrong], tuple(lines[wrong].tolist())
    labels = [_labels(column) for column in usable.T]
    alone: tuple[int, ...] = ()
    if order == "comparisons":
        kept, without = _pairs(usable)
        labels = [label.take(pa.array(kept)) for label in labels]
        lines, alone = lines[kept], tuple(lines[without].tolist())
    shown = [pa.chunked_array([label]) for label in labels[:3]]
    choice = pa.chunked_array([labels[3] if wide else labels[0 if order == "odd-first" else 2]])
    known: Mapping[str, str] | None = None
    if names is not None:
        known = {str(number): name for number, name in enumerate(names)}
    cells = Cells(shown, choice, lines, screen=wide, unpaired=alone, unnumbered=unnumbered)
    judgments = assemble(cells, source=path.as_posix(), order=order, names=known, notes=notes)
    return replace(judgments, source_rows=len(array))


def _numpy(path: Path) -> ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise VidsimError(f"no file {show(path)}") from None
    except Exception as error:  # numpy parses the header as Python, and raises whatever a damaged one makes of that
        raise VidsimError(f"{show(path)} is not an array file: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        kind = getattr(array, "dtype", type(array).__name__)
        raise VidsimError(f"{show(path)} holds values of type {kind}; expected item numbers")
    return np.asarray(array)


def _text(path: Path) -> ndarray:
    rows: list[list[float]] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            number = 0
            while line := file.readline(LINE_LIMIT + 1):
                number += 1
                if len(line) > LINE_LIMIT:
                    raise VidsimError(f"{show(path)} line {number} is longer than {LINE_LIMIT:,} characters")
                cells = line.replace(",", " ").replace(";", " ").split()
                if not cells:
                    continue
                try:
                    rows.append([float(cell) for cell in cells])
                except ValueError:
                    raise VidsimError(
                        f"{show(path)} line {number}: {line.strip()[:60]!r} is no row of item numbers; "
                        "a table with a header is read with --format table"
                    ) from None
                if len(rows[-1]) != len(rows[0]):
                    raise VidsimError(
                        f"{show(path)} line {number} has {len(rows[-1])} numbers, line 1 has {len(rows[0])}; "
                        "expected the same in every line"
                    )
    except FileNotFoundError:
        raise VidsimError(f"no file {show(path)}") from None
    except UnicodeDecodeError:
        raise VidsimError(f"{show(path)} is not text; expected rows of item numbers") from None
    except OSError as error:
        raise VidsimError(f"{show(path)} cannot be read: {error.strerror}") from None
    if not rows:
        raise VidsimError(f"{show(path)} is empty; expected rows of item numbers")
    return np.array(rows)


def _labels(column: ndarray) -> pa.Array:
    """Write item numbers as text; NaN is left empty."""
    values = column.astype(np.float64)
    empty = np.isnan(values)
    return pa.array(np.where(empty, 0, values).astype(np.int64), mask=empty).cast(pa.string())


def _wrong(array: ndarray) -> Bool[ndarray, "t c"]:
    """Tell which values are no item numbers: negative, fractional or beyond what float64 counts; NaN is a gap."""
    values = array.astype(np.float64)
    return ~np.isnan(values) & ((values < 0) | (values != np.floor(values)) | (values > 2**53))


def _pairs(array: ndarray) -> tuple[Int[ndarray, " k"], Int[ndarray, " m"]]:
    """Join comparisons (a, b, odd) and (b, a, odd): rows to keep, one of each pair, and rows without a partner."""
    values = array.astype(np.float64)
    swapped = values[:, 0] > values[:, 1]
    key = np.column_stack([np.sort(values[:, :2], axis=1), values[:, 2]])
    _, group = np.unique(key, axis=0, return_inverse=True)
    order = np.lexsort((np.arange(len(group)), swapped, group))
    ranked, turned = group[order], swapped[order]
    first = np.searchsorted(ranked, ranked, "left")
    plain = np.bincount(group, ~swapped, minlength=group.max(initial=-1) + 1)[ranked].astype(np.int64)
    total = np.bincount(group)[ranked]
    place = np.arange(len(order)) - first
    matched = np.minimum(plain, total - plain)
    place = np.where(turned, place - plain, place)
    kept = order[~turned & (place < matched)]
    alone = order[place >= matched]
    return np.sort(kept), np.sort(alone)
