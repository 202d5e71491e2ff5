"""Interop: similarity matrices to and from rsatoolbox, HDF5, .npz and .npy; trials to and from cblearn."""

import io
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.check import one_of
from vidsim.errors import VidsimError
from vidsim.paths import Place, expand
from vidsim.rsm import RSM, square
from vidsim.triplets import Triplets

SUFFIXES = (".h5", ".hdf5", ".npz", ".npy")
"""Files that hold similarity matrices for other programs."""

FORMS = ("list-order", "odd-first")
"""Of trials in an array of cblearn."""

IDS = "conds"
"""What rsatoolbox's own readers call the names of patterns."""

MEASURE = "1 - similarity"


def to_rsatoolbox(rsms: RSM | Sequence[RSM]) -> Any:
    """Turn similarity matrices into an ``rsatoolbox.rdm.RDMs``.

    Parameters
    ----------
    rsms : RSM or sequence of RSM
        One or more, over the same stimuli; they are put in the order of the first.

    Returns
    -------
    rsatoolbox.rdm.RDMs
        Dissimilarities 1 - similarity, NaN where never judged; the ids are the pattern descriptor ``conds``. Counts do
        not go along: rsatoolbox has no place for them that a reordering or selection of patterns would keep right.

    Raises
    ------
    VidsimError
        If rsatoolbox is not installed, or stimuli differ.
    """
    ids, values = _stacked([rsms] if isinstance(rsms, RSM) else rsms)
    made = _imported("rsatoolbox.rdm", "rsatoolbox").RDMs
    return made(values, dissimilarity_measure=MEASURE, pattern_descriptors={IDS: list(ids)})


def from_rsatoolbox(rdms: Any, ids: str | None = None) -> tuple[RSM, ...]:
    """Read the matrices of an ``rsatoolbox.rdm.RDMs``.

    Parameters
    ----------
    rdms : rsatoolbox.rdm.RDMs
        Of any dissimilarity measure: similarity is 1 - dissimilarity, so that `RSM.distances` are those given.
    ids : str, optional
        The pattern descriptor that names the stimuli; needed only where several could. Without any, the index does.

    Returns
    -------
    tuple of RSM
        One for each RDM.

    Raises
    ------
    VidsimError
        If no descriptor, or more than one, names the stimuli.
    """
    return _read(rdms.get_vectors(), rdms.pattern_descriptors, ids, "the RDMs")


def write_rsm(path: Place, rsms: RSM | Sequence[RSM]) -> None:
    """Write similarity matrices for another program, whole or not at all.

    Parameters
    ----------
    path : str or path
        By its suffix: ``.h5`` or ``.hdf5`` as rsatoolbox's ``RDMs.save`` lays it out (`rsatoolbox.rdm.load_rdm` reads
        it; needs h5py); ``.npz`` with the same names, ``dissimilarities`` (k, p) and ``conds``, and ``counts`` (k, p)
        where people judged; ``.npy`` the square matrix of similarities of a single RSM, its ids one a line in a
        ``.txt`` of the same name.
    rsms : RSM or sequence of RSM
        One or more, over the same stimuli.

    Raises
    ------
    VidsimError
        If the suffix is another, stimuli differ, h5py is missing, an id has a line break (``.npy``), or the file cannot
        be written.
    """
    path = expand(path)
    matrices = [rsms] if isinstance(rsms, RSM) else list(rsms)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise VidsimError(f"{_show(path)}: expected a name that ends in {', '.join(SUFFIXES)}")
    ids, values = _stacked(matrices)
    if suffix == ".npy":
        if len(matrices) != 1:
            raise VidsimError(f"{_show(path)} can hold one matrix, {len(matrices)} were given; use .npz or .h5")
        broken = [name for name in ids if name.splitlines() != [name]]
        if broken:
            raise VidsimError(
                f"id {broken[0]!r} does not fit on a line of the .txt beside {_show(path)}; use .npz or .h5"
            )
        _replace(path, _npy(matrices[0].similarities))
        _replace(path.with_suffix(".txt"), "".join(f"{name}\n" for name in ids).encode())
    elif suffix == ".npz":
        arrays: dict[str, Any] = {
            "dissimilarities": values,
            "dissimilarity_measure": np.array(MEASURE),
            IDS: np.array(ids, np.str_),
        }
        if all(rsm.counts is not None for rsm in matrices):
            arrays["counts"] = np.array([rsm.take(ids).upper_counts for rsm in matrices])
        data = io.BytesIO()
        np.savez(data, **arrays)
        _replace(path, data.getvalue())
    else:
        _replace(path, _hdf5(ids, values))


def read_rsm(path: Place, ids: str | None = None) -> tuple[RSM, ...]:
    """Read similarity matrices that another program, or `write_rsm`, has written.

    Parameters
    ----------
    path : str or path
        ``.h5`` or ``.hdf5`` of rsatoolbox, ``.npz`` or ``.npy`` as `write_rsm` lays them out. Pickles are never read:
        save RDMs with ``file_type="hdf5"``.
    ids : str, optional
        For HDF5: the pattern descriptor that names the stimuli, where several could.

    Returns
    -------
    tuple of RSM
        One or more. For HDF5 similarities are 1 - dissimilarity, of whatever measure.

    Raises
    ------
    VidsimError
        If the file is missing, not of that kind, damaged, or not square; or h5py is missing.
    """
    path = expand(path)
    suffix = path.suffix.lower()
    if suffix in {".pkl", ".pickle"}:
        raise VidsimError(f"{_show(path)}: pickles can run any code and are not read; save it with file_type='hdf5'")
    if suffix not in SUFFIXES:
        raise VidsimError(f"{_show(path)}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise VidsimError(f"no file {_show(path)}")
    try:
        if suffix in {".h5", ".hdf5"}:
            return _read_hdf5(path, ids)
        with path.open("rb") as file:  # given a path, numpy leaves damaged archives open
            return (_read_npy(path, file),) if suffix == ".npy" else _read_npz(path, file)
    except VidsimError:
        raise
    except Exception as error:  # a damaged file makes numpy and h5py raise errors of many kinds
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
        raise VidsimError(f"{_show(path)} cannot be read as {suffix}: {reason}") from error


def to_cblearn(triplets: Triplets, form: str = "list-order") -> Int[ndarray, "r 3"]:
    """Turn trials into an array as cblearn takes it.

    Parameters
    ----------
    triplets : Triplets
        Trials.
    form : {"list-order", "odd-first"}
        ``"list-order"``: triplets (anchor, near, far), two a trial: (a, b, odd) and (b, a, odd), one after the other.
        ``"odd-first"``: odd-one-out queries (odd, a, b), as ``cblearn.preprocessing.triplets_from_oddoneout`` takes
        them.

    Returns
    -------
    array of shape (2 t, 3) or (t, 3)
        Positions into ``triplets.ids``.

    Raises
    ------
    VidsimError
        If the form is unknown.

    Examples
    --------
    >>> trials = Triplets(("x", "y", "z"), np.array([[0, 1, 2]]))
    >>> to_cblearn(trials)
    array([[0, 1, 2],
           [1, 0, 2]])
    >>> to_cblearn(trials, "odd-first")
    array([[2, 0, 1]])
    """
    one_of("form", form, FORMS)
    rows = triplets.rows.astype(np.int64)
    return rows[:, [2, 0, 1]] if form == "odd-first" else rows[:, [[0, 1, 2], [1, 0, 2]]].reshape(-1, 3)


def from_cblearn(array: Int[ndarray, "r 3"], ids: Sequence[str], form: str = "list-order") -> Triplets:
    """Turn an array of cblearn into trials.

    Parameters
    ----------
    array : array of shape (r, 3)
        Item numbers from 0.
    ids : sequence of str
        The id of each item number.
    form : {"list-order", "odd-first"}
        As for `to_cblearn`. Of list-order triplets, each (a, b, odd) needs its (b, a, odd), anywhere in the array: one
        alone says less than an odd-one-out trial.

    Returns
    -------
    Triplets
        In the order of the first row of each trial.

    Raises
    ------
    VidsimError
        If the form is unknown, a triplet is without its partner, a number out of range, or a trial shows an item twice.
    """
    one_of("form", form, FORMS)
    if form == "odd-first":
        return Triplets(tuple(ids), array[:, [1, 2, 0]])
    a, b, odd = array.astype(np.int64).T
    turned = a > b
    _, group = np.unique(np.stack([np.minimum(a, b), np.maximum(a, b), odd], axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    alone = np.flatnonzero(np.bincount(group, np.where(turned, -1, 1))[group] != 0)
    if len(alone):
        row = int(alone[0])
        raise VidsimError(
            f"row {row} {tuple(array[row].tolist())} is without its partner "
            f"{(int(b[row]), int(a[row]), int(odd[row]))} ({len(alone)} such rows): expected two rows a trial"
        )
    # the k-th row of each kind makes a trial with the k-th turned the other way
    number = np.arange(len(group))
    order = np.lexsort((number, turned, group))
    kind = 2 * group[order] + turned[order]
    rank = np.empty_like(number)
    rank[order] = number - np.searchsorted(kind, kind, "left")
    pairs = np.lexsort((turned, rank, group)).reshape(-1, 2)
    return Triplets(tuple(ids), array[np.sort(pairs.min(axis=1))])


def _stacked(rsms: Sequence[RSM]) -> tuple[tuple[str, ...], Float[ndarray, "k p"]]:
    if not rsms:
        raise VidsimError("no similarity matrix was given; expected at least one")
    ids = tuple(rsms[0].ids)
    for rsm in rsms[1:]:
        if len(rsm) != len(ids):
            raise VidsimError(
                f"the matrices are over {len(ids)} and {len(rsm)} stimuli; expected the same stimuli in all"
            )
    return ids, 1 - np.array([rsm.take(ids).upper for rsm in rsms], np.float64)


def _read(values: Any, descriptors: Mapping[str, Any], ids: str | None, where: str) -> tuple[RSM, ...]:
    stack = np.atleast_2d(np.asarray(values, np.float64))
    n = round((1 + (1 + 8 * stack.shape[-1]) ** 0.5) / 2)
    if stack.ndim != 2 or n * (n - 1) // 2 != stack.shape[1]:
        raise VidsimError(f"{where} hold dissimilarities of shape {stack.shape}; expected (k, n (n - 1) / 2)")
    names = _named({key: [_text(v) for v in value] for key, value in descriptors.items()}, n, ids, where)
    return tuple(RSM(names, square(1 - row, n, 1.0)) for row in stack)


def _named(descriptors: Mapping[str, list[str]], n: int, ids: str | None, where: str) -> tuple[str, ...]:
    """Choose the descriptor that tells stimuli apart."""
    if ids is not None:
        if ids not in descriptors:
            raise VidsimError(
                f"{where} have no pattern descriptor {ids!r}; there are: {', '.join(descriptors) or 'none'}"
            )
        return tuple(descriptors[ids])
    fit = [key for key, value in descriptors.items() if len(value) == n and len(set(value)) == n and key != "index"]
    if len(fit) > 1 and IDS not in fit:
        raise VidsimError(
            f"{where} have several pattern descriptors that could name the stimuli: {', '.join(fit)}; say which"
        )
    if fit:
        return tuple(descriptors[IDS if IDS in fit else fit[0]])
    return tuple(descriptors.get("index", [str(number) for number in range(n)]))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _hdf5(ids: Sequence[str], values: Float[ndarray, "k p"]) -> bytes:
    h5py = _imported("h5py")
    data = io.BytesIO()
    with h5py.File(data, "w", libver="latest") as file:  # attributes of any size
        file.attrs["rsatoolbox_version"] = "0.3.2"
        file.attrs["dissimilarity_measure"] = MEASURE
        file["dissimilarities"] = values
        file.create_group("descriptors")
        file.create_group("rdm_descriptors")["index"] = np.arange(len(values))
        patterns = file.create_group("pattern_descriptors")
        patterns["index"] = np.arange(len(ids))
        if all(name.isascii() for name in ids):
            patterns[IDS] = np.array(ids, np.bytes_)
        else:  # rsatoolbox takes datasets of text for ASCII, attributes as they are
            patterns.attrs[IDS] = np.array(ids, object)
    return data.getvalue()


def _read_hdf5(path: Path, ids: str | None) -> tuple[RSM, ...]:
    h5py = _imported("h5py")
    with h5py.File(path, "r") as file:
        if "dissimilarities" not in file or "pattern_descriptors" not in file:
            raise VidsimError(f"{_show(path)} holds no RDMs of rsatoolbox; expected 'dissimilarities' and descriptors")
        group = file["pattern_descriptors"]
        descriptors = {key: list(item[()]) for key, item in group.items() if getattr(item, "ndim", 0) == 1}
        descriptors |= {key: list(value) for key, value in group.attrs.items() if np.ndim(value) == 1}
        return _read(file["dissimilarities"][()], descriptors, ids, _show(path))


def _read_npz(path: Path, opened: BinaryIO) -> tuple[RSM, ...]:
    loaded = np.load(opened, allow_pickle=False)
    if isinstance(loaded, ndarray):
        raise VidsimError(f"{_show(path)} is a single array; expected an archive of arrays, or the suffix .npy")
    with loaded as file:
        lacking = {"dissimilarities", IDS} - set(file.files)
        if lacking:
            raise VidsimError(f"{_show(path)} lacks {min(lacking)!r}; it holds: {', '.join(file.files)}")
        rsms = _read(file["dissimilarities"], {IDS: file[IDS]}, IDS, _show(path))
        if "counts" not in file.files:
            return rsms
        counts = file["counts"]
        if counts.shape != file["dissimilarities"].shape or counts.dtype.kind not in "iu":
            raise VidsimError(f"{_show(path)}: counts of shape {counts.shape} and type {counts.dtype} do not fit")
        return tuple(
            RSM(rsm.ids, rsm.similarities, square(count, len(rsm), 0)) for rsm, count in zip(rsms, counts, strict=True)
        )


def _read_npy(path: Path, opened: BinaryIO) -> RSM:
    matrix = np.load(opened, allow_pickle=False)
    if not isinstance(matrix, ndarray):
        raise VidsimError(f"{_show(path)} is an archive of arrays; expected a single one, or the suffix .npz")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.dtype.kind not in "iuf":
        raise VidsimError(
            f"{_show(path)} holds {matrix.dtype} of shape {matrix.shape}; expected a square matrix of numbers"
        )
    return RSM(read_ids(path, len(matrix)), matrix.astype(np.float64))


def read_ids(path: Path, n: int) -> tuple[str, ...]:
    """Read the ids beside an array.

    Parameters
    ----------
    path : Path
        The array's file; the ids stand one a line in a ``.txt`` of the same name.
    n : int
        How many there must be.

    Returns
    -------
    tuple of str
        In the order of the file.

    Raises
    ------
    VidsimError
        If the file is missing, not text, or of another length.
    """
    beside = path.with_suffix(".txt")
    try:
        lines = beside.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise VidsimError(f"no file {_show(beside)}: expected the ids of {_show(path)} there, one a line") from None
    except UnicodeDecodeError:
        raise VidsimError(f"{_show(beside)} is not UTF-8 text; expected one id a line") from None
    ids = tuple(line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines))
    if len(ids) != n:
        raise VidsimError(f"{_show(beside)} holds {len(ids)} ids for {n} rows of {_show(path)}; expected one each")
    return ids


def _npy(matrix: ndarray) -> bytes:
    data = io.BytesIO()
    np.save(data, matrix, allow_pickle=False)
    return data.getvalue()


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        raise VidsimError(f"{_show(path)} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _imported(module: str, package: str | None = None) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        name = package or module
        raise VidsimError(f"this needs {name}, which cannot be imported ({error}): pip install {name}") from error


def _show(path: Path) -> str:
    return repr(path.as_posix())
