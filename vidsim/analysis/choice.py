"""Choice: how likely each of three stimuli is the odd one, given how similar they are in pairs."""

import numpy as np
from jaxtyping import Float, Int, Real
from numpy import ndarray

from vidsim.errors import VidsimError

CHUNK = 1 << 16
"""Triplets worked on at a time: what is computed of them stays in the processor's cache."""

BYTES = 1 << 23
"""Vectors of one place in the triplets are gathered in parts of about this size."""

LEAST, MOST = 1e-6, 1e6
"""Legal temperatures: beyond, all differences between similarities are too large, or too small, for float32."""

PAIRS = ((0, 1), (0, 2), (1, 2))
"""Places of the stimuli of each pair in a triplet, in the order of the columns of similarities."""


def odd_probabilities(similarities: Real[ndarray, "t 3"], temperature: float) -> Float[ndarray, "t 3"]:
    """Compute how likely each stimulus of a triplet is the odd one: the softmax of what the other two have in common.

    The odd one is the stimulus outside the most similar pair. A pair is taken for that with a probability proportional
    to the exponential of its similarity over the temperature (Luce 1959, "Individual choice behavior"; so Hebart et al.
    2020, "Revealing the multidimensional mental representations of natural objects underlying human similarity
    judgements", at temperature 1).

    Parameters
    ----------
    similarities : array of shape (t, 3)
        Of the pairs (a, b), (a, c) and (b, c) of each triplet; finite.
    temperature : float
        In the unit of the similarities, 1e-6 to 1e6: the lower, the surer.

    Returns
    -------
    array of shape (t, 3)
        Probabilities that a, b and c are the odd one; they sum to 1. Computed in at least float32, and in the precision
        of the similarities; float64 where these are whole numbers.

    Raises
    ------
    VidsimError
        If the temperature is not such a number, or a similarity is not finite.

    Examples
    --------
    >>> odd_probabilities(np.array([[0.9, 0.1, 0.1], [0.5, 0.5, 0.5]]), 0.5).round(3)
    array([[0.144, 0.144, 0.712],
           [0.333, 0.333, 0.333]])
    """
    check_temperature(temperature)
    kind = similarities.dtype if similarities.dtype.kind == "f" else np.dtype(np.float64)
    precision = np.promote_types(kind, np.float32)
    found = np.empty(similarities.shape, kind)
    scale = precision.type(1 / temperature)
    for start in range(0, len(similarities), CHUNK):
        part = similarities[start : start + CHUNK].T[::-1].astype(precision, copy=False)  # b, c together: a is odd
        if not np.isfinite(part).all():
            raise VidsimError("a similarity is not finite; expected numbers, such as cosines")
        part = (part - np.maximum(np.maximum(part[0], part[1]), part[2])) * scale
        np.exp(part, out=part)
        part /= part[0] + part[1] + part[2]
        found[start : start + CHUNK] = part.T
    return found


def entropy(probabilities: Float[ndarray, "t 3"]) -> Float[ndarray, " t"]:
    """Compute how open choices are: minus the sum of p log p (Shannon 1948), in nats.

    Parameters
    ----------
    probabilities : array of shape (t, 3)
        Rows that sum to 1.

    Returns
    -------
    array of shape (t,)
        From 0, where one is certain, to ln 3 = 1.0986, where all are equally likely. In the precision of the
        probabilities.

    Examples
    --------
    >>> entropy(np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])).round(4)
    array([0.    , 0.6931])
    """
    found = np.empty(len(probabilities), probabilities.dtype)
    least = np.finfo(probabilities.dtype).tiny
    for start in range(0, len(probabilities), CHUNK):
        part = probabilities[start : start + CHUNK].T
        part = part * np.log(np.maximum(part, least))
        found[start : start + CHUNK] = -(part[0] + part[1] + part[2])
    return np.maximum(found, 0, out=found)  # no minus zero


def triplet_similarities(unit: Float[ndarray, "n d"], rows: Int[ndarray, "t 3"]) -> Float[ndarray, "t 3"]:
    """Compute the cosine similarities of the three pairs of triplets (Eq. 1).

    Parameters
    ----------
    unit : array of shape (n, d)
        Vectors of length 1.
    rows : array of shape (t, 3)
        Positions of the stimuli a, b, c of each triplet.

    Returns
    -------
    array of shape (t, 3)
        Of the pairs (a, b), (a, c) and (b, c), in the precision of the vectors.

    Examples
    --------
    >>> triplet_similarities(np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), np.array([[0, 1, 2]]))
    array([[0.6, 0. , 0.8]])
    """
    found = np.empty((len(rows), 3), unit.dtype)
    step = max(1, BYTES // (unit.itemsize * max(1, unit.shape[1])))
    for start in range(0, len(rows), step):
        three = [unit[column] for column in rows[start : start + step].T]
        for pair, (i, j) in enumerate(PAIRS):
            found[start : start + step, pair] = np.einsum("td,td->t", three[i], three[j])
    return found


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is none.

    Parameters
    ----------
    temperature : float
        In the unit of the similarities.

    Raises
    ------
    VidsimError
        If it is not a number from `LEAST` to `MOST`.
    """
    if not LEAST <= temperature <= MOST:
        raise VidsimError(f"the temperature is {temperature:g}: expected a number from {LEAST:g} to {MOST:g}")
