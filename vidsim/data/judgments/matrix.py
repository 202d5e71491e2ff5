"""Similarity matrices in files: square tables, with unseen pairs as 0, empty cells, or half of the matrix only."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.data.judgments.assemble import numbers
from vidsim.data.judgments.text import Delimited, read_delimited, show
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand
from vidsim.rsm import RSM

ATOL = 1e-9
"""Values that differ by less are the same, written with rounding errors."""


def read_matrix(
    path: Place, *, counts: Place | None = None, zero: str | None = None, ids: Sequence[str] | None = None
) -> RSM:
    """Read a similarity matrix from a CSV or ``.npy`` file.

    A CSV has the ids as header, with or without a column of ids before the rows; separators and decimal commas are
    recognised; of a matrix that is empty below or above its diagonal, the other half is taken. In a ``.npy`` file the
    ids are the numbers from 0 unless given.

    Parameters
    ----------
    path : str or path
        The matrix.
    counts : str or path, optional
        A matrix of the same kind that says how often each pair was judged; it may hold more stimuli. Pairs with count 0
        become NaN: never judged.
    zero : {"unseen", "similarity"}, optional
        What a similarity of 0 means where there are no counts; needed if the matrix holds zeros off its diagonal, since
        released matrices store pairs that nobody judged as 0.
    ids : sequence of str, optional
        Ids of the rows, in their order; by default those of the header.

    Returns
    -------
    RSM
        Similarities and, with ``counts``, counts.

    Raises
    ------
    VidsimError
        If the matrix is not square or symmetric, a cell is no number, ids do not match, what 0 means is not said, or
        it holds distances.
    """
    path = expand(path)
    names, matrix = _matrix(path, ids)
    refuse_distances(path, matrix)
    n = len(names)
    if counts is not None:
        number = _counts(expand(counts), names)
        matrix[(number == 0) & ~np.eye(n, dtype=bool)] = np.nan
        np.fill_diagonal(matrix, 1.0)
        return RSM(names, matrix, number)
    zeros = int((matrix[np.triu_indices(n, 1)] == 0).sum())
    if zeros and zero not in {"unseen", "similarity"}:
        raise VidsimError(
            f"{show(path)} has {zeros} pairs with similarity 0, which may mean never judged or never together: give "
            "the counts (--counts FILE), or say which: --zero unseen or --zero similarity"
        )
    if zero == "unseen":
        matrix[(matrix == 0) & ~np.eye(n, dtype=bool)] = np.nan
    np.fill_diagonal(matrix, 1.0)
    return RSM(names, matrix)


def refuse_distances(path: Path, matrix: Float[ndarray, "n n"]) -> None:
    """Refuse a matrix whose diagonal says that it holds distances, which would turn every result round.

    Parameters
    ----------
    path : Path
        Where it comes from.
    matrix : array of shape (n, n)
        Values as they were written; NaN where there is none.

    Raises
    ------
    VidsimError
        If the diagonal is 0 throughout, or all its values are below all others.
    """
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    diagonal, off = (values[np.isfinite(values)] for values in (matrix.diagonal(), off))
    if not len(diagonal) or not len(off):
        return
    if (np.abs(diagonal) <= ATOL).all() or diagonal.max() < off.min():
        raise VidsimError(
            f"{show(path)} is {_span(diagonal)} on its diagonal and {_span(off)} off it, as distances are; expected "
            "similarities: write 1 - distance, or 1 on a diagonal that only fills the place"
        )


def _span(values: Float[ndarray, " k"]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def looks_like_matrix(header: Sequence[str], rows: int) -> bool:
    """Tell whether a table may be a square matrix: as many columns as rows, perhaps with one of ids before them."""
    return len(header) in {rows, rows + 1}


def _counts(path: Path, names: tuple[str, ...]) -> Int[ndarray, "n n"]:
    known, number = _matrix(path, None)
    place = {name: row for row, name in enumerate(known)}
    absent = [name for name in names if name not in place]
    if absent:
        raise VidsimError(
            f"{show(path)} has no counts for {len(absent)} of {len(names)} ids, the first is {absent[0]!r}"
        )
    rows = [place[name] for name in names]
    number = np.nan_to_num(number[np.ix_(rows, rows)])
    if (number < 0).any() or (number != np.floor(number)).any():
        raise VidsimError(f"{show(path)} holds values that are no counts; expected whole numbers of at least 0")
    np.fill_diagonal(number, 0)
    return number.astype(np.int64)


def _matrix(path: Path, ids: Sequence[str] | None) -> tuple[tuple[str, ...], Float[ndarray, "n n"]]:
    if path.suffix.lower() == ".npy":
        names, matrix = _array(path, ids)
    else:
        source = read_delimited(path)
        if source.ragged:
            raise VidsimError(
                f"{show(path)} line {source.ragged[0][0]} has not the {len(source.header)} cells of the header"
            )
        names, matrix = _table(source)
        names = names if ids is None else tuple(ids)
    n = len(names)
    if matrix.shape != (n, n):
        raise VidsimError(
            f"{show(path)} holds {matrix.shape[0]} rows of {matrix.shape[1]} values for {n} ids; "
            "expected a square matrix"
        )
    return names, _symmetric(path, names, matrix)


def _array(path: Path, ids: Sequence[str] | None) -> tuple[tuple[str, ...], ndarray]:
    try:
        matrix = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise VidsimError(f"no file {show(path)}") from None
    except Exception as error:  # numpy parses the header as Python, and raises whatever a damaged one makes of that
        raise VidsimError(f"{show(path)} is not an array file: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "iuf":
        raise VidsimError(f"{show(path)} does not hold a matrix of numbers")
    return tuple(ids) if ids is not None else tuple(str(i) for i in range(len(matrix))), matrix.astype(np.float64)


def _table(source: Delimited) -> tuple[tuple[str, ...], Float[ndarray, "r c"]]:
    """Read the values of a square table; its first column may hold the ids."""
    names = list(source.header)
    columns = [source.table[name] for name in names]
    first = columns[0].to_pylist()
    if len(names) == len(source.lines) + 1 and (source.unnamed or first == names[1:]):
        listed, names, columns = first, names[1:], columns[1:]
        if listed != names:
            where = next(row for row, (a, b) in enumerate(zip(listed, names, strict=True)) if a != b)
            raise VidsimError(
                f"{show(source.path)} line {source.lines[where]}: the row is of {listed[where]!r}, the column of "
                f"{names[where]!r}; expected rows and columns in the same order"
            )
    matrix = np.empty((len(source.lines), len(names)))
    for at, column in enumerate(columns):
        values, bad = numbers(column.combine_chunks(), len(column))
        text = column.to_pylist()
        wrong = [row for row in np.flatnonzero(bad) if text[row].lower() not in {"nan", "na", "null", "none"}]
        if wrong:
            raise VidsimError(
                f"{show(source.path)} line {source.lines[wrong[0]]}, column {names[at]!r}: {text[wrong[0]][:40]!r} is "
                "no number"
            )
        matrix[:, at] = values
    return tuple(names), matrix


def _symmetric(path: Path, names: Sequence[str], matrix: Float[ndarray, "n n"]) -> Float[ndarray, "n n"]:
    """Complete a matrix of which one half is empty (NaN, or all 0), and refuse one whose halves differ."""
    lower, upper = np.tril_indices(len(matrix), -1), np.triu_indices(len(matrix), 1)
    for full, empty in ((lower, upper), (upper, lower)):
        blank = np.isnan(matrix[empty]) | (matrix[empty] == 0)
        if blank.all() and not (np.isnan(matrix[full]) | (matrix[full] == 0)).all():
            matrix = matrix.copy()
            matrix[empty[0], empty[1]] = matrix.T[empty[0], empty[1]]
            return matrix
    differ = np.argwhere(~np.isclose(matrix, matrix.T, rtol=0, atol=ATOL, equal_nan=True))
    if len(differ):
        i, j = differ[0]
        raise VidsimError(
            f"{show(path)} is not symmetric: {names[i]!r} with {names[j]!r} is {matrix[i, j]:g}, the other way round "
            f"{matrix[j, i]:g}; expected a symmetric matrix, or one half of it"
        )
    return (matrix + matrix.T) / 2
