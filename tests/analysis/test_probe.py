from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.linear_model import RidgeCV

from vidsim.analysis import crossfit
from vidsim.analysis.probe import probe, unusable
from vidsim.analysis.ridge import PENALTIES, fit_ridge
from vidsim.data.ratings import Ratings
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError


def made(n=60, d=12, a=2, r2=0.6, seed=0, missing=0.0):
    """Plant a linear signal that explains a share of ratings."""
    rng = np.random.default_rng(seed)
    ids = tuple(f"clip {k}" for k in range(n))
    x = rng.normal(size=(n, d))
    weights = rng.normal(size=(d, a))
    weights /= np.linalg.norm(weights, axis=0)
    y = np.sqrt(r2) * x @ weights + np.sqrt(1 - r2) * rng.normal(size=(n, a))
    y[rng.random(size=y.shape) < missing] = np.nan
    return Embeddings(ids, x), Ratings(ids, tuple(f"rating {k}" for k in range(a)), y, (None,) * n)


def slow_fit(x, y, new):
    """Fit with scikit-learn."""
    unit = ((x - x.mean(axis=0)) ** 2).sum() / len(x)
    return RidgeCV(alphas=PENALTIES * unit).fit(x, y).predict(new)


def deal(n, repeats, seed=0):
    """Deal stimuli as the probe does, without missing ratings."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
    return [rng.permutation(n) for _ in range(repeats)]


@pytest.mark.parametrize("d", [5, 200])
def test_cross_validation_equals_a_slow_nested_loop(d):
    space, ratings = made(43, d)
    found = probe({"x": space}, ratings, folds=4, repeats=3, resamples=0)
    for k, score in enumerate(found.spaces[0].scores):
        y = ratings.values[:, k]
        each = []
        for order in deal(43, 3):
            predicted, rated = [], []
            for fold in range(4):
                test = order[fold::4]
                train = np.setdiff1d(order, test)
                p = slow_fit(space.matrix[train], y[train], space.matrix[test])
                predicted += list((p - p.mean()) / p.std())
                rated += list((y[test] - y[test].mean()) / y[test].std())
            each.append(pearsonr(predicted, rated).statistic)
        assert score.r == pytest.approx(np.mean(each), abs=1e-6)
        assert (score.fitted, score.tested) == (32, 43)


@pytest.mark.parametrize("d", [5, 200])
def test_a_held_out_split_equals_a_single_fit(d):
    space, ratings = made(50, d)
    out = np.isin(ratings.ids, ratings.ids[5:50:3])
    found = probe({"x": space}, ratings, held_out=ratings.ids[5:50:3], resamples=200)
    x, y = space.matrix, ratings.values
    for k, score in enumerate(found.spaces[0].scores):
        predicted = slow_fit(x[~out], y[~out, k], x[out])
        assert score.r == pytest.approx(pearsonr(predicted, y[out, k]).statistic, abs=1e-6)
        assert (score.fitted, score.tested) == (35, 15)
        assert score.interval[0] < score.r < score.interval[1]
    assert (found.folds, found.repeats) == (0, 0)


def test_any_collection_may_be_held_out():
    space, ratings = made(50)
    out = ratings.ids[5:50:3]
    listed, others = (probe({"x": space}, ratings, held_out=kind(out), resamples=20) for kind in (list, set))
    assert others == listed


def test_what_is_held_out_is_not_fitted():
    space, ratings = made(40)
    out = ratings.ids[30:]
    plain = probe({"x": space}, ratings, held_out=out, resamples=0).spaces[0].scores
    changed = ratings.values.copy()
    changed[30:] = 10 * changed[30:] + 3
    other = probe({"x": space}, replace(ratings, values=changed), held_out=out, resamples=0).spaces[0].scores
    for a, b in zip(plain, other, strict=True):
        assert b.r == pytest.approx(a.r)
        assert b.penalty == a.penalty


def test_missing_ratings_are_left_out_for_each_attribute():
    space, ratings = made(80, 10, 3, missing=0.2)
    values = ratings.values.copy()
    values[5] = np.nan
    ratings = replace(ratings, values=values)
    found = probe({"x": space}, ratings, resamples=50)
    assert found.stimuli == np.isfinite(values).any(axis=1).sum() == 79
    for k, score in enumerate(found.spaces[0].scores):
        known = np.isfinite(values[:, k])
        assert score.tested == known.sum()
        rest = tuple(np.array(ratings.ids)[known])
        alone = Ratings(rest, (score.attribute,), values[known, k : k + 1], (None,) * len(rest))
        # only the deals differ
        assert probe({"x": space}, alone, resamples=0).spaces[0].scores[0].r == pytest.approx(score.r, abs=0.04)
        assert score.interval[0] < score.r < score.interval[1]
    out = ratings.ids[:30]
    held = probe({"x": space}, ratings, held_out=out, resamples=0).spaces[0].scores[1]
    known = np.isfinite(values[:, 1])
    train, test = known & (np.arange(80) >= 30), known & (np.arange(80) < 30)
    predicted = slow_fit(space.matrix[train], values[train, 1], space.matrix[test])
    assert held.r == pytest.approx(pearsonr(predicted, values[test, 1]).statistic, abs=1e-6)


@pytest.mark.parametrize(("n", "d"), [(400, 5), (700, 10), (60, 2000)])
def test_a_planted_signal_is_recovered(n, d):
    space, ratings = made(n, d, a=1, r2=0.64)
    (score,) = probe({"x": space}, ratings, repeats=3, resamples=200).spaces[0].scores
    low, high = score.interval
    if d < n:
        assert score.r == pytest.approx(0.8, abs=0.06)
        assert low > 0.6
        assert high < 0.9
    else:  # more directions than stimuli: nothing can be found, and nothing is claimed
        assert low < 0 < high


def test_shuffled_ratings_are_predicted_by_chance():
    found = []
    rng = np.random.default_rng(3)
    space, ratings = made(100, 20, a=6, r2=0.8)
    for _ in range(12):
        shuffled = replace(ratings, values=rng.permuted(ratings.values, axis=0))
        scores = probe({"x": space}, shuffled, repeats=2, resamples=0).spaces[0].scores
        found += [score.r for score in scores]
    assert abs(np.mean(found)) < 3.5 * np.std(found) / np.sqrt(len(found))
    assert np.mean(found) > -0.05  # predictions of folds, pooled as they are, would give about -0.15
    assert all(score.r > 0.8 for score in probe({"x": space}, ratings, repeats=2, resamples=0).spaces[0].scores)


def test_spaces_are_compared_with_the_first():
    space, ratings = made(100, 10, a=3, r2=0.8)
    rng = np.random.default_rng(5)
    noisy = Embeddings(space.ids, space.matrix + rng.normal(size=space.matrix.shape))
    order = rng.permutation(100)
    same = Embeddings([space.ids[k] for k in order], 3 * space.matrix[order])
    found = probe({"noisy": noisy, "clean": space, "same": same}, ratings, repeats=2)
    first, clean, again = found.spaces
    assert first.gains == ()
    for gain, other, a, b in zip(clean.gains, again.gains, first.scores, clean.scores, strict=True):
        assert gain.value == pytest.approx(b.r - a.r)
        assert gain.value > 0.1
        assert 0 < gain.interval_corrected[0] < gain.interval[0] < gain.value < gain.interval[1]
        assert gain.p <= gain.p_corrected <= 0.05
        assert other.value == pytest.approx(gain.value)
        assert other.interval == pytest.approx(gain.interval)
    unchanged = probe({"clean": space, "same": same}, ratings, repeats=2).spaces[1].gains
    assert [gain.value for gain in unchanged] == pytest.approx([0, 0, 0], abs=1e-9)


def test_results_depend_on_the_seed_alone(monkeypatch):
    space, ratings = made(50, 8)
    first, second, other = (probe({"x": space}, ratings, resamples=60, seed=s).spaces[0].scores for s in (0, 0, 1))
    assert first == second
    assert first != other
    monkeypatch.setattr(crossfit, "BLOCK", 50 * 7)  # resamples in blocks of 7
    (blocks,) = probe({"x": space}, ratings, resamples=60).spaces
    for a, b in zip(first, blocks.scores, strict=True):
        assert b.r == a.r
        assert b.interval == pytest.approx(a.interval, abs=0.08)
    nothing = probe({"x": space, "y": space}, ratings, resamples=0).spaces[1]
    assert np.isnan([nothing.scores[0].interval, nothing.gains[0].interval]).all()
    assert np.isnan([nothing.gains[0].p, nothing.gains[0].p_corrected]).all()


def test_scale_and_sign_of_ratings_do_not_matter():
    space, ratings = made(50, 8)
    plain = probe({"x": space}, ratings, resamples=40).spaces[0].scores
    turned = probe({"x": space}, replace(ratings, values=5 - 100 * ratings.values), resamples=40).spaces[0].scores
    for a, b in zip(plain, turned, strict=True):
        assert b.r == pytest.approx(a.r)
        assert b.interval == pytest.approx(a.interval)


def test_perfect_and_rare_ratings_give_numbers():
    space, ratings = made(60, 3, r2=1.0)
    (perfect, _) = probe({"x": space}, ratings, resamples=50).spaces[0].scores
    assert perfect.r > 0.9999
    assert 0.99 < perfect.interval[0] <= perfect.interval[1] <= 1
    rare = ratings.values.copy()
    rare[:, 1] = np.arange(60) == 7
    (_, single) = probe({"x": space}, replace(ratings, values=rare), resamples=50).spaces[0].scores
    assert single.r == pytest.approx(0, abs=1e-9)


def test_attributes_that_cannot_be_predicted_are_told():
    space, ratings = made(40, 5, 4)
    values = ratings.values.copy()
    values[9:, 0], values[:, 1], values[30:, 2] = np.nan, 0.5, 2.0
    ratings = replace(ratings, values=values)
    assert unusable(ratings) == {
        "rating 0": "9 stimuli are rated; expected 10 or more",
        "rating 1": "all 40 stimuli are rated 0.5; expected some that differ",
    }
    held = unusable(ratings, ratings.ids[30:])
    assert held["rating 0"] == "9 stimuli to fit are rated; expected 10 or more"
    assert held["rating 2"] == "all 10 stimuli held out are rated 2; expected some that differ"
    assert "rating 3" not in held
    assert unusable(ratings, ratings.ids[37:])["rating 3"] == "3 stimuli held out are rated; expected 4 or more"
    assert "rating 3" in unusable(ratings, folds=21)
    with pytest.raises(VidsimError, match="'rating 0' cannot be predicted: 9 stimuli are rated"):
        probe({"x": space}, ratings)


def test_mistakes_are_refused():
    space, ratings = made(40, 5)
    broken = space.matrix.copy()
    broken[3] = np.nan
    lacking = Embeddings(space.ids[:30], space.matrix[:30])
    for bad, match in (
        ({}, "nothing to predict"),
        ({"x": lacking}, "'x' lacks 10 of 40 stimuli, the first is 'clip 30'"),
        ({"x": Embeddings(space.ids, broken)}, "embeddings of 1 of 40 stimuli are not finite, the first is 'clip 3'"),
        ({"x": Embeddings(space.ids, np.ones((40, 5)))}, "to fit are the same"),
    ):
        with pytest.raises(VidsimError, match=match):
            probe(bad, ratings)
    for bad in ({"folds": 1}, {"repeats": 0}, {"resamples": -1}, {"seed": -1}):
        with pytest.raises(VidsimError, match=f"{next(iter(bad))} .*: expected"):
            probe({"x": space}, ratings, **bad)
    with pytest.raises(VidsimError, match="1 stimuli held out are not among the ratings, such as 'nobody'"):
        probe({"x": space}, ratings, held_out=["nobody", "clip 1"])


@pytest.mark.slow
@pytest.mark.parametrize("held", [0, 40])
def test_intervals_hold_the_truth_in_95_of_100_studies(held):
    """Two spaces are equally noisy views of what ratings come from; r is known from many stimuli."""
    rng = np.random.default_rng(0)
    n, d, a, studies = (100 if not held else 160), 20, 2, 250
    spread = np.arange(1, d + 1) ** -0.6
    weights = rng.normal(size=(d, a))
    weights *= np.sqrt(0.6) / np.linalg.norm(weights * spread[:, None], axis=0)

    def draw(many):
        latent = rng.normal(size=(many, d)) * spread
        rated = latent @ weights + np.sqrt(0.4) * rng.normal(size=(many, a))
        return [latent + 0.5 * spread * rng.normal(size=(many, d)) for _ in range(2)], rated

    fitted = n - held if held else n * 4 // 5
    views, rated = draw(20_000)

    def true_r(seen, y):
        """Return what fits to some stimuli are worth, by space and rating."""
        each = []
        for x, view in zip(seen, views, strict=True):
            predicted = fit_ridge(x[:fitted], y[:fitted]).predict(view)
            each.append([np.corrcoef(predicted[:, k], rated[:, k])[0, 1] for k in range(a)])
        return np.array(each)

    # cross-validation is about fits to as many stimuli, a held-out split about the fit at hand; spaces are equally good
    mean = np.mean([true_r(*draw(fitted)) for _ in range(80)], axis=(0, 1)) * np.ones((2, 1))
    ids = tuple(map(str, range(n)))
    covered, gained, alone, together = [], [], [], []
    for _ in range(studies):
        seen, y = draw(n)
        spaces = {str(k): Embeddings(ids, view) for k, view in enumerate(seen)}
        ratings = Ratings(ids, ("a", "b"), y, (None,) * n)
        found = probe(spaces, ratings, held_out=ids[fitted:] if held else (), repeats=2, resamples=300)
        truth = true_r(seen, y) if held else mean
        for space, own in zip(found.spaces, truth, strict=True):
            covered += [s.interval[0] < r < s.interval[1] for s, r in zip(space.scores, own, strict=True)]
        gains = found.spaces[1].gains
        gained += [g.interval[0] < r < g.interval[1] for g, r in zip(gains, truth[1] - truth[0], strict=True)]
        alone += [gain.p <= 0.05 for gain in gains]
        together.append(min(gain.p_corrected for gain in gains) <= 0.05)
    assert 0.92 < np.mean(covered) < 0.98
    assert 0.92 < np.mean(gained) < 0.98
    assert np.mean(alone) < 0.08
    assert np.mean(together) < 0.08
