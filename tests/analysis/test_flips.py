import numpy as np
import pytest

from vidsim.analysis.flips import flips
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple("abcdefghij")
RNG = np.random.default_rng(0)
A, B = (cosine_rsm(Embeddings(IDS, RNG.normal(size=(10, 4)))) for _ in range(2))
TRIALS = Triplets(IDS, random_rows(10, 300))


def agrees(rsm, row):
    """Tell whether the most similar of the three pairs is the one that people kept together, by names."""
    a, b, odd = (IDS[i] for i in row)
    value = {pair: rsm.take(pair).similarities[0, 1] for pair in ((a, b), (a, odd), (b, odd))}
    return max(value, key=value.get) == (a, b)


def test_flips_are_a_slow_loops():
    found = flips(A, B.take(IDS[::-1]), TRIALS)
    first = [agrees(A, row) for row in TRIALS.rows]
    second = [agrees(B, row) for row in TRIALS.rows]
    assert found.agrees_a.tolist() == first
    assert found.agrees_b.tolist() == second
    pairs = list(zip(first, second, strict=True))
    assert found.counts() == {
        "trials": 300,
        "both": pairs.count((True, True)),
        "neither": pairs.count((False, False)),
        "towards": pairs.count((False, True)),
        "away": pairs.count((True, False)),
    }
    assert sorted(found.towards) == [t for t, pair in enumerate(pairs) if pair == (False, True)]
    change = (found.margin_b - found.margin_a)[found.towards]
    assert (np.diff(change) <= 0).all()
    assert (np.diff((found.margin_a - found.margin_b)[found.away]) <= 0).all()


def test_the_odd_one_is_a_slow_loops():
    found = flips(A, B, TRIALS)
    for rsm, odds in ((A, found.odd_a), (B, found.odd_b)):
        for row, odd in zip(TRIALS.rows, odds, strict=True):
            alone = {k: rsm.similarities[row[k - 1], row[k - 2]] for k in range(3)}  # how alike the other two are
            assert odd == max(alone, key=alone.get)
    np.testing.assert_array_equal(found.odd_a == 2, found.agrees_a)


def test_a_tie_singles_out_nothing():
    tied = RSM(("x", "y", "z"), np.array([[1, 0.5, 0.1], [0.5, 1, 0.5], [0.1, 0.5, 1]]))
    found = flips(tied, tied, Triplets(tied.ids, np.array([[0, 1, 2]])))
    assert (found.odd_a.tolist(), found.margin_a.tolist(), found.counts()["neither"]) == ([-1], [0.0], 1)


def test_a_space_does_not_flip_against_itself_however_it_is_scaled():
    scaled = RSM(IDS, 0.3 * A.similarities + 0.1)
    found = flips(A, scaled, TRIALS)
    assert not len(found.towards)
    assert not len(found.away)
    np.testing.assert_allclose(found.margin_a, found.margin_b)


def test_spaces_that_cannot_judge_are_refused():
    with pytest.raises(VidsimError, match=r"all similarities of a space are equal.*; choose another layer, or matrix"):
        flips(A, RSM(IDS, np.ones((10, 10))), TRIALS)
    holes = A.similarities.copy()
    holes[0, 1] = holes[1, 0] = np.nan
    unknown = sum({0, 1} <= set(row) for row in TRIALS.rows.tolist())
    with pytest.raises(VidsimError, match=f"'holes' has no similarity for some pair of {unknown} of 300 trials"):
        flips(A, RSM(IDS, holes), TRIALS, names=("'a'", "'holes'"))
    with pytest.raises(VidsimError, match="1 of 10 ids are not in the similarity matrix, the first is 'j'"):
        flips(A, B.take(IDS[:9]), TRIALS)
