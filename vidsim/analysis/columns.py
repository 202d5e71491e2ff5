"""Columns: many models' pair values, sorted once, and correlated with people's in any number of resamples."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from os import cpu_count

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

BLOCK = 1 << 16
"""Pairs times resamples worked on at a time: what one thread works on fits the processor's cache."""

TOGETHER = 4
"""Resamples worked on at a time where that is more, so that each pair is looked up for several of them."""

LANES = 16
"""Rows that a sorted column is laid out in, so that a running sum becomes additions of rows."""


@dataclass(frozen=True, eq=False)
class Rhos:
    """Hold rank correlations of m columns in some resamples.

    Parameters
    ----------
    spearman : array of shape (r, m)
        Spearman's rho; NaN where people's values, or a column, are constant in a resample.
    rho_a : array of shape (r, m)
        Rho-a; NaN where a resample holds fewer than two pairs.
    """

    spearman: Float[ndarray, "r m"]
    rho_a: Float[ndarray, "r m"]


@dataclass(frozen=True, eq=False)
class _Column:
    """Hold the order of one column's values.

    Parameters
    ----------
    order : array of shape (p,), or of shape (LANES, q) where no values tie
        Positions by increasing value; laid out column by column, and filled with p, in the latter case.
    starts : array of shape (g,), optional
        Where each group of equal values begins; None where no values tie.
    """

    order: Shaped[ndarray, "..."]
    starts: Int[ndarray, " g"] | None


class Scratch:
    """Keep memory from one block of resamples to the next: getting it anew takes as long as the sums."""

    def __init__(self) -> None:
        self._held: dict[str, ndarray] = {}

    def __call__(self, name: str, *shape: int, kind: type = np.float64) -> ndarray:
        """Give an array of this shape, with anything in it, in the memory of this name.

        Parameters
        ----------
        name : str
            Each name has its own memory, and one kind of values.
        *shape : int
            Of the array.
        kind : type
            Of its values.

        Returns
        -------
        array of shape ``shape``
            Overwritten by the next call with the same name.
        """
        size = prod(shape)
        if name not in self._held or self._held[name].size < size:
            self._held[name] = np.empty(size, kind)
        return self._held[name][:size].reshape(shape)


@dataclass(frozen=True, eq=False)
class RankedColumns:
    """Hold the order of the values of each column: ranks in any resample follow from running sums alone.

    Parameters
    ----------
    pairs : int
        Values in each column.
    columns : tuple
        Their orders.
    """

    pairs: int
    columns: tuple[_Column, ...]

    @classmethod
    def of(cls, values: Float[ndarray, "m p"]) -> "RankedColumns":
        """Sort columns.

        Parameters
        ----------
        values : array of shape (m, p)
            One row a column, none of the values NaN.

        Returns
        -------
        RankedColumns
            Of m columns.
        """
        return cls(values.shape[1], tuple(_sorted(row) for row in values))

    def __len__(self) -> int:
        return len(self.columns)

    def correlate(
        self, times: Float[ndarray, "r p"], codes: Int[ndarray, "..."], scratch: Scratch | None = None
    ) -> Rhos:
        """Correlate every column with people's values in each resample, as if the resample were written out.

        Parameters
        ----------
        times : array of shape (r, p)
            How often each pair stands in each resample, 0 or more.
        codes : array of shape (p,) or (r, p)
            People's values, numbered by size; of each resample where those differ. Where ``times`` is 0 anything.
        scratch : Scratch, optional
            Memory to work in, kept from one call to the next; not to be shared by threads.

        Returns
        -------
        Rhos
            For r resamples and m columns.
        """
        space = scratch or Scratch()
        r, p = times.shape
        # resamples lie side by side, so that a pair is looked up once; one more, which never counts, fills the lanes
        weights = space("weights", p + 1, r)
        weights[:p], weights[p] = times.T, 0
        total = weights.sum(axis=0)
        # people's groups of equal values, each in all resamples
        width = int(codes.max(initial=0)) + 1
        own = np.multiply(np.atleast_2d(codes).T, r, out=space("own", p, r, kind=np.intp))
        own += np.arange(r)
        groups = np.bincount(own.ravel(), weights[:p].ravel(), width * r).reshape(width, r)
        groups = groups.astype(np.float64, copy=False)  # of no pairs numpy makes integers
        ranks = np.cumsum(groups, axis=0) - (groups + total) / 2
        spread = total**3 - _cubes(groups)
        products = space("products", p + 1, r)  # people's centred ranks, each as often as its pair counts
        np.take(ranks.ravel(), own, out=products[:p], mode="clip")  # other modes copy
        products[:p] *= weights[:p]
        products[p] = 0
        moments = np.empty((r, len(self)))
        spreads = np.empty((r, len(self)))
        lanes = space("lanes", 2, LANES, -(-p // LANES) * r)
        # a pair's own weight counts half towards its rank: the same for all columns that do not tie
        half = np.einsum("pr,pr->r", weights, products) / 2
        single = total**3 - _cubes(weights, space("squares", p + 1, r))
        for number, column in enumerate(self.columns):
            if column.starts is None:
                moments[:, number] = _moment(weights, products, column.order, lanes) - half
                spreads[:, number] = single
            else:
                groups = np.add.reduceat(weights.take(column.order, axis=0), column.starts, axis=0)
                sums = np.add.reduceat(products.take(column.order, axis=0), column.starts, axis=0)
                moments[:, number] = np.einsum("gr,gr->r", np.cumsum(groups, axis=0) - groups / 2, sums)
                spreads[:, number] = total**3 - _cubes(groups)
        scale = np.sqrt(spread[:, None] * spreads)
        cubes = (total**3 - total)[:, None]
        return Rhos(
            np.divide(12 * moments, scale, out=np.full_like(moments, np.nan), where=scale > 0).clip(-1, 1),
            np.divide(12 * moments, cubes, out=np.full_like(moments, np.nan), where=cubes > 0),
        )


def resample(
    columns: RankedColumns,
    resamples: int,
    draw: Callable[[slice], tuple[Float[ndarray, "b p"], Int[ndarray, "..."]]],
    workers: int | None = None,
) -> Rhos:
    """Correlate columns with people's values in many resamples, in threads.

    Parameters
    ----------
    columns : RankedColumns
        Of m models.
    resamples : int
        How many.
    draw : callable
        Makes the times and codes, as `RankedColumns.correlate` takes them, of a slice of the resamples.
    workers : int, optional
        Threads; as many as processors if left out.

    Returns
    -------
    Rhos
        Of all resamples; the same for any number of threads.
    """
    pairs = max(1, columns.pairs)
    step = max(1, BLOCK // pairs, min(TOGETHER, (1 << 22) // pairs))
    parts = [slice(start, min(start + step, resamples)) for start in range(0, resamples, step)]
    found = Rhos(np.empty((resamples, len(columns))), np.empty((resamples, len(columns))))

    threads = max(1, min(len(parts), workers or cpu_count() or 1))
    idle = [Scratch() for _ in range(threads)]

    def work(part: slice) -> None:
        scratch = idle.pop()
        rhos = columns.correlate(*draw(part), scratch)
        found.spearman[part], found.rho_a[part] = rhos.spearman, rhos.rho_a
        idle.append(scratch)

    _each(work, parts, threads)
    return found


def _each(work: Callable[[slice], None], parts: Sequence[slice], threads: int) -> None:
    if threads == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, parts):
            pass


def _sorted(values: Float[ndarray, " p"]) -> _Column:
    order = np.argsort(values)
    ordered = values[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=np.nan) != 0)  # NaN differs: the first starts a group
    if len(starts) < len(values):
        return _Column(order, starts)
    p = len(values)
    filled = np.full(-(-p // LANES) * LANES, p)
    filled[:p] = order
    return _Column(np.ascontiguousarray(filled.reshape(-1, LANES).T), None)


def _cubes(values: Float[ndarray, "g r"], squares: Float[ndarray, "g r"] | None = None) -> Float[ndarray, " r"]:
    """Return the sum of cubes of each column, the squares left in ``squares``; numpy's power is far slower."""
    return np.einsum("gr,gr->r", np.multiply(values, values, out=squares), values)


def _moment(
    weights: Float[ndarray, "q r"],
    products: Float[ndarray, "q r"],
    order: Int[ndarray, "l k"],
    scratch: Float[ndarray, "2 l kr"],
) -> Float[ndarray, " r"]:
    """Return the sum over pairs, in sorted order, of the running sum of weights times the product."""
    running, sorted_products = scratch
    shape = (*order.shape, weights.shape[1])
    np.take(weights, order, axis=0, out=running.reshape(shape), mode="clip")  # other modes copy
    np.take(products, order, axis=0, out=sorted_products.reshape(shape), mode="clip")
    for lane in range(1, len(order)):
        running[lane] += running[lane - 1]
    sums = np.einsum("lx,lx->x", running, sorted_products)  # no dot product: BLAS would start threads of its own
    last = running[-1].reshape(shape[1:])
    before = np.cumsum(last, axis=0)
    before -= last
    sums += before.ravel() * sorted_products.sum(axis=0)
    return sums.reshape(shape[1:]).sum(axis=0)
