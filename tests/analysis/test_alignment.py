import numpy as np
import pytest
from scipy.stats import spearmanr

from vidsim.analysis.agreement import agreement
from vidsim.analysis.alignment import align
from vidsim.analysis.odd_one_out import credits
from vidsim.analysis.reliability import reliability
from vidsim.data.simulate import simulate
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"s{i}" for i in range(25))
RNG = np.random.default_rng(0)
TRIALS = Triplets(IDS, random_rows(25, 150))
HUMAN = TRIALS.rsm()
MODELS = {name: cosine_rsm(Embeddings(IDS, RNG.normal(size=(25, 5)))) for name in ("one", "two", "three")}


def test_everything_is_that_of_the_judged_pairs():
    found = align(TRIALS, {**MODELS, "one": MODELS["one"].take(IDS[::-1])}, resamples=0)
    both = ~np.isnan(HUMAN.upper)
    assert 0 < both.sum() < len(both)
    for name, rsm in MODELS.items():
        rho = spearmanr(rsm.upper[both], HUMAN.upper[both]).statistic
        own = found.models[name]
        assert own.rho == pytest.approx(rho, abs=1e-12)
        assert own.rho2 == pytest.approx(rho**2, abs=1e-12)
        assert own.pairs == both.sum()
        assert own.accuracies == credits(rsm, TRIALS).accuracies()
        assert np.isnan(list(own.intervals.values())).all()
        assert np.isnan([own.p_value, own.p_corrected]).all()


def test_pairs_judged_beside_any_third_clip_count_in_context_any():
    ids = IDS[:12]
    part = TRIALS.restrict(ids)
    found = align(part, {"one": MODELS["one"]}, context="any", resamples=50).models["one"]
    human = part.rsm("any").upper
    known = ~np.isnan(human)
    assert known.sum() == found.pairs > (part.counts().shown > 0).sum()
    assert found.rho == pytest.approx(spearmanr(MODELS["one"].take(ids).upper[known], human[known]).statistic)
    assert found.accuracies == credits(MODELS["one"], part).accuracies()
    assert np.isfinite(list(found.intervals.values())).all()


def test_intervals_hold_their_statistic_and_the_corrected_ones_are_wider():
    found = align(TRIALS, MODELS, over="both", participants=np.arange(150) // 10, resamples=400)
    for own in found.models.values():
        for name, value in {"rho": own.rho, "rho_a": own.rho_a, **own.accuracies}.items():
            low, high = own.intervals[name]
            assert low < value < high
        low, high = own.intervals["rho"]
        assert own.interval_corrected[0] < low
        assert own.interval_corrected[1] > high
        squares = own.intervals["rho2"]
        assert squares[1] == max(low**2, high**2)
        assert squares[0] == (0 if low < 0 < high else min(low**2, high**2))
        assert own.p_corrected >= own.p_value


def test_models_are_compared_on_the_same_resamples():
    twin = {**MODELS, "twin": MODELS["one"]}
    found = align(TRIALS, twin, resamples=200)
    assert len(found.differences) == 4 * 6
    for own in found.differences:
        first, second = (found.models[name] for name in (own.first, own.second))
        assert first.rho >= second.rho
        if own.statistic == "rho":
            assert own.difference == pytest.approx(first.rho - second.rho)
            assert np.isnan(own.mcnemar)
        else:
            difference = first.accuracies[own.statistic] - second.accuracies[own.statistic]
            assert own.difference == pytest.approx(difference)
        if {own.first, own.second} == {"one", "twin"}:
            assert (own.difference, own.interval, own.p_value) == (0, (0, 0), 1)
        else:
            assert own.interval[0] < own.difference < own.interval[1]
            assert own.p_corrected >= own.p_value
    right = {name: credits(rsm, TRIALS).three_way == 1 for name, rsm in MODELS.items()}
    (own,) = (c for c in found.differences if {c.first, c.second} == {"one", "two"} and c.statistic == "three_way")
    from scipy.stats import binomtest

    a, b = right[own.first], right[own.second]
    assert own.mcnemar == pytest.approx(binomtest(int((a & ~b).sum()), int((a != b).sum())).pvalue)


def test_all_can_be_compared_with_one():
    found = align(TRIALS, MODELS, against="two", resamples=0)
    assert {(c.first, c.second) for c in found.differences} == {("one", "two"), ("three", "two")}
    many = {f"m{k}": MODELS["one"] for k in range(21)}
    assert align(TRIALS, many, resamples=0).differences == ()
    with pytest.raises(VidsimError, match="no model 'four' to compare with; there are: one, two, three"):
        align(TRIALS, MODELS, against="four")


@pytest.mark.slow
def test_intervals_over_stimuli_cover_the_truth_in_93_to_97_of_100_studies():
    """500 studies, each of other stimuli, judges and models; the truth is the mean of 1,000 such studies."""
    rng = np.random.default_rng(0)
    n, trials = 50, 1000
    ids = tuple(f"s{i:02}" for i in range(n))

    def study(resamples, seed):
        points = rng.normal(size=(n, 8))
        human = cosine_rsm(Embeddings(ids, points))
        triplets = simulate(human, trials=trials, temperature=0.15, seed=int(rng.integers(1 << 31))).triplets
        models = {
            name: cosine_rsm(Embeddings(ids, points + noise * rng.normal(size=points.shape)))
            for name, noise in (("near", 1.0), ("far", 1.3))
        }
        found = align(triplets, models, against="far", resamples=resamples, seed=seed)
        near = found.models["near"]
        (differ,) = (c for c in found.differences if c.statistic == "rho")
        values = {"rho": near.rho, "rho_a": near.rho_a, **near.accuracies, "difference": differ.difference}
        return values, {**near.intervals, "difference": differ.interval}

    truths = [study(0, 0)[0] for _ in range(1000)]
    truth = {name: np.mean([values[name] for values in truths]) for name in truths[0]}
    studies = [study(200, seed)[1] for seed in range(500)]
    covered = {
        name: np.mean([intervals[name][0] <= value <= intervals[name][1] for intervals in studies])
        for name, value in truth.items()
    }
    assert {name: round(share, 3) for name, share in covered.items() if not 0.93 <= share <= 0.97} == {}


@pytest.mark.parametrize("context", ["split", "any"])
def test_stimuli_that_no_trial_shows_change_nothing(context):
    part = TRIALS.restrict(IDS[:20]).occurring(context)
    spread = np.arange(len(part.ids), dtype=np.int32) * 4 + 2
    ids = [f"unjudged {k}" for k in range(int(spread[-1]) + 9)]
    for k, name in zip(spread, part.ids, strict=True):
        ids[k] = name
    outside = np.column_stack([spread[part.outside[:, :2]], part.outside[:, 2]])
    wide = Triplets(tuple(ids), spread[part.rows], outside)
    people = np.arange(len(part) + (len(outside) if context == "any" else 0)) // 10
    for measure in (
        lambda trials: align(trials, MODELS, context=context, over="both", participants=people, resamples=50),
        lambda trials: agreement(trials, people[: len(part)], resamples=50),
        lambda trials: reliability(trials, context=context, splits=5, resamples=50),
        lambda trials: reliability(trials, method="votes", context=context, splits=5, resamples=50),
    ):
        assert repr(measure(wide)) == repr(measure(part))
    np.testing.assert_array_equal(wide.occurring(context).rows, part.rows)
    assert tuple(wide.occurring(context).ids) == part.ids


def test_what_cannot_be_compared_is_told_in_one_line():
    with pytest.raises(
        VidsimError, match="3 stimuli occur in trials, too few to compare with people; expected at least 4"
    ):
        align(TRIALS.select((TRIALS.rows == TRIALS.rows[0]).all(axis=1)), MODELS)
    with pytest.raises(VidsimError, match="'less' lacks 1 of 25 judged stimuli, the first is 's24'"):
        align(TRIALS, {"less": MODELS["one"].take(IDS[:24])})
    with pytest.raises(VidsimError, match=r"'flat' are equal.*; choose another layer .* or leave a matrix out"):
        align(TRIALS, {"flat": RSM(IDS, np.ones((25, 25)))})
    with pytest.raises(VidsimError, match="'nan' has no similarity for"):
        align(TRIALS, {"one": MODELS["one"], "nan": RSM(IDS, np.full((25, 25), np.nan))})
    with pytest.raises(VidsimError, match="4 judged pairs, which do not differ"):
        align(
            Triplets(IDS, np.empty((0, 3), np.int32), np.array([[0, 1, 1], [1, 2, 1], [2, 3, 1], [3, 4, 1]])),
            MODELS,
            context="any",
        )
    with pytest.raises(VidsimError, match="149 participants were given for 150 trials"):
        align(TRIALS, MODELS, over="both", participants=np.zeros(149, np.int64))
    for name in ("resamples", "seed"):
        with pytest.raises(VidsimError, match=f"{name} -1: expected 0 or more"):
            align(TRIALS, MODELS, **{name: -1})
    with pytest.raises(VidsimError, match="no way to resample 'pairs'"):
        align(TRIALS, MODELS, over="pairs")


def test_intervals_of_few_stimuli_stay_where_statistics_can_be():
    rng = np.random.default_rng(3)
    ids = tuple("abcde")
    rows = np.array([rng.choice(5, 3, replace=False) for _ in range(30)])
    models = {name: cosine_rsm(Embeddings(ids, rng.normal(size=(5, 3)))) for name in ("one", "two")}
    found = align(Triplets(ids, rows), models, resamples=200)
    for one in found.models.values():
        ends = {name: one.intervals[name] for name in one.intervals}
        assert all(-1 <= low <= high <= 1 for low, high in (ends["rho"], ends["rho_a"], one.interval_corrected))
        assert all(0 <= low <= high <= 1 for name, (low, high) in ends.items() if not name.startswith("rho"))
    assert any(-1.0 in one.intervals["rho"] for one in found.models.values())
    for one in found.differences:
        reach = 2 if one.statistic == "rho" else 1
        assert all(-reach <= end <= reach for end in (*one.interval, *one.interval_corrected))
