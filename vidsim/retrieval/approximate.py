"""Approximate search with faiss: inverted files, with whole vectors or product codes, and graphs."""

import os
from collections.abc import Callable, Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64
from numpy import ndarray

from vidsim.errors import IndexCorrupted
from vidsim.retrieval import exact
from vidsim.retrieval.flat import Flat
from vidsim.retrieval.gpu import faiss_module, trained_and_filled
from vidsim.retrieval.recall import AT
from vidsim.retrieval.tuning import climb, climb_both

SAMPLE_PER_LIST = 64
"""Rows that an inverted file is trained on, per list."""

LINKS = 32
"""Links of a node of the graph (M)."""

BEAM_AT_BUILD = 200
"""Candidates that the graph keeps while a node is added (efConstruction)."""

BEAM_MOST = 4096
REFINE_MOST = 64
"""Most candidates by product codes, for every result, that are compared by their whole vectors."""

RETRAIN = 2.0
"""A structure that has grown to so many times the rows it was trained on is trained again."""


class Approximate(Flat):
    """Search a faiss structure; whole vectors lie beside it, for exact similarities and to order what codes have found.

    Parameters
    ----------
    kind : {"ivf-flat", "ivf-pq", "hnsw"}
        What the structure is.
    structure : faiss.Index
        Trained and filled, in the order of the rows.
    matrix : array of shape (n, d)
        Unit vectors.
    parameters : mapping
        Of the structure, and of the search: ``nprobe``, of product codes also ``refine``; or ``efSearch``.
    """

    exact = False

    def __init__(
        self, kind: str, structure: Any, matrix: Float32[ndarray, "n d"], parameters: Mapping[str, int]
    ) -> None:
        super().__init__(matrix)
        self.kind = kind
        self.structure = structure
        self.parameters = dict(parameters)

    def nearest(
        self, queries: Float32[ndarray, "q d"], k: int
    ) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
        """Find rows that are probably the most similar; -1 where the search has met fewer."""
        faiss = faiss_module()
        if self.kind == "hnsw":
            how = faiss.SearchParametersHNSW(efSearch=max(self.parameters["efSearch"], k))
        else:
            how = faiss.SearchParametersIVF(nprobe=self.parameters["nprobe"])
        # never fewer candidates than the measured recall was reached with
        wanted = min(len(self), max(k, AT + 1) * self.parameters["refine"]) if self.kind == "ivf-pq" else k
        similarities, rows = self.structure.search(np.ascontiguousarray(queries), wanted, params=how)
        if self.kind == "ivf-pq":
            similarities = _compared(self.matrix, queries, rows)
        rows = np.where(rows < 0, np.iinfo(np.int64).max, rows)
        similarities, rows = exact.top(similarities, rows, k)
        missing = rows == np.iinfo(np.int64).max
        return np.where(missing, np.float32(-np.inf), similarities), np.where(missing, -1, rows)

    def tune(self, holds: Callable[[], bool]) -> bool:
        """Search ever more thoroughly until it suffices, as `tuning.climb` does; from the present parameters upward."""
        if self.kind == "hnsw":
            return climb(self.parameters, "efSearch", min(BEAM_MOST, max(16, len(self))), holds)
        if self.kind == "ivf-flat":
            return climb(self.parameters, "nprobe", self.parameters["nlist"], holds)
        return climb_both(self.parameters, REFINE_MOST, holds)


def build(kind: str, matrix: Float32[ndarray, "n d"], seed: int) -> Approximate:
    """Build a structure over unit vectors, searched as little thoroughly as can be; `Approximate.tune` it.

    Parameters
    ----------
    kind : {"ivf-flat", "ivf-pq", "hnsw"}
        What to build.
    matrix : array of shape (n, d)
        Unit vectors, at least one.
    seed : int
        Seed of the training.

    Returns
    -------
    Approximate
        The structure over the matrix.
    """
    faiss = faiss_module()
    n, d = matrix.shape
    if kind == "hnsw":
        structure = faiss.IndexHNSWFlat(d, LINKS, faiss.METRIC_INNER_PRODUCT)
        structure.hnsw.efConstruction = BEAM_AT_BUILD
        structure.add(np.ascontiguousarray(matrix))
        return Approximate(kind, structure, matrix, {"M": LINKS, "efConstruction": BEAM_AT_BUILD, "efSearch": 16})
    lists = max(1, min(4 * isqrt(n), n // 8))
    coarse = faiss.IndexFlatIP(d)
    parameters = {"nlist": lists, "nprobe": 1, "trained": n}
    if kind == "ivf-pq":
        width, bits = _code(n, d)
        structure = faiss.IndexIVFPQ(coarse, d, lists, d // width, bits, faiss.METRIC_INNER_PRODUCT)
        structure.pq.cp.seed = seed
        structure.pq.cp.min_points_per_centroid = 1
        parameters |= {"m": d // width, "nbits": bits, "refine": 1}
    else:
        structure = faiss.IndexIVFFlat(coarse, d, lists, faiss.METRIC_INNER_PRODUCT)
    structure.cp.seed = seed
    structure.cp.min_points_per_centroid = 1  # else it warns on stderr
    structure.cp.spherical = True
    chosen = np.random.default_rng(seed).permutation(n)[: max(256, SAMPLE_PER_LIST * lists)]
    sample = matrix[np.sort(chosen)]
    if len(sample) < 2:  # fewer than there are codes
        sample = np.repeat(sample, 2, axis=0)
    structure = trained_and_filled(structure, sample, matrix)
    return Approximate(kind, structure, matrix, parameters)


def extend(
    old: Approximate, kept: Bool[ndarray, " old"], matrix: Float32[ndarray, "n d"], seed: int
) -> tuple[Approximate, bool]:
    """Take rows out of a structure and add others, without training it again.

    A graph cannot lose rows, and a structure that has grown to `RETRAIN` times the rows it was trained on, or shrunk by
    that, no longer fits them: these are built anew.

    Parameters
    ----------
    old : Approximate
        What there is; it is used up.
    kept : array of bool
        The rows of ``old`` that stay.
    matrix : array of shape (n, d)
        Unit vectors: those that stay, in their order, and then the new ones.
    seed : int
        Seed, where it is built anew.

    Returns
    -------
    tuple of Approximate and bool
        The structure over the matrix, and whether it had to be built anew.
    """
    trained = old.parameters.get("trained", len(matrix))
    if (old.kind == "hnsw" and not kept.all()) or not RETRAIN * trained >= len(matrix) >= trained / RETRAIN:
        return build(old.kind, matrix, seed), True
    structure = old.structure
    stay = int(kept.sum())
    if not kept.all():
        _remove(structure, kept)
    if old.kind == "hnsw":
        structure.hnsw.efConstruction = BEAM_AT_BUILD
        if stay < len(matrix):
            structure.add(np.ascontiguousarray(matrix[stay:]))
    else:
        structure = trained_and_filled(structure, matrix[:0], matrix[stay:])
    return Approximate(old.kind, structure, matrix, old.parameters), False


def write(path: Path, vectors: Approximate) -> None:
    """Write the structure."""
    faiss_module().write_index(vectors.structure, os.fspath(path))


def read(
    path: Path, kind: str, matrix: Float32[ndarray, "n d"], parameters: Mapping[str, int], *, change: bool = False
) -> Approximate:
    """Read a structure that `write` has written.

    Parameters
    ----------
    path : Path
        The file; may be deleted while it is in use.
    kind : {"ivf-flat", "ivf-pq", "hnsw"}
        What it is.
    matrix : array of shape (n, d)
        Unit vectors.
    parameters : mapping
        Of the structure and the search.
    change : bool
        Read it into memory, so that it can be changed. Otherwise it is memory-mapped.

    Returns
    -------
    Approximate
        The structure over the matrix.

    Raises
    ------
    FileNotFoundError
        If the file is gone.
    IndexCorrupted
        If it is none of faiss's.
    """
    faiss = faiss_module()
    flag = faiss.IO_FLAG_MMAP_IFC if kind == "hnsw" else faiss.IO_FLAG_MMAP
    try:
        structure = faiss.read_index(os.fspath(path), 0 if change else flag)
    except RuntimeError as error:
        if not path.exists():  # a new generation has taken its place since it was checked
            raise FileNotFoundError(path) from error
        raise IndexCorrupted(f"faiss cannot read {path.name!r}: {str(error).splitlines()[0]}; rebuild it") from error
    return Approximate(kind, structure, matrix, parameters)


def _compared(
    matrix: Float32[ndarray, "n d"], queries: Float32[ndarray, "q d"], rows: Int64[ndarray, "q k"]
) -> Float32[ndarray, "q k"]:
    """Compare queries with the whole vectors of candidates; -inf where there is none."""
    similarities = np.empty(rows.shape, np.float32)
    for line, (query, some) in enumerate(zip(queries, rows, strict=True)):
        similarities[line] = np.where(some < 0, np.float32(-np.inf), matrix[some] @ query)
    return similarities


def _code(n: int, d: int) -> tuple[int, int]:
    """Return the width of the parts that have a code each, and the bits of a code.

    Parameters
    ----------
    n, d : int
        Rows and dimensions.

    Returns
    -------
    tuple of int
        A width that divides the dimensions, at most 8, and bits for no more codes than there are rows, at most 8.

    Examples
    --------
    >>> _code(100_000, 768), _code(100, 4732)
    ((8, 8), (7, 6))
    """
    width = next(w for w in range(8, 0, -1) if d % w == 0)
    return width, min(8, max(1, n.bit_length() - 1))


def _remove(structure: Any, kept: Bool[ndarray, " n"]) -> None:
    """Take rows out of an inverted file and number those that stay without gaps, in their order."""
    faiss = faiss_module()
    numbers = np.where(kept, np.cumsum(kept) - 1, -1)
    old = structure.invlists
    new = faiss.ArrayInvertedLists(old.nlist, old.code_size)
    for line in range(old.nlist):
        size = old.list_size(line)
        if not size:
            continue
        rows = numbers[faiss.rev_swig_ptr(old.get_ids(line), size)]
        codes = faiss.rev_swig_ptr(old.get_codes(line), size * old.code_size).reshape(size, old.code_size)
        rows, codes = np.ascontiguousarray(rows[rows >= 0]), np.ascontiguousarray(codes[rows >= 0])
        if len(rows):
            new.add_entries(line, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
    new.this.disown()  # the structure owns it from here
    structure.replace_invlists(new, True)
    structure.ntotal = int(kept.sum())
