from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.stats import spearmanr

from vidsim.analysis import ordinal
from vidsim.analysis.ordinal import likelihood
from vidsim.analysis.ordinal.likelihood import negative_log_likelihood, pair_keys, pair_similarities
from vidsim.analysis.ordinal.validation import folds_of
from vidsim.data.simulate import expected_rsm, planted_rsm, simulate
from vidsim.errors import VidsimError
from vidsim.triplets import Triplets

SIMILARITIES = ["dot", "distance"]


def trials(stimuli: int = 12, number: int = 300, temperature: float = 0.2, seed: int = 0) -> Triplets:
    return simulate(planted_rsm(stimuli, 3), trials=number, temperature=temperature, seed=seed).triplets


def similarity(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    return float(x @ y) if kind == "dot" else -float(((x - y) ** 2).sum())


def slow_loss(matrix: np.ndarray, rows: np.ndarray, kind: str) -> float:
    loss = 0.0
    for a, b, odd in rows:
        ab, ao, bo = (similarity(matrix[i], matrix[j], kind) for i, j in ((a, b), (a, odd), (b, odd)))
        loss -= np.log(np.exp(ab) / (np.exp(ab) + np.exp(ao) + np.exp(bo)))
    return loss


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_loss_equals_a_slow_loop_and_its_gradient_finite_differences(kind, monkeypatch):
    monkeypatch.setattr(likelihood, "CHUNK", 70)  # five parts
    triplets = trials()
    keys = pair_keys(triplets.rows, 12)
    matrix = np.random.default_rng(0).normal(0, 0.7, (12, 4))
    loss, _ = negative_log_likelihood(matrix, keys, kind)
    assert loss == pytest.approx(slow_loss(matrix, triplets.rows, kind), rel=1e-12)

    def value(x: np.ndarray) -> float:
        return negative_log_likelihood(x.reshape(12, 4), keys, kind)[0]

    def gradient(x: np.ndarray) -> np.ndarray:
        return negative_log_likelihood(x.reshape(12, 4), keys, kind)[1].ravel()

    assert check_grad(value, gradient, matrix.ravel()) < 1e-4 * np.linalg.norm(gradient(matrix.ravel()))


def test_extreme_similarities_neither_overflow_nor_vanish():
    keys = pair_keys(np.array([[0, 1, 2], [0, 2, 1]]), 3)
    loss, gradient = negative_log_likelihood(np.array([[1000.0], [1000.0], [-1000.0]]), keys, "dot")
    assert loss == pytest.approx(2e6)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "how", [{"l2": 1.0}, {"l2": 0.5, "similarity": "distance"}, {"l1": 1.0, "nonnegative": True}], ids=str
)
def test_a_fit_is_a_minimum_of_the_penalised_likelihood(how):
    triplets = trials()
    found = ordinal.fit(triplets, 3, **how)
    matrix = found.embeddings.take(triplets.ids).matrix
    kind = how.get("similarity", "dot")

    def objective(x: np.ndarray) -> float:
        return slow_loss(x, triplets.rows, kind) + how.get("l1", 0) * np.abs(x).sum() + how["l2"] * (x**2).sum()

    how = {"l2": 0.0, **how}
    least = objective(matrix)
    rng = np.random.default_rng(0)
    for size in (0.003, 0.03, 0.3):
        for _ in range(10):
            other = matrix + rng.normal(0, size, matrix.shape)
            assert objective(np.maximum(other, 0) if found.nonnegative else other) > least - 1e-4
    assert found.converged
    assert found.log_likelihood == pytest.approx(-slow_loss(matrix, triplets.rows, kind) / len(triplets))
    assert (found.trials, found.l1, found.l2, found.similarity) == (300, how.get("l1", 0.0), how["l2"], kind)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_a_planted_geometry_is_recovered_from_far_fewer_trials_than_the_human_rsm_needs(kind):
    planted = planted_rsm(60, 3)
    truth = expected_rsm(planted, temperature=0.2).upper
    triplets = simulate(planted, trials=1500, temperature=0.2, seed=1).triplets
    raw = triplets.rsm().upper
    seen = ~np.isnan(raw)
    denoised = ordinal.denoised_rsm(ordinal.fit(triplets, 4, l2=1.0, similarity=kind))
    assert spearmanr(raw[seen], truth[seen]).statistic < 0.8
    assert spearmanr(denoised.upper, truth).statistic >= 0.95
    # on the scale of the human RSM
    assert np.abs(denoised.upper - truth).mean() < 0.06
    assert ((denoised.upper >= 0) & (denoised.upper <= 1)).all()


def test_dimensions_come_in_order_of_size_along_principal_axes():
    for kind in SIMILARITIES:
        matrix = ordinal.fit(trials(), 4, l2=0.5, similarity=kind).embeddings.matrix
        products = matrix.T @ matrix
        assert np.abs(products - np.diag(np.diag(products))).max() < 1e-9
        assert (np.diff(np.diag(products)) <= 1e-9).all()
    few = ordinal.fit(Triplets(("a", "b", "c"), np.array([[0, 1, 2]])), 5, l2=0.1).embeddings.matrix
    assert few.shape == (3, 5)
    sums = ordinal.fit(trials(), 4, l1=0.5, nonnegative=True).embeddings.matrix.sum(axis=0)
    assert (np.diff(sums) <= 0).all()


def test_nonnegative_coordinates_become_sparse():
    weak, strong = (ordinal.fit(trials(), 4, l1=l1, nonnegative=True).embeddings.matrix for l1 in (0.1, 3.0))
    assert weak.min() >= 0
    assert strong.min() >= 0
    assert (strong == 0).sum() > (weak == 0).sum() + 4


def test_restarts_keep_the_best_and_the_seed_decides():
    triplets = simulate(planted_rsm(30, 6), trials=1500, temperature=0.2).triplets

    def objective(restarts: int) -> float:
        found = ordinal.fit(triplets, 8, l1=0.5, nonnegative=True, restarts=restarts)
        return -found.log_likelihood * len(triplets) + 0.5 * found.embeddings.matrix.sum()

    one, two = objective(1), objective(2)
    assert two < one - 1
    assert objective(2) == two
    assert not ordinal.fit(triplets, 8, l1=0.5, nonnegative=True, max_iter=1).converged


def test_score_equals_a_slow_loop_ties_share_and_unknown_stimuli_are_chance():
    found = ordinal.fit(trials(), 3, l2=1.0)
    test = Triplets(("new", *trials().ids), trials(seed=9).rows + 1)
    likelihoods, hits = [], []
    for a, b, odd in test.rows:
        x = [found.embeddings.take([test.ids[i]]).matrix[0] for i in (a, b, odd)]
        logits = np.array([x[0] @ x[1], x[0] @ x[2], x[1] @ x[2]])
        likelihoods.append(logits[0] - np.log(np.exp(logits).sum()))
        hits.append(logits.argmax() == 0)
    assert found.score(test) == pytest.approx((np.mean(likelihoods), np.mean(hits)))
    half_known = Triplets(test.ids, np.array([[0, 1, 2], test.rows[0]]))
    expected = (np.log(1 / 3) + likelihoods[0]) / 2, (1 / 3 + hits[0]) / 2
    assert found.score(half_known) == pytest.approx(expected)
    with pytest.raises(VidsimError, match="none of 1 trials shows three of the 12 stimuli"):
        found.score(half_known.select(np.array([0])))
    flat = ordinal.fit(trials(), 2, l2=1e6)
    np.testing.assert_allclose(flat.embeddings.matrix, 0, atol=1e-6)


def test_stimuli_never_judged_are_left_out():
    triplets = Triplets(("x", *trials().ids, "y"), trials().rows + 1)
    assert ordinal.fit(triplets, 2, l2=1.0).embeddings.ids == trials().ids


def test_judgments_of_the_same_three_stimuli_share_a_fold():
    rows = np.array(list(permutations(range(7), 3)) * 3, np.int32)
    triplets = Triplets(tuple("abcdefg"), rows)
    fold = folds_of(triplets, 5, seed=0)
    for trio in {frozenset(row) for row in rows.tolist()}:
        assert len({f for f, row in zip(fold, rows.tolist(), strict=True) if set(row) == trio}) == 1
    assert np.bincount(fold).tolist() == [7 * 6 * 3] * 5
    assert not np.array_equal(fold, folds_of(triplets, 5, seed=1))


def test_cross_validation_predicts_each_fold_from_the_others():
    triplets = trials(number=400)
    fold = folds_of(triplets, 4, seed=3)
    one = ordinal.cross_validate(triplets, ordinal.candidates(2, l2=1.0), folds=4, seed=3)
    expected = [
        ordinal.fit(triplets.select(fold != f), 2, l2=1.0, seed=3).score(triplets.select(fold == f)) for f in range(4)
    ]
    assert not one.nested
    assert one.log_likelihoods == pytest.approx([e[0] for e in expected])
    assert one.accuracies == pytest.approx([e[1] for e in expected])
    assert one.accuracy == pytest.approx(np.mean(one.accuracies))
    assert one.accuracy_sd == pytest.approx(np.std(one.accuracies, ddof=1))
    assert one.chosen == ordinal.Candidate(2, 0.0, 1.0)


def test_the_reported_accuracy_is_of_candidates_chosen_without_the_fold():
    triplets = trials(stimuli=10, number=150, temperature=0.4)
    tried = ordinal.candidates((1, 2), l2=(0.3, 3.0))
    assert len(tried) == 4
    calls = []
    found = ordinal.cross_validate(triplets, tried, folds=3, seed=1, progress=lambda *done: calls.append(done))
    assert calls == [(i, 24) for i in range(1, 25)]
    fold = folds_of(triplets, 3, seed=1)

    def score(candidate: ordinal.Candidate, left_out: set[int], predicted: int) -> tuple[float, float]:
        kept = triplets.select(~np.isin(fold, list(left_out)))
        fitted = ordinal.fit(kept, candidate.dims, l1=candidate.l1, l2=candidate.l2, seed=1)
        return fitted.score(triplets.select(fold == predicted))

    for f in range(3):
        inner = [np.mean([score(c, {f, g}, g)[0] for g in range(3) if g != f]) for c in tried]
        expected = score(tried[int(np.argmax(inner))], {f}, f)
        assert (found.log_likelihoods[f], found.accuracies[f]) == pytest.approx(expected)
    assert found.nested
    means = [held.log_likelihoods.mean() for held in found.curve]
    assert found.chosen == tried[int(np.argmax(means))]
    assert [held.candidate for held in found.curve] == list(tried)


def test_cross_validation_finds_the_dimensions_planted():
    triplets = simulate(planted_rsm(30, 3), trials=6000, temperature=0.1, seed=2).triplets
    found = ordinal.cross_validate(triplets, ordinal.candidates((1, 3), l2=0.3), folds=3)
    assert found.chosen.dims == 3
    # three-way accuracy of the judges' own similarities
    a, b, odd = triplets.rows.T
    s = planted_rsm(30, 3).similarities
    best = (s[a, b] > np.maximum(s[a, odd], s[b, odd])).mean()
    assert best - 0.03 < found.accuracy < best


def test_guesses_are_predicted_at_chance():
    rng = np.random.default_rng(0)
    triplets = Triplets(tuple("abcdefghij"), rng.permuted(np.tile(np.arange(10), (900, 1)), axis=1)[:, :3])
    found = ordinal.cross_validate(triplets, ordinal.candidates((1, 3), l2=1.0), folds=5)
    assert found.accuracy == pytest.approx(1 / 3, abs=0.06)
    assert found.log_likelihood < np.log(1 / 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"dims": 0}, "dims 0: expected 1 or more"),
        ({"l1": 1.0}, "only nonnegative embeddings sparse"),
        ({"l2": -1.0}, "l2 is -1"),
        ({"l2": float("nan")}, "l2 is nan"),
        ({"nonnegative": True, "similarity": "distance"}, "inner products only"),
        ({"restarts": 0}, "restarts 0: expected 1 or more"),
        ({"max_iter": 0}, "max_iter 0: expected 1 or more"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_fitted_is_refused(wrong, message):
    with pytest.raises(VidsimError, match=message):
        ordinal.fit(trials(), **{"dims": 2, **wrong})


def test_what_cannot_be_validated_is_refused():
    empty = Triplets(("a", "b"), np.empty((0, 3), np.int32))
    with pytest.raises(VidsimError, match="no trial to fit"):
        ordinal.fit(empty, 2)
    with pytest.raises(VidsimError, match=r"^different triplets: 0, too few .*; expected at least 3: collect"):
        ordinal.cross_validate(empty, ordinal.candidates(2, l2=1.0))
    rows = np.array([[0, 1, 2], [0, 2, 1], [1, 2, 3], [0, 1, 3], [0, 2, 3]], np.int32)
    two, three = (Triplets(("a", "b", "c", "d"), rows[:number]) for number in (3, 4))
    for few, tried, folds in ((two, 1, 5), (two, 1, 2), (two, 4, 5), (three, 4, 3)):
        different, least = 2 + (few is three), 3 + (tried > 1)
        told = rf"^different triplets: {different}, too few .*; expected at least {least}: collect judgments of more$"
        with pytest.raises(VidsimError, match=told):
            ordinal.cross_validate(few, ordinal.candidates(2, l2=1.0 if tried == 1 else None), folds=folds)
    with pytest.raises(VidsimError, match=r"3 different triplets cannot be dealt to 5 folds; give at most 3$"):
        ordinal.cross_validate(three, ordinal.candidates(2, l2=1.0))
    with pytest.raises(
        VidsimError, match=r"a fold cannot .* knows; give more than 2 folds, at most 3, or collect judg"
    ):
        ordinal.cross_validate(three, ordinal.candidates(2, l2=1.0), folds=2)
    assert ordinal.cross_validate(three, ordinal.candidates(2, l2=1.0), folds=3).accuracy <= 1
    apart = Triplets(tuple("abcdefghi"), np.arange(9, dtype=np.int32).reshape(3, 3))
    with pytest.raises(
        VidsimError, match=r"a fold cannot be predicted: none of 1 trials .* knows; collect judgments of"
    ):
        ordinal.cross_validate(apart, ordinal.candidates(2, l2=1.0), folds=3)
    with pytest.raises(
        VidsimError, match=r"; give more than 3 folds, at most 4, or collect judgments of more triplets$"
    ):
        ordinal.cross_validate(Triplets(("a", "b", "c", "d"), rows), ordinal.candidates(2), folds=3)
    with pytest.raises(VidsimError, match=r"2 folds for 4 candidates: .* and 3 folds at least; give more"):
        ordinal.cross_validate(trials(), ordinal.candidates(2), folds=2)
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        ordinal.cross_validate(trials(), ordinal.candidates(2, l2=1.0), seed=-1)
    with pytest.raises(VidsimError, match="folds 1: expected 2 or more"):
        folds_of(trials(), 1, 0)


def test_pair_similarities_equal_scipys():
    from scipy.spatial.distance import cdist

    matrix = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(pair_similarities(matrix, "distance"), -cdist(matrix, matrix, "sqeuclidean"), atol=1e-12)


def test_social_ooo(shared):
    from vidsim.data.judgments.read import read

    triplets = read(shared / "data" / "social-ooo").judgments.triplets
    found = ordinal.cross_validate(triplets, ordinal.candidates(5, l2=2.0))
    assert found.accuracy == pytest.approx(0.640, abs=0.006)
    half = np.random.default_rng(0).permutation(len(triplets)) < len(triplets) // 2
    first, second = triplets.select(half), triplets.select(~half)
    raw, other = first.rsm().upper, second.rsm().upper
    denoised = ordinal.denoised_rsm(ordinal.fit(first, 5, l2=2.0)).upper
    both, seen = ~np.isnan(raw + other), ~np.isnan(other)
    assert spearmanr(raw[both], other[both]).statistic == pytest.approx(0.326, abs=0.015)
    assert spearmanr(denoised[seen], other[seen]).statistic > 0.44
