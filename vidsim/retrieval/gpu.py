"""faiss on a GPU, where faiss-gpu is installed and finds a device."""

import logging
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from vidsim.errors import VidsimError

log = logging.getLogger(__name__)

MOST = 2048
"""Most neighbours that faiss finds on a GPU."""

ROWS_BYTES, QUERIES_BYTES = 1 << 30, 1 << 28
"""Bytes of rows, and of queries with what is found, that are on a GPU at a time."""


def faiss_module() -> ModuleType:
    """Import faiss.

    Returns
    -------
    module
        faiss, of the wheel for CPUs or that for GPUs.

    Raises
    ------
    VidsimError
        If neither is installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise VidsimError("faiss is not installed: pip install 'vidsim[cpu]' (or 'vidsim[gpu]', never both)") from error
    return faiss


def available() -> bool:
    """Tell whether faiss is there and can use a GPU."""
    try:
        faiss = faiss_module()
    except VidsimError:
        return False
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def nearest(
    matrix: Float32[ndarray, "n d"], queries: Float32[ndarray, "q d"], k: int
) -> tuple[Float32[ndarray, "q k"], Int64[ndarray, "q k"]]:
    """Find the rows with the largest inner products, exactly, on a GPU; as `exact.nearest` does."""
    from vidsim.retrieval import exact

    if k > MOST:
        return exact.nearest_among(exact.blocks(matrix), queries, k)
    faiss = faiss_module()
    similarities, rows = faiss.knn_gpu(
        faiss.StandardGpuResources(),
        queries,
        matrix,
        k,
        metric=faiss.METRIC_INNER_PRODUCT,
        vectorsMemoryLimit=ROWS_BYTES,
        queriesMemoryLimit=QUERIES_BYTES,
    )
    return exact.top(np.ascontiguousarray(similarities), np.ascontiguousarray(rows), k)


def trained_and_filled(structure: Any, sample: Float32[ndarray, "s d"], matrix: Float32[ndarray, "n d"]) -> Any:
    """Train an inverted file and add the rows to it, on a GPU where there is one that can.

    Parameters
    ----------
    structure : faiss.IndexIVF
        Untrained and empty, or trained already.
    sample : array of shape (s, d)
        Rows to train on.
    matrix : array of shape (n, d)
        Rows to add, in order.

    Returns
    -------
    faiss.IndexIVF
        Trained and filled, in main memory.
    """
    if available():
        faiss = faiss_module()
        options = faiss.GpuClonerOptions()
        # tables of distances to 96 codes a vector, the most that faiss does there, have room in half precision alone
        options.useFloat16 = isinstance(structure, faiss.IndexIVFPQ)
        try:
            there = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, structure, options)
            _fill(there, sample, matrix)
            return faiss.index_gpu_to_cpu(there)
        except RuntimeError as error:  # a kind or a size that faiss does not do there
            log.info("on the CPU, for faiss says of the GPU: %s", error)
    _fill(structure, sample, matrix)
    return structure


def _fill(structure: Any, sample: Float32[ndarray, "s d"], matrix: Float32[ndarray, "n d"]) -> None:
    if not structure.is_trained:
        structure.train(sample)
    rows = max(1, (1 << 28) // (4 * matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        structure.add(np.ascontiguousarray(matrix[start : start + rows]))
