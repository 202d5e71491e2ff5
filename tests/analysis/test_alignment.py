import numpy as np
import pytest
from scipy.stats import spearmanr

from vidsim.analysis.alignment import align
from vidsim.analysis.odd_one_out import credits
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"s{i}" for i in range(25))
RNG = np.random.default_rng(0)
TRIALS = Triplets(IDS, random_rows(25, 150))
HUMAN = TRIALS.rsm()
MODELS = {name: cosine_rsm(Embeddings(IDS, RNG.normal(size=(25, 5)))) for name in ("one", "two")}


def test_everything_is_that_of_the_judged_pairs():
    found = align(HUMAN, TRIALS, {"one": MODELS["one"].take(IDS[::-1]), "two": MODELS["two"]}, resamples=0)
    both = ~np.isnan(HUMAN.upper)
    assert 0 < both.sum() < len(both)
    for name, rsm in MODELS.items():
        rho = spearmanr(rsm.upper[both], HUMAN.upper[both]).statistic
        assert found[name].rho == pytest.approx(rho, abs=1e-12)
        assert found[name].rho2 == pytest.approx(rho**2, abs=1e-12)
        assert found[name].pairs == both.sum()
        assert found[name].accuracies == credits(rsm, TRIALS).accuracies()
        assert np.isnan(found[name].interval).all()


def test_the_interval_is_that_of_samples_written_out():
    found = align(HUMAN, TRIALS, MODELS, resamples=300, seed=5)
    rng = np.random.default_rng(5)
    drawn = rng.multinomial(25, np.full(25, 1 / 25), size=300)
    for name, rsm in MODELS.items():
        rhos = []
        for times in drawn:
            sample = np.repeat(np.arange(25), times)
            pairs = [(i, j) for k, i in enumerate(sample) for j in sample[k + 1 :] if i != j]
            x, y = np.array([(rsm.similarities[p], HUMAN.similarities[p]) for p in pairs]).T
            known = ~np.isnan(y)
            rhos.append(spearmanr(x[known], y[known]).statistic)
        assert found[name].interval == pytest.approx(np.percentile(rhos, [2.5, 97.5]), abs=1e-10)


def test_what_cannot_be_compared_is_told_in_one_line():
    with pytest.raises(VidsimError, match="3 stimuli are too few to compare with people; expected at least 4"):
        align(HUMAN.take(IDS[:3]), TRIALS.restrict(IDS[:3]), MODELS)
    with pytest.raises(VidsimError, match="'less' lacks 1 of 25 judged stimuli, the first is 's24'"):
        align(HUMAN, TRIALS, {"less": MODELS["one"].take(IDS[:24])})
    with pytest.raises(VidsimError, match="all similarities of 'flat' are equal"):
        align(HUMAN, TRIALS, {"flat": RSM(IDS, np.ones((25, 25)))})
    with pytest.raises(VidsimError, match="has no similarity for"):
        align(HUMAN, TRIALS, {"holes": HUMAN, "nan": RSM(IDS, np.full((25, 25), np.nan))} | {"holes": MODELS["one"]})
    few = Triplets(IDS, np.array([[0, 1, 2]], np.int32))
    with pytest.raises(VidsimError, match="0 judged pairs"):
        align(Triplets(IDS, np.empty((0, 3), np.int32)).rsm(), few, MODELS)
