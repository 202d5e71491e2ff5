"""Embeddings: ids and a matrix, the currency between floors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray

from vidsim.check import refuse_axes
from vidsim.errors import VidsimError

LONG = 1e15
"""Embeddings as long, or no longer than its inverse, are scaled twice, as their squares may leave float32."""


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Hold one embedding per stimulus, together with the stimulus ids.

    Parameters
    ----------
    ids : sequence of str
        One id per row, all distinct.
    matrix : array of shape (n, d)
        Embeddings in model units.

    Raises
    ------
    VidsimError
        If the matrix is no array of two axes, or not of real numbers, or ids repeat or are not as many as rows.

    Examples
    --------
    >>> import numpy as np
    >>> e = Embeddings(("a", "b"), np.array([[3.0, 4.0], [0.0, 2.0]]))
    >>> e.take(["b"]).matrix
    array([[0., 2.]])
    >>> e.unit.matrix[0]
    array([0.6, 0.8])
    """

    ids: Sequence[str]
    matrix: Shaped[ndarray, "n d"]

    def __post_init__(self) -> None:
        refuse_axes("embeddings", self.matrix, "(n, d), one row a stimulus")
        if self.matrix.dtype.kind not in "fiub":
            raise VidsimError(f"embeddings of type {self.matrix.dtype} were given; expected real numbers")
        if len(self.ids) != len(self.matrix):
            raise VidsimError(
                f"{len(self.ids)} ids were given for {len(self.matrix)} embeddings; expected one id a row"
            )
        _ = self.position  # refuses ids that repeat

    @cached_property
    def position(self) -> dict[str, int]:
        """Map each id to its row."""
        return positions(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, ids: Sequence[str]) -> "Embeddings":
        """Select rows by id, in the order asked for.

        Parameters
        ----------
        ids : sequence of str
            Ids to keep.

        Returns
        -------
        Embeddings
            The rows of ``ids``.

        Raises
        ------
        VidsimError
            If an id is not here.
        """
        return Embeddings(tuple(ids), self.matrix[rows_of(ids, self.position, "among the embeddings")])

    @property
    def unit(self) -> "Embeddings":
        """Scale every row to length 1, so that inner products are cosines (Eq. 1)."""
        return Embeddings(self.ids, unit_rows(self.matrix))


def positions(ids: Sequence[str]) -> dict[str, int]:
    """Map each id to its position.

    Parameters
    ----------
    ids : sequence of str
        Ids in order.

    Returns
    -------
    dict of str to int
        In the order of ``ids``.

    Raises
    ------
    VidsimError
        If an id stands twice.

    Examples
    --------
    >>> positions(["a", "b"])
    {'a': 0, 'b': 1}
    """
    found = {name: row for row, name in enumerate(ids)}
    if len(found) != len(ids):
        seen: set[str] = set()
        twice = next(i for i in ids if i in seen or seen.add(i))
        raise VidsimError(f"id {twice!r} stands more than once; expected every id once")
    return found


def rows_of(ids: Sequence[str], position: Mapping[str, int], where: str) -> list[int]:
    """Look ids up.

    Parameters
    ----------
    ids : sequence of str
        Ids wanted.
    position : mapping of str to int
        Position of every known id.
    where : str
        Where they were looked for, such as ``"among the embeddings"``; for the error.

    Returns
    -------
    list of int
        One position per id.

    Raises
    ------
    VidsimError
        If an id is not known.
    """
    missing = [i for i in ids if i not in position]
    if missing:
        raise VidsimError(f"{len(missing)} of {len(ids)} ids are not {where}, the first is {missing[0]!r}")
    return [position[i] for i in ids]


def unit_rows(matrix: Shaped[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """Scale every row to length 1, in at least float32 (Eq. 1).

    Parameters
    ----------
    matrix : array of shape (n, d)
        Rows in any float precision.

    Returns
    -------
    array of shape (n, d)
        Rows of length 1; a zero row stays zero, one that is not finite is NaN.

    Examples
    --------
    >>> import numpy as np
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]])
    """
    rows = matrix.astype(np.promote_types(matrix.dtype, np.float32), copy=False)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite stays so
        made, norms = _divided(rows)
        extreme = ~((norms >= 1 / LONG) & (norms <= LONG))
        if extreme.any():
            few = rows[extreme]
            largest = np.abs(few).max(axis=1, keepdims=True, initial=0)
            made[extreme], _ = _divided(few / np.where(largest == 0, 1, largest))
    return made


def _divided(rows: Float[ndarray, "n d"]) -> tuple[Float[ndarray, "n d"], Float[ndarray, " n"]]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms != 0), norms[:, 0]
