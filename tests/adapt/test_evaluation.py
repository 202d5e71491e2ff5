import numpy as np
import pytest
from scipy import stats

from vidsim.adapt.evaluation import Ceiling, ceiling_of, evaluate, kept_row, over_seeds
from vidsim.adapt.scores import METRICS, scores
from vidsim.analysis.alignment import align
from vidsim.analysis.reliability import reliability
from vidsim.data.simulate import simulate
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets


@pytest.fixture(scope="module")
def study():
    """Return judges of a planted geometry, which one model has, one nearly, and one not."""
    rng = np.random.default_rng(0)
    ids = tuple(f"s{k}" for k in range(24))
    truth = rng.normal(size=(24, 3))
    models = {
        "base": Embeddings(ids, rng.normal(size=(24, 3))),
        "near": Embeddings(ids, truth + 0.7 * rng.normal(size=(24, 3))),
        "true": Embeddings(ids, truth),
    }
    judged = simulate(cosine_rsm(models["true"]), trials=1500, temperature=0.2, seed=1).triplets
    return judged, models


def test_scores_are_those_of_training_and_intervals_those_of_align(study):
    judged, models = study
    found = evaluate(judged, models, "base", resamples=200, seed=3)
    aligned = align(
        judged, {name: cosine_rsm(one) for name, one in models.items()}, against="base", resamples=200, seed=3
    )
    for name, one in models.items():
        assert found.models[name].scores == scores(one, judged, judged.rsm())
        for metric in METRICS:
            low, high = found.models[name].intervals[metric]
            assert (low, high) == aligned.models[name].intervals[metric]
            assert low <= found.models[name].scores[metric] <= high
    assert found.models["base"].differences == {}
    for one in aligned.differences:
        assert found.models[one.first].differences[one.statistic] == (one.difference, *one.interval)
    assert found.models["true"].differences["rho"][1] > 0
    assert (found.stimuli, found.pairs, found.trials) == (24, 276, 1500)


def test_the_ceiling_is_the_square_root_of_reliability(study):
    judged, models = study
    found = evaluate(judged, models, "base", resamples=250).ceiling
    expected = reliability(judged, splits=1000, resamples=250, seed=0)
    assert (found.spearman_brown, found.interval) == (expected.spearman_brown, expected.interval)
    assert found.rho == pytest.approx(found.spearman_brown**0.5)
    low, high = found.rho_interval
    assert low**2 == pytest.approx(found.interval[0])
    assert high**2 == pytest.approx(found.interval[1])
    assert np.isnan(Ceiling(-0.1, (-0.5, 0.3)).rho)
    assert Ceiling(-0.1, (-0.5, 0.09)).rho_interval == (0, pytest.approx(0.3))


def test_halves_that_disagree_have_a_reliability_inside_its_interval_however_far_below_0():
    rng = np.random.default_rng(2)
    judged = Triplets(tuple("abcde"), np.array([rng.permutation(5)[:3] for _ in range(12)], np.int32))
    found = ceiling_of(judged, resamples=100)
    expected = reliability(judged, resamples=100)
    assert found.spearman_brown == pytest.approx(2 * expected.r / (1 + expected.r))
    assert found.spearman_brown < -1
    assert found.interval[0] < found.spearman_brown < found.interval[1]
    assert found.interval == expected.interval


def test_too_few_stimuli_give_scores_without_intervals():
    judged = Triplets(("a", "b", "c"), np.array([[0, 1, 2]]))
    space = Embeddings(("a", "b", "c"), np.array([[1.0, 0], [0.9, 0.1], [0, 1]]))
    found = evaluate(judged, {"base": space}, "base")
    assert found.models["base"].scores == scores(space, judged, judged.rsm())
    assert np.isnan(found.models["base"].intervals["rho"]).all()
    assert np.isnan(found.ceiling.rho)


def test_embeddings_that_are_no_numbers_have_no_scores_and_spoil_no_other(study):
    judged, models = study
    broken = Embeddings(models["true"].ids, np.full((24, 2), np.nan))
    found = evaluate(judged, {**models, "broken": broken}, "base", resamples=50)
    assert np.isnan(found.models["broken"].scores["rho"])
    assert np.isnan(found.models["broken"].intervals["rho"]).all()
    assert np.isfinite(found.models["true"].intervals["rho"]).all()


@pytest.mark.parametrize("value", [0.0, 2.0, np.nan, np.inf])
def test_a_model_that_tells_nothing_apart_spoils_no_other(study, value):
    judged, models = study
    broken = Embeddings(models["true"].ids, np.full((24, 2), value))
    alone = evaluate(judged, models, "base", resamples=50).models
    found = evaluate(judged, {**models, "broken": broken}, "base", resamples=50).models
    assert np.isnan(found["broken"].intervals["rho"]).all()
    assert not found["broken"].differences
    for name, one in alone.items():
        assert found[name].intervals["rho"] == one.intervals["rho"]
        assert found[name].differences == one.differences


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_base_that_tells_nothing_apart_leaves_intervals_and_takes_differences(study, value):
    judged, models = study
    base = Embeddings(models["true"].ids, np.full((24, 2), value))
    found = evaluate(judged, {**models, "base": base}, "base", resamples=50).models
    assert np.isnan(found["base"].intervals["rho"]).all()
    assert np.isfinite(found["true"].intervals["rho"]).all()
    assert not any(one.differences for one in found.values())
    only = evaluate(judged, {"base": base}, "base", resamples=50).models
    assert np.isnan(only["base"].intervals["rho"]).all()


def test_an_unknown_base_is_named(study):
    judged, models = study
    with pytest.raises(VidsimError, match="no model 'bsae' to compare with; there are: base, near, true"):
        evaluate(judged, models, "bsae", resamples=0)


def test_the_interval_over_seeds_is_students():
    values = [0.31, 0.42, 0.35, 0.44]
    mean, low, high = over_seeds([{"rho": value} for value in values])["rho"]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert mean == pytest.approx(np.mean(values))
    assert over_seeds([{"rho": 0.3}]) == {}


@pytest.mark.parametrize(
    ("values", "select", "kept"),
    [
        ([0.1, 0.4, 0.4, 0.2], "rho", 1),
        ([-0.3, -0.1, None], "rho", 1),
        ([None, None], "rho", 0),
        ([0.1, 0.4, 0.2], None, 2),
    ],
)
def test_the_epoch_kept_is_the_first_of_the_best(values, select, kept):
    assert kept_row([{"epoch": k, "rho": value} for k, value in enumerate(values)], select)["epoch"] == kept


def test_intervals_over_seeds_end_where_scores_do():
    runs = [{"rho": rho, "two_way": two, "rho2": rho**2} for rho, two in ((-0.4, 0.1), (0.2, 0.9))]
    found = over_seeds(runs)
    assert found["rho"][1:] == (-1.0, 1.0)
    assert found["two_way"] == (0.5, 0.0, 1.0)
    assert found["rho2"][1] == 0.0
