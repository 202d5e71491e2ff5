"""Similarities of the pairs of many triplets, read where the vectors lie: nothing is copied together first."""

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

from vidsim.analysis.choice import PAIRS
from vidsim.errors import VidsimError
from vidsim.retrieval import flat
from vidsim.retrieval.gpu import faiss_module

ROUNDING = 2e-3
"""How far from 1 the squared length of a unit vector may be: twice as far as values of float16 are."""


def unit_vectors(matrix: Shaped[ndarray, "n d"], ids: "tuple[str, ...]", whose: str) -> Float[ndarray, "n d"]:
    """Scale embeddings to length 1, in float32, row after row in memory.

    Parameters
    ----------
    matrix : array of shape (n, d)
        Embeddings.
    ids : tuple of str
        Their stimuli.
    whose : str
        Encoder and layer, named in errors.

    Returns
    -------
    array of shape (n, d)
        float32.

    Raises
    ------
    VidsimError
        If some are zero or not finite: they have no direction.

    Examples
    --------
    >>> unit_vectors(np.array([[3.0, 4.0], [0.0, 2.0]]), ("a", "b"), "mine").tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 1.0]]
    """
    found, finite = flat.units(matrix)
    bad = np.flatnonzero(~(finite & found.any(axis=1)))
    if len(bad):
        raise VidsimError(
            f"the embeddings of {len(bad):,} of {len(ids):,} stimuli in {whose} are zero or not finite, the first is "
            f"{ids[bad[0]]!r}; extract them again, or leave them out"
        )
    return found


def check_units(vectors: Float[ndarray, "n d"]) -> None:
    """Refuse vectors that are not of length 1: products of others are no cosines.

    Parameters
    ----------
    vectors : array of shape (n, d)
        One a stimulus.

    Raises
    ------
    VidsimError
        If one is not of length 1, but for rounding in half precision.
    """
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.promote_types(vectors.dtype, np.float32))
    even = np.abs(squares - 1) < ROUNDING
    if not even.all():
        row = int(np.argmin(even))
        directed = vectors[row].any() and np.isfinite(vectors[row]).all()
        what = "scale them, as Embeddings.unit does" if directed else "it has no direction, leave it out"
        raise VidsimError(f"vector {row} has length {np.sqrt(squares[row]):g}: expected vectors of length 1; {what}")


def triplet_similarities(vectors: Float[ndarray, "n d"], rows: Int[ndarray, "t 3"]) -> Float[ndarray, "t 3"]:
    """Compute the cosine similarities of the three pairs of each triplet (Eq. 1).

    Parameters
    ----------
    vectors : array of shape (n, d)
        Unit vectors, float32.
    rows : array of shape (t, 3)
        Positions of the stimuli.

    Returns
    -------
    array of shape (t, 3)
        Of the pairs (a, b), (a, c) and (b, c); float32.

    Raises
    ------
    VidsimError
        If faiss is missing.

    Examples
    --------
    >>> corners = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    >>> triplet_similarities(corners, np.array([[0, 1, 2]])).tolist()
    [[0.0, -1.0, 0.0]]
    """
    faiss = faiss_module()
    if len(rows) and (rows.min() < 0 or rows.max() >= len(vectors)):
        raise VidsimError(f"triplets hold positions {rows.min()} to {rows.max()}; expected 0 to {len(vectors) - 1}")
    # pairs of a triplet one after another: two of their three vectors are in the processor's cache by then
    left, right = (np.ascontiguousarray(rows[:, [pair[side] for pair in PAIRS]], np.int64) for side in (0, 1))
    vectors = np.ascontiguousarray(vectors, np.float32)
    found = np.empty((len(rows), 3), np.float32)
    base, products = faiss.swig_ptr(vectors), faiss.pairwise_indexed_inner_product
    places = (faiss.swig_ptr(left), faiss.swig_ptr(right))
    products(vectors.shape[1], found.size, base, places[0], base, places[1], faiss.swig_ptr(found))
    return found
