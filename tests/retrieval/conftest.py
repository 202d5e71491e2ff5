"""Fixtures for tests of indexes."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from vidsim.embeddings import Embeddings


class Clustered:
    """Vectors round a few centres, with ids, as `build` takes them."""

    def __init__(self, rows, dims=16, seed=0):
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(20, dims))
        self.matrix = (centres[rng.integers(20, size=rows)] + 0.4 * rng.normal(size=(rows, dims))).astype(np.float32)
        self.ids = tuple(f"clip {row}" for row in range(rows))

    def arguments(self, rows=slice(None)):
        """Return what build and refresh take for some of the rows."""
        ids = tuple(np.array(self.ids)[rows].tolist())
        entries = pa.table(
            {"id": ids, "path": [f"/videos/{i}.mp4" for i in ids], "content": [f"hash {i}" for i in ids]}
        )
        return {
            "embeddings": Embeddings(ids, self.matrix[rows]),
            "entries": entries,
            "encoder": "enc",
            "layer": "a.b",
        }

    def nearest(self, row, n, among=None):
        """Sort by cosine similarity with numpy: the ids nearest to a row, itself left out."""
        unit = self.matrix.astype(float) / np.linalg.norm(self.matrix.astype(float), axis=1, keepdims=True)
        cosines = unit @ unit[row]
        cosines[row] = -np.inf
        if among is not None:
            cosines[np.setdiff1d(np.arange(len(unit)), among)] = -np.inf
        return [self.ids[r] for r in np.argsort(-cosines)[:n] if cosines[r] > -np.inf]


@pytest.fixture
def clustered():
    """Return a class that makes clustered vectors."""
    return Clustered


@pytest.fixture
def fake_gpu(monkeypatch):
    """Let faiss pretend to have a GPU; what is done on it is done by numpy and the CPU, and noted in `calls`."""
    import faiss

    gpu = SimpleNamespace(calls=[], refuses=False)

    def knn_gpu(_, queries, matrix, k, metric, **limits):
        assert metric == faiss.METRIC_INNER_PRODUCT
        assert limits.keys() == {"vectorsMemoryLimit", "queriesMemoryLimit"}
        gpu.calls.append("knn_gpu")
        products = queries @ matrix.T
        rows = np.argsort(-products, axis=1)[:, :k]
        return np.take_along_axis(products, rows, axis=1), rows

    def there(_, device, index, options):
        gpu.calls.append(f"to gpu {device}")
        assert options.useFloat16 == isinstance(index, faiss.IndexIVFPQ)
        if gpu.refuses:
            raise RuntimeError("no such sub-quantizers")
        return index

    def back(index):
        gpu.calls.append("to cpu")
        return index

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: None, raising=False)
    monkeypatch.setattr(faiss, "GpuClonerOptions", SimpleNamespace, raising=False)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", there, raising=False)
    monkeypatch.setattr(faiss, "index_gpu_to_cpu", back, raising=False)
    return gpu
