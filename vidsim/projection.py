"""Sparse random projection: one seeded matrix per input width, the same for every clip, batch, split and machine.

The matrix is very sparse (Li, Hastie & Church 2006; density 1/sqrt(d)) and stratified: a row has exactly
k = round(sqrt(d)) entries, one in each of k consecutive strata of the features, every one at a random place of its
stratum and with a random sign. The strata of a row begin at a random feature and wrap around, so that each feature
is drawn with probability k/d exactly (up to the 32 random bits), and never twice by a row. Signs are independent, so
E|Rx|^2 = |x|^2 for every x as for independent (Bernoulli) entries; and as two features are drawn together no more
often than independently (but for the rounding of the strata's widths), distances scatter no more than there.

The bits come from numpy's Philox in its raw form, which is the same in every version and on every machine
(distributions are not), and only integer arithmetic follows. Every output is the float32 sum of its k entries in the
order of the strata; as the entries are +1 or -1 and the scale is applied afterwards, nothing is left to fused
multiplications or to the order of threads.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, Int8, Int32
from numpy import ndarray

from vidsim.errors import VidsimError

if TYPE_CHECKING:
    import torch

MATRIX_VERSION = 1
"""Raised whenever a seed comes to mean another matrix."""

ROWS_AT_ONCE = 64  # keeps the random bits of a step in the processor's cache
ROWS_WIDENED = 512  # signs of so many rows are widened to float32 at a time
MOST_FEATURES = 2**31 - 1


def johnson_lindenstrauss_dims(n: int, eps: float = 0.1) -> int:
    """Return the dimension that keeps distances among n points within 1 +- eps (Dasgupta & Gupta 2003, Theorem 2.1).

    Parameters
    ----------
    n : int
        Number of points, at least 1.
    eps : float
        Largest relative distortion of a squared distance, between 0 and 1.

    Returns
    -------
    int
        Dimension that suffices with high probability, whatever the width of the input.

    Raises
    ------
    VidsimError
        If ``n`` or ``eps`` is out of range.

    Examples
    --------
    >>> [johnson_lindenstrauss_dims(n) for n in (50, 200, 250)]
    [3353, 4541, 4732]
    """
    if n < 1:
        raise VidsimError(f"expected at least 1 point for a projection, got {n}")
    if not 0 < eps < 1:
        raise VidsimError(f"expected a distortion between 0 and 1, got {eps}")
    return int(4 * math.log(n) / (eps**2 / 2 - eps**3 / 3))


class SparseProjection:
    """Project features with a seeded sparse matrix (Li, Hastie & Church 2006).

    Parameters
    ----------
    n_features : int
        Width of the input, from 1 to 2^31 - 1.
    n_components : int
        Width of the output, at least 1; the default serves 250 points at eps = 0.1.
    seed : int
        Seed of the matrix, from 0 to 2^64 - 1.

    Attributes
    ----------
    indices : array of shape (n_components, k)
        Features drawn by each row, k = round(sqrt(n_features)), by stratum.
    signs : array of shape (n_components, k), int8
        Sign of each entry, +1 or -1.
    scale : float
        Size of an entry: sqrt(n_features / k) / sqrt(n_components).

    Raises
    ------
    VidsimError
        If a width or the seed is out of range.
    """

    def __init__(self, n_features: int, n_components: int = 4732, seed: int = 0) -> None:
        if not 1 <= n_features <= MOST_FEATURES:
            raise VidsimError(f"expected between 1 and {MOST_FEATURES} features to project, got {n_features}")
        if n_components < 1:
            raise VidsimError(f"expected at least 1 dimension to project to, got {n_components}")
        if not 0 <= seed < 2**64:
            raise VidsimError(f"expected a projection seed between 0 and 2^64 - 1, got {seed}")
        self.n_features = n_features
        self.n_components = n_components
        self.seed = seed
        self.indices, self.signs = _draw(n_features, n_components, seed)
        self.scale = math.sqrt(n_features / (self.indices.shape[1] * n_components))
        self._placed: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def project(self, features: "torch.Tensor") -> "torch.Tensor":
        """Project a batch on the device where it lies; gradients are not followed.

        Parameters
        ----------
        features : tensor of shape (b, n_features)
            Any real type and strides; computed in float32.

        Returns
        -------
        tensor of shape (b, n_components), float32
            Each row equal bit for bit whatever the other rows of the batch.

        Raises
        ------
        VidsimError
            If the features have another shape.
        """
        import torch
        from torch.nn.functional import embedding_bag

        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise VidsimError(
                f"expected features of shape (batch, {self.n_features}), got {tuple(features.shape)}; "
                "make the projection for the width of the layer"
            )
        if not len(features):
            return features.new_zeros((0, self.n_components), dtype=torch.float32)
        with torch.no_grad():
            # a feature's values lie together for the whole batch, so that each entry of the matrix costs one short read
            columns = torch.empty(features.shape[::-1], dtype=torch.float32, device=features.device)
            columns.copy_(features.T)
            indices, signs = self._on(features.device)
            # signs are kept as bytes; on the CPU, widening a few rows at a time keeps memory at a byte a sign
            at_once = ROWS_WIDENED if features.device.type == "cpu" else self.n_components
            sums = [
                embedding_bag(drawn, columns, mode="sum", per_sample_weights=sign.float())
                for drawn, sign in zip(indices.split(at_once), signs.split(at_once), strict=True)
            ]
            return torch.cat(sums).mul_(self.scale).T.contiguous()

    def transform(self, features: Float[ndarray, "b d"]) -> Float32[ndarray, "b k"]:
        """Project a batch of numpy rows; see ``project``.

        Parameters
        ----------
        features : array of shape (b, n_features)
            Any float precision; computed in float32.

        Returns
        -------
        array of shape (b, n_components)
            The projected rows.
        """
        import torch

        return self.project(torch.from_numpy(np.require(features, requirements=["C", "W"]))).numpy()

    def toarray(self) -> Float32[ndarray, "k d"]:
        """Return the matrix in full, for small widths.

        Returns
        -------
        array of shape (n_components, n_features)
            Zeros, and entries of +-scale.
        """
        full = np.zeros((self.n_components, self.n_features), np.float32)
        np.put_along_axis(full, self.indices.astype(np.int64), self.signs * np.float32(self.scale), axis=1)
        return full

    def _on(self, device: "torch.device") -> "tuple[torch.Tensor, torch.Tensor]":
        import torch

        key = str(device)
        if key not in self._placed:
            self._placed[key] = (
                torch.from_numpy(self.indices).to(device),
                torch.from_numpy(self.signs).to(device),
            )
        return self._placed[key]


@lru_cache(maxsize=64)  # more than any network has widths: they come round with every clip
def projection(n_features: int, n_components: int = 4732, seed: int = 0) -> SparseProjection | None:
    """Return the projection for a width, made once.

    Parameters
    ----------
    n_features : int
        Width of the layer.
    n_components : int
        Width wanted, at least 1.
    seed : int
        Seed of the matrix.

    Returns
    -------
    SparseProjection or None
        None where the layer is not wider than wanted: it passes through unchanged.
    """
    return SparseProjection(n_features, n_components, seed) if n_features > n_components else None


def _draw(n_features: int, rows: int, seed: int) -> tuple[Int32[ndarray, "n k"], Int8[ndarray, "n k"]]:
    """Draw features and signs of all rows from 32-bit words: one to place the strata, then one for each entry."""
    k = round(math.sqrt(n_features))
    edges = np.arange(k + 1, dtype=np.uint64) * np.uint64(n_features) // np.uint64(k)
    starts, widths = edges[:-1].astype(np.uint32), np.diff(edges)
    d = np.uint32(n_features)
    words = np.random.Philox(key=np.array([seed, n_features], np.uint64))
    indices = np.empty((rows, k), np.uint32)
    signs = np.empty((rows, k), np.int8)
    for first in range(0, rows, ROWS_AT_ONCE):
        chunk = slice(first, min(first + ROWS_AT_ONCE, rows))
        n = (chunk.stop - first) * (k + 1)
        raw = words.random_raw((n + 1) // 2).astype("<u8", copy=False).view("<u4")[:n].reshape(-1, k + 1)
        shift = (raw[:, :1].astype(np.uint64) * np.uint64(n_features) >> np.uint64(32)).astype(np.uint32)
        bits = raw[:, 1:]
        np.subtract((bits & np.uint32(1)) * np.uint32(2), np.uint32(1), out=signs[chunk], casting="unsafe")
        within = ((bits >> np.uint32(1)).astype(np.uint64) * widths >> np.uint64(31)).astype(np.uint32)
        placed = within + starts + shift
        # modulo n_features: where nothing is to be taken away, the unsigned difference wraps to a large number
        np.minimum(placed, placed - d, out=indices[chunk])
    return indices.view(np.int32), signs
