import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from vidsim.analysis import neighbours as module
from vidsim.analysis.neighbours import neighbours
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets

from judges import choices, odd_last, unit_points

N = 24
IDS = tuple(f"s{number}" for number in range(N))


def study(seed=0, trials=900, noise=(0.3, 2.0)):
    """Return people's similarities, of which some are missing, and those of models of them."""
    unit = unit_points(N, seed=seed)
    rows, _, odd = choices(unit, trials, 0.2, seed=seed)
    rng = np.random.default_rng(seed)
    models = {
        name: cosine_rsm(Embeddings(IDS, unit + s * rng.normal(size=unit.shape)))
        for name, s in zip(("good", "poor"), noise, strict=True)
    }
    return Triplets(IDS, odd_last(rows, odd).astype(np.int32)).rsm(), models


def coarse(rsm):
    """Round similarities, so that many tie."""
    return RSM(rsm.ids, np.round(rsm.similarities, 0))


def candidates(human, query):
    return [j for j in range(len(human)) if j != query and np.isfinite(human.similarities[query, j])]


@pytest.mark.parametrize("k", [1, 10])
def test_ndcg_is_scikit_learns(k):
    human, models = study(trials=300)
    models["coarse"] = coarse(models["good"])
    models["constant"] = RSM(IDS, np.ones((N, N)))
    found = neighbours(human, models, k=k, resamples=0)
    asked = [
        q for q in range(N) if len(candidates(human, q)) > k and np.nanmax(np.delete(human.similarities[q], q)) > 0
    ]
    assert (found.stimuli, found.left_out) == (len(asked), N - len(asked))
    for name, rsm in models.items():
        expected = [
            ndcg_score(
                human.similarities[[q]][:, candidates(human, q)], rsm.similarities[[q]][:, candidates(human, q)], k=k
            )
            for q in asked
        ]
        assert found.models[name]["ndcg"].value == pytest.approx(np.mean(expected))
    assert found.chance["ndcg"] == pytest.approx(found.models["constant"]["ndcg"].value)
    assert found.chance["recall"] == pytest.approx(found.models["constant"]["recall"].value)
    assert found.models["constant"]["ndcg"].above_chance == pytest.approx(0)
    assert found.chance["recall"] == pytest.approx(np.mean([k / len(candidates(human, q)) for q in asked]))


def test_recall_is_what_random_ties_give_on_average():
    human, models = study(trials=700)
    human = RSM(IDS, np.round(human.similarities, 1))
    model = coarse(models["good"])
    rng = np.random.default_rng(0)
    k, draws = 4, 3000
    found = neighbours(human, {"coarse": model}, k=k, resamples=0)
    total = 0.0
    for query in range(N):
        others = np.array(candidates(human, query))
        first = [
            np.lexsort((rng.random((draws, len(others))), np.tile(-rsm.similarities[query, others], (draws, 1))))[:, :k]
            for rsm in (human, model)
        ]
        same = (first[0][:, :, None] == first[1][:, None, :]).any(axis=2)
        total += same.sum() / draws / k
    assert found.models["coarse"]["recall"].value == pytest.approx(total / N, abs=0.005)


def test_a_resample_is_the_statistic_of_repeated_stimuli(monkeypatch):
    """Write every stimulus as often as it was drawn, leave self-pairs out, and ask scikit-learn."""
    human, models = study(seed=1, trials=400)
    models = {"good": models["good"], "coarse": coarse(models["good"])}
    drawn = module.draw(N, 2, np.random.default_rng(0)).astype(np.int64)
    seen = []
    whole = module._means
    monkeypatch.setattr(module, "_means", lambda study, times: seen.append(whole(study, times)) or seen[-1])
    neighbours(human, models, k=5, resamples=2, seed=0)
    resampled = seen[1]
    for row, times in enumerate(drawn):
        copies = np.repeat(np.arange(N), times)
        values = {name: [] for name in models}
        for query in copies:
            others = [j for j in copies if j != query and np.isfinite(human.similarities[query, j])]
            gains = human.similarities[query, others]
            if len(others) <= 5 or not gains.max() > 0:
                continue
            for name, rsm in models.items():
                values[name].append(ndcg_score(gains[None], rsm.similarities[query, others][None], k=5))
        for place, name in enumerate(models):
            assert resampled[row, place, 0] == pytest.approx(np.mean(values[name]))
    monkeypatch.setattr(module, "BLOCK", 1)
    neighbours(human, models, k=5, resamples=2, seed=0)
    np.testing.assert_allclose(seen[3], resampled)


def test_leaving_a_stimulus_out_is_asking_without_it(monkeypatch):
    human, models = study(seed=2)
    seen = []
    whole = module._without
    monkeypatch.setattr(module, "_without", lambda study: seen.append(whole(study)) or seen[-1])
    found = neighbours(human, models, k=5, resamples=2)
    left, _ = seen[0]
    for number in (0, 7, N - 1):
        ids = [name for name in IDS if name != IDS[number]]
        without = neighbours(human.take(ids), {name: rsm.take(ids) for name, rsm in models.items()}, k=5, resamples=0)
        for place, name in enumerate(models):
            for column, statistic in enumerate(module.STATISTICS):
                moved = without.models[name][statistic].value - found.models[name][statistic].value
                assert left[number, place, column] == pytest.approx(moved, abs=1e-6)


def test_people_themselves_are_perfect_and_the_better_model_is_found():
    human, models = study(trials=2000)
    full = RSM(IDS, np.nan_to_num(human.similarities))
    found = neighbours(human, {**models, "people": full}, k=5, resamples=200)
    assert found.models["people"]["ndcg"].value == pytest.approx(1)
    good = found.models["good"]["ndcg"]
    assert good.interval[0] < good.value < good.interval[1]
    assert good.p_value < 0.05
    (ndcg,) = (d for d in found.differences if (d.first, d.second, d.statistic) == ("good", "poor", "ndcg"))
    assert ndcg.difference == pytest.approx(good.value - found.models["poor"]["ndcg"].value)
    assert 0 < ndcg.interval[0] < ndcg.difference < ndcg.interval[1]
    assert ndcg.p_value <= ndcg.p_corrected < 0.05
    assert {d.first for d in found.differences} == {"people", "good"}
    one = neighbours(human, models, k=5, resamples=0, against="good")
    assert {(d.first, d.second) for d in one.differences} == {("poor", "good")}
    assert np.isnan(one.models["good"]["ndcg"].interval).all()


@pytest.mark.slow
def test_intervals_have_the_width_of_the_scatter_over_studies():
    """Over other stimuli and other judgments of them; half as wide again at most, for these are few judgments."""
    studies = [neighbours(*study(seed, noise=(0.5, 1.0)), k=5, resamples=100) for seed in range(40)]
    values = np.array([found.models["good"]["ndcg"].value for found in studies])
    ends = np.array([found.models["good"]["ndcg"].interval for found in studies])
    ratio = np.diff(ends, axis=1).mean() / (2 * 1.96 * values.std(ddof=1))
    assert 0.8 < ratio < 1.6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "k 0: expected 1 or more"),
        ({"k": N}, f"none of {N} stimuli was judged with more than {N} others"),
        ({"against": "best"}, "no model 'best' to compare with; there are: good, poor"),
        ({"resamples": -1}, "resamples -1: expected 0 or more"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
    ],
)
def test_mistakes_are_told(change, message):
    human, models = study()
    with pytest.raises(VidsimError, match=message):
        neighbours(human, models, **change)


def test_a_model_that_lacks_similarities_is_refused():
    human, models = study(trials=3000)
    holes = models["good"].similarities.copy()
    holes[0, 1] = holes[1, 0] = np.nan
    with pytest.raises(VidsimError, match="'holes' has no similarity for 1 of 276 judged pairs"):
        neighbours(human, {"holes": RSM(IDS, holes)})


def test_negative_similarities_of_people_are_refused():
    human, models = study()
    below = human.similarities.copy()
    below[2, 5] = below[5, 2] = -0.25
    with pytest.raises(VidsimError, match=r"^people's similarity of '.*' and '.*' is -0.25; expected 0 or more"):
        neighbours(RSM(human.ids, below), models)
