from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import entropy as scipys_entropy
from scipy.stats import spearmanr

from vidsim.analysis import active
from vidsim.analysis.active import (
    fit_temperature,
    judged_counts,
    next_triplets,
    odd_probabilities,
    uncertainty_of,
)
from vidsim.analysis.ordinal.embedding import fit
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets, pair_index

from judges import random_rows

NOTHING = np.empty((0, 3), np.int32)


def model(n, dims=4, seed=0):
    points = np.random.default_rng(seed).standard_normal((n, dims))
    return cosine_rsm(Embeddings(tuple(map(str, range(n))), points))


def judge(rsm, rows, temperature, rng):
    a, b, c = rows.T
    s = rsm.similarities
    odds = np.stack([s[b, c], s[a, c], s[a, b]], axis=1) / temperature
    odd = (odds + rng.gumbel(size=odds.shape)).argmax(axis=1)
    return np.take_along_axis(rows, (odd[:, None] + [1, 2, 0]) % 3, axis=1).astype(np.int32)


def worth_by_loops(rsm, judged, weight, temperature):
    """Return what each triplet that was not judged is worth, by loops."""
    done = {frozenset(row) for row in judged.rows.tolist()}
    counts = dict.fromkeys(combinations(range(len(rsm)), 2), 0)
    for row in judged.rows.tolist():
        for pair in combinations(sorted(row), 2):
            counts[pair] += 1
    found = {}
    for i, j, k in combinations(range(len(rsm)), 3):
        if frozenset((i, j, k)) not in done:
            s = rsm.similarities
            p = softmax(np.array([s[j, k], s[i, k], s[i, j]]) / temperature)
            thin = np.mean([1 / (1 + counts[pair]) for pair in combinations((i, j, k), 2)])
            found[i, j, k] = weight * scipys_entropy(p, base=3) + (1 - weight) * thin
    return found, counts


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_each_is_the_best_of_all_that_are_left(weight):
    rsm = model(9)
    rows = random_rows(9, 30)
    chosen = next_triplets(rsm, Triplets(rsm.ids, rows), 12, temperature=0.3, uncertainty_weight=weight)
    for triplet in chosen:
        worth, _ = worth_by_loops(rsm, Triplets(rsm.ids, rows), weight, 0.3)
        assert worth[tuple(sorted(triplet.tolist()))] == pytest.approx(max(worth.values()), abs=1e-12)
        rows = np.concatenate([rows, triplet[None].astype(np.int32)])  # judged, as far as coverage goes


@pytest.mark.parametrize("n", [12, 150])  # all candidates; a pool of them
def test_nothing_is_judged_twice(n):
    rsm = model(n)
    judged = Triplets(rsm.ids, random_rows(n, 150))
    chosen = next_triplets(rsm, judged, 100, pool=5000, seed=1)
    sets = {frozenset(row) for row in chosen.tolist()}
    assert len(sets) == len(chosen) == 100
    assert all(len(row) == 3 for row in sets)
    assert not sets & {frozenset(row) for row in judged.rows.tolist()}
    again = next_triplets(rsm, judged, 100, pool=5000, seed=1)
    np.testing.assert_array_equal(chosen, again)
    assert not np.array_equal(chosen, next_triplets(rsm, judged, 100, pool=5000, seed=2))


def test_the_last_ones_are_found():
    rsm = model(20)
    every = np.array(list(combinations(range(20), 3)), np.int32)
    judged = Triplets(rsm.ids, np.random.default_rng(0).permutation(every)[:-7])
    chosen = next_triplets(rsm, judged, 7, pool=10)  # far fewer candidates than triplets
    assert {frozenset(row) for row in chosen.tolist()} == {frozenset(row) for row in every.tolist()} - {
        frozenset(row) for row in judged.rows.tolist()
    }
    with pytest.raises(VidsimError, match="8 triplets were asked for, but only 7 of 1140 are not judged yet"):
        next_triplets(rsm, judged, 8)


def test_a_batch_covers_more_pairs_than_chance():
    rsm = model(40)
    new = {}
    for weight in (0.0, 0.25, 1.0, None):
        rows = random_rows(40, 60, 1)
        before = judged_counts(rsm, Triplets(rsm.ids, rows))
        if weight is None:
            batch = random_rows(40, 120, 2)
        else:
            batch = next_triplets(rsm, Triplets(rsm.ids, rows), 120, temperature=0.2, uncertainty_weight=weight)
        after = judged_counts(rsm, Triplets(rsm.ids, np.concatenate([rows, batch.astype(np.int32)])))
        new[weight] = ((before == 0) & (after > 0)).sum()
        if weight == 1.0:
            uncertain = uncertainty_of(odd_probabilities(rsm, batch, 0.2)).min()
    assert new[0.0] > 0.97 * 360  # three new pairs each, but for a few
    assert new[0.25] > 1.2 * new[None]
    assert new[1.0] < new[0.25]
    assert uncertain > np.percentile(uncertainty_of(odd_probabilities(rsm, random_rows(40, 500, 3), 0.2)), 95)


def test_thin_pairs_are_among_the_candidates_of_many_stimuli():
    rsm = model(120)
    shown = np.array([row for row in combinations(range(120), 3) if row[:2] != (3, 7)])
    rows = shown[np.random.default_rng(0).permutation(len(shown))[:60_000]].astype(np.int32)
    counts = judged_counts(rsm, Triplets(rsm.ids, rows))
    lone = pair_index(np.array([3]), np.array([7]), 120)[0]
    assert counts[lone] < counts.min(where=np.arange(len(counts)) != lone, initial=99)
    best = next_triplets(rsm, Triplets(rsm.ids, rows), 1, pool=2000, uncertainty_weight=0.0)[0]
    assert {3, 7} <= set(best.tolist())


def test_screen_order_and_equal_candidates_are_left_to_chance():
    same = RSM(tuple(map(str, range(30))), np.ones((30, 30)))
    chosen = next_triplets(same, Triplets(same.ids, NOTHING), 140, seed=0)
    assert len(set(chosen[:, 0].tolist())) > 20
    assert 0.2 < (chosen[:, 0] < chosen[:, 1]).mean() < 0.8


def test_stimuli_meet_by_id():
    rsm = RSM(("d", "c", "b", "a"), np.eye(4))
    judged = Triplets(("x", "a", "b", "c"), np.array([[1, 2, 3], [0, 1, 2], [0, 2, 1]], np.int32))
    counts = judged_counts(rsm, judged)
    i, j = np.triu_indices(4, 1)
    named = {frozenset((rsm.ids[p], rsm.ids[q])): int(c) for p, q, c in zip(i, j, counts, strict=True)}
    expected = {"ab": 3, "ac": 1, "bc": 1, "ad": 0, "bd": 0, "cd": 0}
    assert named == {frozenset(pair): count for pair, count in expected.items()}
    chosen = next_triplets(rsm, judged, 3)
    assert {frozenset(rsm.ids[k] for k in row) for row in chosen.tolist()} == set(map(frozenset, ("abd", "acd", "bcd")))


def test_probabilities_are_a_softmax():
    rsm = model(7)
    rows = random_rows(7, 20)
    expected = [
        softmax([rsm.similarities[j, k] / 0.4, rsm.similarities[i, k] / 0.4, rsm.similarities[i, j] / 0.4])
        for i, j, k in rows
    ]
    found = odd_probabilities(rsm, rows, 0.4)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(uncertainty_of(found), [scipys_entropy(p, base=3) for p in expected], rtol=1e-12)
    np.testing.assert_allclose(odd_probabilities(rsm, rows, float("inf")), 1 / 3)
    sure = odd_probabilities(rsm, rows, 1e-300)
    assert (sure.max(axis=1) == 1).all()
    assert (uncertainty_of(sure) == 0).all()


def test_unknown_similarities_are_uncertain():
    rsm = RSM(("a", "b", "c", "d"), np.array([[1, np.nan, 0, 0], [np.nan, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]))
    found = odd_probabilities(rsm, np.array([[0, 1, 2], [1, 2, 3]]), 0.1)
    np.testing.assert_allclose(found[0], 1 / 3)
    assert found[1].max() > 0.9
    assert next_triplets(rsm, Triplets(rsm.ids, NOTHING), 4).shape == (4, 3)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
def test_the_temperature_of_simulated_judges_is_found(temperature):
    rsm = model(30)
    rows = judge(rsm, random_rows(30, 20_000), temperature, np.random.default_rng(0))
    assert fit_temperature(rsm, Triplets(rsm.ids, rows)) == pytest.approx(temperature, rel=0.1)


def test_the_temperature_has_the_highest_likelihood():
    rsm = model(10)
    rows = judge(rsm, random_rows(10, 200), 0.5, np.random.default_rng(0))

    def surprise(temperature):
        return -np.log(odd_probabilities(rsm, rows, temperature)[:, 2]).sum()

    best = minimize_scalar(surprise, bounds=(0.01, 10), method="bounded", options={"xatol": 1e-8}).x
    assert fit_temperature(rsm, Triplets(rsm.ids, rows)) == pytest.approx(best, rel=1e-4)


def test_temperature_without_anything_to_learn_from(monkeypatch):
    rsm = model(10)
    assert fit_temperature(rsm, Triplets(rsm.ids, NOTHING)) == pytest.approx(np.std(rsm.upper))
    assert fit_temperature(rsm, Triplets(("x", "y", "z"), np.array([[0, 1, 2]]))) == pytest.approx(np.std(rsm.upper))
    flat = RSM(("a", "b", "c"), np.ones((3, 3)))
    assert fit_temperature(flat, Triplets(flat.ids, NOTHING)) == 1
    unknown = RSM(("a", "b", "c"), np.full((3, 3), np.nan))
    assert fit_temperature(unknown, Triplets(unknown.ids, np.array([[0, 1, 2]]))) == 1
    contrary = np.array([[0, 1, 2]] * 5)
    against = RSM(("a", "b", "c"), np.array([[1, 0.1, 0.9], [0.1, 1, 0.8], [0.9, 0.8, 1]]))
    assert fit_temperature(against, Triplets(against.ids, contrary)) == float("inf")
    assert next_triplets(rsm, Triplets(rsm.ids, NOTHING), 3, temperature=float("inf")).shape == (3, 3)
    monkeypatch.setattr(active, "FITTED_ON", 500)
    rows = judge(rsm, random_rows(10, 3000), 0.5, np.random.default_rng(0))
    assert fit_temperature(rsm, Triplets(rsm.ids, rows)) == pytest.approx(0.5, rel=0.3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n 0: expected 1 or more"),
        ({"temperature": 0.0}, "temperature 0.0: expected a number above 0"),
        ({"temperature": float("nan")}, "expected a number above 0"),
        ({"uncertainty_weight": 1.5}, "uncertainty_weight 1.5: expected a number from 0 to 1"),
        ({"pool": 0}, "pool 0: expected 1 or more"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
        ({"n": 11}, "only 10 of 10"),
    ],
)
def test_bad_arguments(arguments, message):
    rsm = model(5)
    with pytest.raises(VidsimError, match=message):
        next_triplets(rsm, Triplets(rsm.ids, NOTHING), **{"n": 2, **arguments})


def test_two_stimuli_make_no_triplet():
    rsm = RSM(("a", "b"), np.eye(2))
    with pytest.raises(VidsimError, match="only 0 of 0"):
        next_triplets(rsm, Triplets(("a", "b"), NOTHING), 1)


@pytest.mark.slow
def test_active_batches_recover_more_than_random_ones():
    scores = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        truth = model(40, seed=seed)
        scores.append([])
        for weight in (None, 0.0, 0.25):
            rows = judge(truth, random_rows(40, 60, seed), 0.15, rng)
            for batch in range(5):
                judged = Triplets(truth.ids, rows)
                if weight is None:
                    chosen = random_rows(40, 60, 100 * seed + batch)
                else:
                    guess = fit(judged, 4, l2=0.1).rsm
                    chosen = next_triplets(guess, judged, 60, uncertainty_weight=weight, seed=batch)
                rows = np.concatenate([rows, judge(truth, chosen, 0.15, rng)])
            judged = Triplets(truth.ids, rows)
            shares = judged.rsm().upper
            shares = np.where(np.isnan(shares), np.nanmean(shares), shares)
            fitted = fit(judged, 4, l2=0.1).rsm.upper
            scores[-1] += [spearmanr(found, truth.upper).statistic for found in (shares, fitted)]
    chance_counts, chance, cover_counts, cover, both_counts, both = np.mean(scores, axis=0)
    assert cover_counts > chance_counts + 0.04
    assert both_counts > chance_counts
    assert cover > chance
    assert both > chance + 0.02
