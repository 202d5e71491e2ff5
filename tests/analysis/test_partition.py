import time
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import qmc
from sklearn.linear_model import LinearRegression

from vidsim.analysis.least_squares import PairData, moments, r_squared, subsets
from vidsim.analysis.partition import change, inclusion_exclusion, partition, shared_pairs
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm


def ids(n):
    return tuple(f"s{i}" for i in range(n))


def symmetric(n, rng):
    values = rng.normal(size=(n, n))
    return np.triu(values, 1) + np.triu(values, 1).T


def world(n=12, m=3, seed=0, missing=0.2):
    """Return a human RSM with gaps and m models: geometries that share features, and noise."""
    rng = np.random.default_rng(seed)
    shared, own = rng.normal(size=(n, 3)), rng.normal(size=(m, n, 3))
    models = {f"m{k}": cosine_rsm(Embeddings(ids(n), np.hstack([shared, own[k]]))) for k in range(m)}
    human = sum(model.similarities for model in models.values()) + symmetric(n, rng)
    gone = np.triu(rng.random((n, n)) < missing, 1)
    human[gone | gone.T] = np.nan
    return RSM(ids(n), human), models


def loop_r2(human, models, times):
    """Fit every subset on the pairs of a resample, written out one by one."""
    drawn = np.repeat(np.arange(len(human)), times)
    pairs = [(i, j) for i, j in combinations(drawn, 2) if i != j and not np.isnan(human.similarities[i, j])]
    y = np.array([1 - human.similarities[i, j] for i, j in pairs])
    x = np.array([[1 - model.similarities[i, j] for model in models.values()] for i, j in pairs])
    chosen = [c for size in range(1, len(models) + 1) for c in combinations(range(len(models)), size)]
    return {c: LinearRegression().fit(x[:, c], y).score(x[:, c], y) for c in chosen}


@pytest.mark.parametrize("m", [2, 3, 4])
def test_r2_of_every_subset_is_that_of_scikit_learn(m):
    human, models = world(m=m)
    found = partition(human, models, resamples=0)
    expected = loop_r2(human, models, np.ones(12, int))
    assert [share.predictors for share in found.r2] == [tuple(f"m{k}" for k in subset) for subset in expected]
    np.testing.assert_allclose([share.value for share in found.r2], list(expected.values()), atol=1e-12)
    assert found.pairs == int((~np.isnan(human.upper)).sum())


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_parts_by_a_slow_loop(m):
    """A model's R2 is the sum of the parts it has a share in: solve for the parts, R2 of each subset an equation."""
    r2 = np.random.default_rng(0).random(2**m - 1)
    chosen = subsets(m)
    touches = np.array([[bool(set(part) & set(subset)) for part in chosen] for subset in chosen], float)
    np.testing.assert_allclose(inclusion_exclusion(m) @ r2, np.linalg.solve(touches, r2), atol=1e-10)


def test_parts_of_three_predictors_by_their_formulas():
    human, models = world()
    found = partition(human, models, resamples=0)
    r = {share.predictors: share.value for share in found.r2}
    part = {share.predictors: share.value for share in found.parts}
    a, b, c = "m0", "m1", "m2"
    assert part[a,] == pytest.approx(r[a, b, c] - r[b, c])
    assert part[a, b] == pytest.approx(r[a, c] + r[b, c] - r[c,] - r[a, b, c])
    assert part[a, b, c] == pytest.approx(r[a,] + r[b,] + r[c,] - r[a, b] - r[a, c] - r[b, c] + r[a, b, c])
    assert sum(part.values()) == pytest.approx(found.total.value)
    assert found.alone[0].value == pytest.approx(sum(v for names, v in part.items() if a in names))


def test_a_resample_is_the_regression_on_the_sample_written_out():
    human, models = world(n=9)
    rng = np.random.default_rng(3)
    times = rng.multinomial(9, np.full(9, 1 / 9), size=6)
    data = PairData.of(human.distances, {name: model.distances for name, model in models.items()})
    found = r_squared(moments(data, times.astype(float)))
    for row, drawn in zip(found, times, strict=True):
        np.testing.assert_allclose(row, list(loop_r2(human, models, drawn).values()), atol=1e-9)


def test_held_out_r2_by_a_slow_loop():
    human, models = world(n=14, missing=0)
    found = partition(human, models, resamples=0, folds=3, repeats=2, seed=5)
    deal = np.random.default_rng(np.random.SeedSequence(5).spawn(2)[1])
    x, y = np.array([model.distances for model in models.values()]), human.distances
    expected = []
    for _ in range(2):
        fold = deal.permutation(14) % 3
        scores = {}
        for chosen in [(0,), (0, 1), (0, 1, 2)]:
            left = total = 0.0
            for f in range(3):
                train = [(i, j) for i, j in combinations(range(14), 2) if f not in {fold[i], fold[j]}]
                test = [(i, j) for i, j in combinations(range(14), 2) if fold[i] == fold[j] == f]
                pick = [
                    (np.array([[x[c, i, j] for c in chosen] for i, j in p]), np.array([y[i, j] for i, j in p]))
                    for p in (train, test)
                ]
                fit = LinearRegression().fit(*pick[0])
                left += ((pick[1][1] - fit.predict(pick[1][0])) ** 2).sum()
                total += ((pick[1][1] - pick[0][1].mean()) ** 2).sum()
            scores[chosen] = 1 - left / total
        expected.append(list(scores.values()))
    held_out = [found.r2[k].held_out for k in (0, 3, 6)]
    np.testing.assert_allclose(held_out, np.mean(expected, axis=0), atol=1e-10)
    assert sum(share.held_out for share in found.parts) == pytest.approx(found.total.held_out)


def test_held_out_r2_of_noise_is_below_zero():
    totals = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        noise = {f"m{k}": RSM(ids(20), symmetric(20, rng)) for k in range(3)}
        total = partition(RSM(ids(20), symmetric(20, rng)), noise, resamples=0, folds=5, repeats=2).total
        totals.append((total.value, total.held_out))
    fitted, held_out = np.mean(totals, axis=0)
    assert fitted == pytest.approx(3 / 189, rel=0.5)  # predictors / (pairs - 1)
    assert held_out < -0.01


def independent_models(n, m):
    """Return RSMs that are uncorrelated over pairs, exactly."""
    pairs = n * (n - 1) // 2
    values = qmc.Sobol(m, seed=0).random_base2(int(np.ceil(np.log2(pairs))))[:pairs]
    basis = np.linalg.qr(np.column_stack([np.ones(pairs), values]))[0][:, 1:].T * pairs**0.5
    found = []
    for row in basis:
        matrix = np.zeros((n, n))
        matrix[np.triu_indices(n, 1)] = row
        found.append(matrix + matrix.T)
    return found


def test_planted_parts_are_found():
    common, first, second, noise = independent_models(20, 4)
    human = RSM(ids(20), 3 * first + 2 * second + noise)
    models = {"first": RSM(ids(20), first), "second": RSM(ids(20), second), "idle": RSM(ids(20), common)}
    found = {s.predictors: s.value for s in partition(human, models, resamples=0).parts}
    assert found["first",] == pytest.approx(9 / 14)
    assert found["second",] == pytest.approx(4 / 14)
    assert all(
        value == pytest.approx(0, abs=1e-12) for names, value in found.items() if len(names) > 1 or "idle" in names
    )


def test_a_shared_component_is_shared():
    common, first, second, noise = independent_models(20, 4)
    human = RSM(ids(20), common + noise)
    models = {"a": RSM(ids(20), common + 0.1 * first), "b": RSM(ids(20), common + 0.1 * second)}
    a, b, both = partition(human, models, resamples=0).parts
    # two noisy copies of the component: closed form from their correlations
    r, s = 1 / np.sqrt(2 * 1.01), 1 / 1.01
    total = 2 * r**2 / (1 + s)
    assert (a.value, b.value) == (pytest.approx(total - r**2), pytest.approx(total - r**2))
    assert both.value == pytest.approx(2 * r**2 - total)
    assert both.value > 0.47 > 0.01 > a.value


def test_suppression_gives_a_negative_part():
    common, first, _, _ = independent_models(20, 4)
    human = RSM(ids(20), first)
    models = {"mix": RSM(ids(20), first + common), "nuisance": RSM(ids(20), common)}
    mix, nuisance, both = partition(human, models, resamples=0).parts
    assert (mix.value, nuisance.value, both.value) == (pytest.approx(1), pytest.approx(0.5), pytest.approx(-0.5))


def test_invariances():
    human, models = world(n=15)
    base = partition(human, models, resamples=200, seed=1)
    order = np.random.default_rng(0).permutation(15)
    names = [human.ids[i] for i in order]
    # other stimuli of the models do not count, nor do unit and order
    scaled = {name: RSM(m.ids, 5 - 3 * m.similarities).take(names) for name, m in reversed(models.items())}
    other = partition(human.take(names), scaled, resamples=200, seed=1)
    expected = {frozenset(s.predictors): s.value for s in base.parts}
    assert {frozenset(s.predictors) for s in other.parts} == set(expected)
    for share in other.parts:
        assert share.value == pytest.approx(expected[frozenset(share.predictors)], abs=1e-12)


def test_intervals_and_change():
    human, models = world(n=40, m=3, seed=2, missing=0.3)
    one = {"first": models["m0"], "text": models["m2"]}
    two = {"second": models["m1"], "text": models["m2"]}
    before, after = (partition(human, chosen, resamples=500, seed=4) for chosen in (one, two))
    again = partition(human, one, resamples=500, seed=4)
    assert [s.interval for s in again.parts] == [s.interval for s in before.parts]
    for share in (*before.r2, *before.parts):
        assert share.interval[0] < share.value < share.interval[1]
    r2, parts = change(before, after)
    assert parts[0].before == ("first",)
    assert parts[0].after == ("second",)
    assert parts[0].value == pytest.approx(after.parts[0].value - before.parts[0].value)
    # R2 of the model that both have does not change, in any resample
    assert (r2[1].value, r2[1].interval) == (pytest.approx(0, abs=1e-12), (pytest.approx(0, abs=1e-9),) * 2)
    # paired: narrower than two intervals side by side
    width = r2[2].interval[1] - r2[2].interval[0]
    assert width < sum(np.diff(p.total.interval)[0] for p in (before, after))


def test_shared_pairs():
    human, models = world(n=10)
    holes = models["m0"].similarities.copy()
    holes[0, 1] = holes[1, 0] = np.nan
    masked = shared_pairs(human, {"holes": RSM(human.ids, holes), "m1": models["m1"]})
    assert np.isnan(masked.similarities[0, 1])
    kept = ~np.isnan(masked.similarities)
    np.testing.assert_array_equal(masked.similarities[kept], human.similarities[kept])
    found = partition(human, {"holes": RSM(human.ids, holes), "m1": models["m1"]}, resamples=0)
    assert found.pairs == int((~np.isnan(masked.upper)).sum())


def test_stimuli_without_pairs_do_not_count():
    human, models = world(n=10, missing=0)
    similarities = human.similarities.copy()
    similarities[3] = similarities[:, 3] = np.nan
    found = partition(RSM(human.ids, similarities), models, resamples=0)
    assert (found.stimuli, found.pairs) == (9, 36)


def test_bad_input():
    human, models = world(n=12)
    constant = RSM(human.ids, np.full((12, 12), 0.3))
    twin = RSM(human.ids, 0.1 + 2 * models["m0"].similarities)
    sum_of = RSM(human.ids, models["m0"].similarities + models["m1"].similarities)
    few = {name: model.take(human.ids[1:]) for name, model in models.items()}
    empty = RSM(human.ids, np.full((12, 12), np.nan))
    cases = [
        (human, {"a": models["m0"]}, {}, "1 predictors were given; expected 2 to 8"),
        (human, dict.fromkeys("abcdefghi", models["m0"]), {}, "9 predictors were given"),
        (human, models | {"c": constant}, {}, "predictor 'c' are all equal, 0.7"),
        (human, models | {"t": twin}, {}, "predictor 't' is determined by 'm0': "),
        (human, models | {"t": sum_of}, {}, "predictor 't' is determined by 'm0' and 'm1': "),
        (human, few, {}, "predictor 'm0' lacks 1 of 12 judged stimuli, the first is 's0'"),
        (empty, models, {}, "0 stimuli have a pair"),
        (constant, models, {}, "the human distances are all equal"),
        (human.take(human.ids[:4]), models, {}, r"expected at least 6"),
        (human, models, {"resamples": -1}, "resamples -1: expected 0 or more"),
        (human, models, {"folds": 7}, "folds is 7: expected 2 to 6, for 12 stimuli"),
        (human, models, {"folds": 2, "repeats": 0}, "repeats 0: expected 1 or more"),
    ]
    for people, predictors, more, message in cases:
        with pytest.raises(VidsimError, match=message):
            partition(people, predictors, **({"resamples": 0} | more))


def test_change_refuses_what_does_not_match():
    human, models = world(n=12)
    base = partition(human, models, resamples=20)
    fewer = partition(human, {name: models[name] for name in ("m0", "m1")}, resamples=20)
    other = partition(human.take(human.ids[:11]), models, resamples=20)
    for wrong, message in [
        (fewer, "3 and 2 predictors"),
        (other, "different human distances"),
        (partition(human, models, resamples=20, seed=1), "the same seed"),
    ]:
        with pytest.raises(VidsimError, match=message):
            change(base, wrong)


def test_a_thousand_resamples_are_fast():
    human, models = world(n=200, m=3, missing=0.03)
    start = time.perf_counter()
    partition(human, models, resamples=1000)
    assert time.perf_counter() - start < 10  # about 0.3 s alone on two cores


@pytest.mark.slow
def test_intervals_cover_the_truth():
    """Simulated judges: 50 stimuli, 1.7 to 4.5 judgments a pair; nominal 95 %."""
    rng = np.random.default_rng(0)

    def study(n, judgments):
        a, b, c, rest = (rng.normal(size=(n, width)) for width in (5, 5, 5, 6))
        models = {
            name: cosine_rsm(Embeddings(ids(n), np.hstack(parts)))
            for name, parts in {"one": (a, 0.8 * b), "two": (a, c)}.items()
        }
        share = (1 + cosine_rsm(Embeddings(ids(n), np.hstack([a, 0.5 * b, 0.7 * c, rest]))).similarities) / 2
        times = np.triu(rng.poisson(judgments, size=(n, n)), 1)
        together = rng.binomial(times, share.clip(0, 1))
        seen = np.where(times > 0, together / np.maximum(times, 1), np.nan)
        upper = np.triu_indices(n, 1)
        human = np.ones((n, n))
        human[upper] = seen[upper]
        human.T[upper] = seen[upper]
        return RSM(ids(n), human), models

    for judgments in (1.7, 4.5):
        truth = np.array([s.value for s in partition(*study(2000, judgments), resamples=0).parts])
        hits = []
        for _ in range(250):
            found = partition(*study(50, judgments), resamples=400).parts
            hits.append([s.interval[0] <= t <= s.interval[1] for s, t in zip(found, truth, strict=True)])
        covered = np.mean(hits, axis=0)
        assert covered.min() > 0.89, covered
        assert covered.max() < 0.985, covered
