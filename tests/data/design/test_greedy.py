from itertools import combinations
from math import comb

import numpy as np
import pytest

from vidsim.data.design import greedy_cover, pairs_covered, schoenheim
from vidsim.data.design.greedy import LARGEST_GREEDY, _Uncovered, holds
from vidsim.errors import VidsimError


def algorithm_1(n: int, seed: int, pool: int) -> np.ndarray:
    """Follow the paper's listing line by line; a pool without use is drawn again."""
    rng = np.random.default_rng(seed)
    triplets = np.array(list(combinations(range(n), 3)))
    uncovered = np.triu(np.ones((n, n), int), 1)
    taken = []
    while uncovered.any():
        candidates = triplets[rng.choice(len(triplets), min(len(triplets), pool), replace=False)]
        i, j, k = candidates.T
        gain = uncovered[i, j] + uncovered[i, k] + uncovered[j, k]
        best = gain.argmax()
        if gain[best] == 0:
            continue
        i, j, k = candidates[best]
        uncovered[i, j] = uncovered[i, k] = uncovered[j, k] = 0
        taken.append(candidates[best])
    return np.array(taken)


def gains(rows) -> np.ndarray:
    """Count the triplets that covered one, two and three pairs anew."""
    seen: set[tuple[int, int]] = set()
    numbers = [0, 0, 0]
    for row in rows.tolist():
        new = set(combinations(row, 2)) - seen
        assert new, "a triplet covered nothing"
        numbers[len(new) - 1] += 1
        seen |= new
    return np.array(numbers)


@pytest.mark.parametrize(("n", "pool"), [(12, 10_000), (12, 5), (14, 40), (11, 1)])
def test_triplets_are_as_many_as_the_listing_takes(n, pool):
    runs = 150
    ours = np.array([gains(greedy_cover(n, seed, pool)) for seed in range(runs)])
    theirs = np.array([gains(algorithm_1(n, seed, pool)) for seed in range(runs)])
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / runs)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 4 * error + 1e-9).all()
    np.testing.assert_allclose(ours.std(axis=0), theirs.std(axis=0), rtol=0.3, atol=0.2)


def test_each_next_triplet_is_as_likely_as_in_the_listing():
    # with 5 stimuli and a pool of 4 the second triplet covers three, two or one pair anew, by chance
    runs = 1500
    tallies = []
    for method in (greedy_cover, algorithm_1):
        seconds = [tuple(np.sort(method(5, seed, 4), axis=1)[1].tolist()) for seed in range(runs)]
        tallies.append(np.array([seconds.count(t) for t in combinations(range(5), 3)]))
    assert (tallies[0] > 0).all()
    assert (np.abs(tallies[0] - tallies[1]) < 4.5 * np.sqrt(tallies[0] + tallies[1])).all()


@pytest.mark.parametrize("taken", [0, 3, 5, 8])
def test_triplets_are_counted_by_gain_and_drawn_evenly(taken):
    n, draws = 7, 2000
    graph = _Uncovered(n, np.random.default_rng(taken).random)
    uncovered = set(combinations(range(n), 2))
    for row in greedy_cover(n, seed=taken)[:taken].tolist():
        graph.cover(*row)
        uncovered -= set(combinations(row, 2))
    by_gain = {gain: [] for gain in (3, 2, 1, 0)}
    for triplet in combinations(range(n), 3):
        by_gain[len(set(combinations(triplet, 2)) & uncovered)].append(triplet)
    assert graph.by_gain() == tuple(len(by_gain[gain]) for gain in (3, 2, 1))
    for gain in (3, 2, 1):
        expected = draws / max(1, len(by_gain[gain]))
        drawn = [tuple(sorted(graph.draw(gain))) for _ in range(draws)] if by_gain[gain] else []
        assert set(drawn) == set(by_gain[gain])
        assert all(abs(drawn.count(triplet) - expected) < 5 * expected**0.5 for triplet in by_gain[gain])


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 20, 41, 60])
def test_every_pair_is_covered_and_no_triplet_is_wasted(n):
    rows = greedy_cover(n, seed=1)
    assert pairs_covered(rows, n) == comb(n, 2)
    assert gains(rows).sum() == len(rows) >= schoenheim(n)
    assert (np.diff(rows, axis=1) > 0).all()
    np.testing.assert_array_equal(rows, greedy_cover(n, seed=1))


@pytest.mark.parametrize(
    ("count", "total", "pool"),
    [(1, 10, 1), (3, 10, 4), (7, 10, 4), (0, 9, 3), (2, 900, 5), (5, 2e6, 10_000), (8, 8, 3)],
)
def test_the_probability_that_a_pool_holds_one(count, total, pool):
    total = int(total)
    assert holds(count, total, pool) == pytest.approx(1 - comb(total - count, pool) / comb(total, pool), rel=1e-5)


def test_a_single_triplet_among_very_many_keeps_its_probability():
    assert holds(1, 10**12, 10_000) == pytest.approx(1e-8, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "pool", "message"),
    [
        (2, 5, "a design of 2 stimuli"),
        (5, 0, "a pool of 0 candidates"),
        (LARGEST_GREEDY + 1, 5, "5,001 stimuli take the greedy method too long"),
    ],
)
def test_what_cannot_be_made_is_refused(n, pool, message):
    with pytest.raises(VidsimError, match=message):
        greedy_cover(n, 0, pool)


def test_a_seed_below_0_is_refused():
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        greedy_cover(9, -1)
