"""Spaces in files: similarity matrices and embeddings that were made elsewhere."""

from pathlib import Path

import numpy as np

from vidsim.data.interop import read_ids, read_rsm
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand
from vidsim.rsm import RSM

SPACE_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".csv", ".tsv")


def read_space(path: Place) -> RSM | Embeddings:
    """Read a similarity matrix or embeddings.

    Parameters
    ----------
    path : str or path
        ``.npy``: a symmetric square matrix of similarities, or embeddings, one a row; the ids stand in a ``.txt`` of
        the same name, one a line. ``.npz``: what `vidsim.data.interop.write_rsm` or ``vidsim judgments embed`` writes.
        ``.h5``, ``.hdf5``: RDMs of rsatoolbox, a single one. ``.csv``, ``.tsv``: a square matrix with the ids as
        header, or embeddings with the ids in the first column.

    Returns
    -------
    RSM or Embeddings
        Similarities are 1 on the diagonal.

    Raises
    ------
    VidsimError
        If the file is missing, damaged or of no such kind; holds distances, smallest on the diagonal, where
        similarities are expected; or holds several matrices.
    """
    path = expand(path)
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv"}:
        return _table(path)
    if suffix == ".npy":
        return _array(path)
    if suffix == ".npz" and (found := _embeddings(path)) is not None:
        return found
    rsms = read_rsm(path)
    if len(rsms) != 1:
        raise VidsimError(f"{_show(path)} holds {len(rsms)} matrices; expected one: take one of them, or their mean")
    return rsms[0]


def _array(path: Path) -> RSM | Embeddings:
    from vidsim.data.judgments.matrix import refuse_distances

    try:
        with path.open("rb") as file:
            matrix = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise VidsimError(f"no file {_show(path)}") from None
    except Exception as error:  # a damaged file makes numpy raise errors of many kinds
        raise VidsimError(f"{_show(path)} is not an array file: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "iuf":
        raise VidsimError(f"{_show(path)} does not hold a matrix of numbers; expected similarities or embeddings")
    if matrix.shape[0] == matrix.shape[1] and np.allclose(matrix, matrix.T, rtol=0, atol=1e-6, equal_nan=True):
        values = matrix.astype(np.float64)
        values = (values + values.T) / 2
        refuse_distances(path, values)
        np.fill_diagonal(values, 1.0)
        return RSM(read_ids(path, len(matrix)), values)
    return Embeddings(read_ids(path, len(matrix)), matrix if matrix.dtype.kind == "f" else matrix.astype(np.float64))


def _embeddings(path: Path) -> Embeddings | None:
    """Read the embeddings of an archive that has some."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not {"ids", "embeddings"} <= set(archive.files):
                return None
            ids, matrix = archive["ids"], archive["embeddings"]
    except Exception:  # read as a similarity matrix, it says what is wrong
        return None
    if matrix.ndim != 2 or ids.ndim != 1 or matrix.dtype.kind != "f":
        raise VidsimError(f"{_show(path)} holds {matrix.dtype} of shape {matrix.shape}; expected embeddings, one a row")
    return Embeddings(tuple(ids.astype(np.str_).tolist()), matrix)


def _table(path: Path) -> RSM | Embeddings:
    from vidsim.data.judgments.assemble import numbers
    from vidsim.data.judgments.matrix import looks_like_matrix, read_matrix
    from vidsim.data.judgments.text import read_whole

    source = read_whole(path)
    n, names = len(source.lines), source.header
    first_cells = source.table[names[0]].combine_chunks()
    first = first_cells.to_pylist()
    with_ids = first == names[1:]
    alone = len(names) == n and names[0] != "id" and not source.unnamed and not numbers(first_cells, n)[1].any()
    if looks_like_matrix(names, n) and (with_ids or alone):
        return read_matrix(path, zero="similarity")
    columns = np.empty((n, len(names) - 1))
    for at, name in enumerate(names[1:]):
        column = source.table[name].combine_chunks()
        columns[:, at], bad = numbers(column, n)
        wrong = np.flatnonzero(bad | np.isnan(columns[:, at]))
        if len(wrong):
            raise VidsimError(
                f"{_show(path)} line {source.lines[wrong[0]]}, column {name!r}: {column[int(wrong[0])].as_py()[:40]!r} "
                "is no number; expected a square matrix, or ids in the first column and numbers in the others"
            )
    return Embeddings(tuple(first), columns)


def _show(path: Path) -> str:
    return repr(path.as_posix())
