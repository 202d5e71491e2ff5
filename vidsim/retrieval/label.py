"""Labels: the odd-one-out choices that a model predicts, triplet after triplet, in memory that does not grow."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from vidsim.analysis.choice import check_temperature, entropy, odd_probabilities
from vidsim.check import at_least, one_of
from vidsim.data.design.pairs import cover, schoenheim
from vidsim.data.design.sample import Sample
from vidsim.errors import VidsimError
from vidsim.retrieval.triplet_similarity import check_units, triplet_similarities
from vidsim.triplets import repeating

CHUNK = 1 << 20
"""Triplets predicted, and written, at a time."""

POOL = 10
"""Candidates of the design ``uncertain`` for each triplet that it keeps, unless said."""

Design = Literal["random", "covering", "uncertain"]
"""Which triplets are labelled: a simple random sample, a cover of all pairs, or the most uncertain of a random pool."""


@dataclass(frozen=True, eq=False)
class Labels:
    """Hold predicted choices.

    Parameters
    ----------
    rows : array of shape (t, 3)
        Positions of ``(a, b, odd)``: the predicted odd one last, the others in the order of their positions.
    probability : array of shape (t,)
        Of the odd one, 1/3 to 1.
    entropy : array of shape (t,)
        Of the choice among the three, in nats, 0 to ln 3.
    """

    rows: Int[ndarray, "t 3"]
    probability: Float[ndarray, " t"]
    entropy: Float[ndarray, " t"]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Int[ndarray, " k"]) -> "Labels":
        """Select some, in the order asked for."""
        return Labels(self.rows[which], self.probability[which], self.entropy[which])


def predict(vectors: Float[ndarray, "n d"], rows: Int[ndarray, "t 3"], temperature: float) -> Labels:
    """Predict the odd one of triplets: the stimulus outside the most similar pair.

    Parameters
    ----------
    vectors : array of shape (n, d)
        Unit vectors, float32.
    rows : array of shape (t, 3)
        Positions of the stimuli.
    temperature : float
        In the unit of cosines (`vidsim.analysis.choice.odd_probabilities`).

    Returns
    -------
    Labels
        One a triplet, in order. Of stimuli that are equally likely, the first is taken for odd.

    Raises
    ------
    VidsimError
        If the temperature is none, a vector is not of length 1, a position is none of the vectors', or a triplet shows
        a stimulus more than once.

    Examples
    --------
    >>> vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    >>> predict(vectors, np.array([[0, 1, 2]], np.int32), 0.2).rows.tolist()
    [[1, 2, 0]]
    """
    check_units(vectors)
    twice = repeating(rows)
    if len(twice):
        raise VidsimError(
            f"triplet {twice[0]}, {rows[twice[0]].tolist()}, shows a stimulus more than once ({len(twice)} such "
            "triplets); expected three different stimuli"
        )
    return _predict(vectors, rows, temperature)


def _predict(vectors: Float[ndarray, "n d"], rows: Int[ndarray, "t 3"], temperature: float) -> Labels:
    probabilities = odd_probabilities(triplet_similarities(vectors, rows), temperature)
    a, b, c = rows.T
    odd = probabilities.argmax(axis=1)
    ordered = np.empty_like(rows)
    ordered[:, 0] = np.where(odd == 0, b, a)
    ordered[:, 1] = np.where(odd == 2, b, c)
    ordered[:, 2] = np.where(odd == 0, a, np.where(odd == 1, b, c))
    return Labels(ordered, probabilities.max(axis=1), entropy(probabilities))


def label(
    vectors: Float[ndarray, "n d"],
    temperature: float,
    *,
    design: Design = "random",
    count: int | None = None,
    pool: int | None = None,
    seed: int = 0,
) -> Iterator[Labels]:
    """Choose triplets, and predict the odd one of each.

    ``random`` is a simple random sample without replacement of all C(n, 3) triplets, in random order, so that its
    beginning is a smaller sample of the same kind. ``covering`` is the smallest set of triplets that holds every pair
    (`vidsim.data.design.cover`), in random order. ``uncertain`` predicts a random sample of ``pool`` triplets, and
    keeps those ``count`` whose choice has the highest entropy, the most uncertain first; they are no random sample of
    anything.

    Parameters
    ----------
    vectors : array of shape (n, d)
        Unit vectors, float32.
    temperature : float
        In the unit of cosines.
    design : {"random", "covering", "uncertain"}
        Which triplets.
    count : int, optional
        How many; not for ``covering``, which says by itself.
    pool : int, optional
        Candidates of ``uncertain``; `POOL` for each that is kept by default, or all triplets where there are fewer.
    seed : int
        Seed of what is drawn.

    Returns
    -------
    iterator of Labels
        At most `CHUNK` at a time.

    Raises
    ------
    VidsimError
        If there are fewer than three stimuli, not so many triplets, no such design, a number that the design has no use
        for or that is out of range, or a vector that is not of length 1.
    """
    check_temperature(temperature)
    check_design(len(vectors), design, count, pool)
    at_least(0, seed=seed)
    check_units(vectors)
    return _labels(vectors, temperature, design, count, pool, seed)


def _labels(
    vectors: Float[ndarray, "n d"], temperature: float, design: Design, count: int | None, pool: int | None, seed: int
) -> Iterator[Labels]:
    if design == "covering":
        rows = cover(len(vectors), seed)
        for start in range(0, len(rows), CHUNK):
            yield _predict(vectors, rows[start : start + CHUNK], temperature)
        return
    sample = Sample(len(vectors), seed)
    wanted = count or 0
    if design == "random":
        for start in range(0, wanted, CHUNK):
            yield _predict(vectors, sample.part(start, min(start + CHUNK, wanted)), temperature)
        return
    kept = _most_uncertain(vectors, temperature, sample, wanted, pool or min(POOL * wanted, sample.total))
    for start in range(0, wanted, CHUNK):
        yield kept.take(np.arange(start, min(start + CHUNK, wanted)))


def _most_uncertain(
    vectors: Float[ndarray, "n d"], temperature: float, sample: Sample, count: int, pool: int
) -> Labels:
    kept: list[Labels] = []
    for start in range(0, pool, CHUNK):
        kept.append(_predict(vectors, sample.part(start, min(start + CHUNK, pool)), temperature))
        if sum(map(len, kept)) >= 2 * count + CHUNK or start + CHUNK >= pool:
            # by entropy, and where that is equal by the order of the draw
            every = _joined(kept)
            kept = [every.take(np.argsort(-every.entropy, kind="stable")[:count])]
    return kept[0]


def _joined(parts: list[Labels]) -> Labels:
    return Labels(*(np.concatenate([getattr(part, name) for part in parts]) for name in Labels.__dataclass_fields__))


def check_design(n: int, design: Design, count: int | None = None, pool: int | None = None) -> int:
    """Refuse numbers that do not fit a design, before any work is done.

    Parameters
    ----------
    n : int
        Stimuli.
    design : {"random", "covering", "uncertain"}
        Which triplets.
    count, pool : int, optional
        As `label` takes them.

    Returns
    -------
    int
        How many triplets it will have.

    Raises
    ------
    VidsimError
        If there are fewer than three stimuli, not so many triplets, no such design, or a number that the design has no
        use for.
    """
    one_of("design", design, get_args(Design))
    if n < 3:
        raise VidsimError(f"{n} clips make no triplet; expected at least 3")
    total = comb(n, 3)
    if pool is not None and design != "uncertain":
        raise VidsimError(f"a pool is for the design uncertain, not {design}; leave it out")
    if design == "covering":
        if count is not None:
            raise VidsimError("the covering design has as many triplets as it takes; leave their number out")
        return schoenheim(n)
    count = count or 0
    if not 1 <= count <= total:
        raise VidsimError(
            f"{count:,} triplets were asked for; {n:,} clips make {total:,} different ones: expected 1 to that many"
        )
    if pool is not None and not count <= pool <= total:
        raise VidsimError(
            f"a pool of {pool:,} triplets; expected at least the {count:,} to keep and at most the {total:,} there are"
        )
    return count
