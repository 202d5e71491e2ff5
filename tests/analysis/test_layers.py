import numpy as np
import pytest
from scipy.stats import spearmanr

from vidsim.analysis.layers import choose_layer
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import RSM, cosine_rsm

IDS = tuple(f"s{i}" for i in range(30))
RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(30, 4))


def layer(noise):
    return cosine_rsm(Embeddings(IDS, POINTS + noise * RNG.normal(size=POINTS.shape)))


HUMAN = layer(0.3)
LAYERS = {"early": layer(4.0), "middle": layer(0.5), "late": layer(2.0)}


def test_the_curve_is_the_mean_of_scipys_rho_within_folds():
    choice = choose_layer(HUMAN, LAYERS, seed=3)
    parts = np.array_split(np.random.default_rng(3).permutation(30), 5)
    for name, rsm in LAYERS.items():
        rhos = []
        for part in parts:
            pairs = [(i, j) for k, i in enumerate(part) for j in part[k + 1 :]]
            rhos.append(spearmanr(*np.array([(HUMAN.similarities[p], rsm.similarities[p]) for p in pairs]).T).statistic)
        assert choice.curve[name] == pytest.approx(np.mean(rhos), abs=1e-12)
    assert choice.layer == "middle"


def test_what_is_planted_outside_the_training_stimuli_cannot_be_seen():
    """Plant a perfect layer among test stimuli only: the choice on training stimuli stays as it was."""
    train, test = IDS[:20], IDS[20:]
    before = choose_layer(HUMAN.take(train), {name: rsm.take(train) for name, rsm in LAYERS.items()})
    planted = LAYERS["early"].similarities.copy()
    planted[np.ix_(range(20, 30), range(20, 30))] = HUMAN.take(test).similarities
    layers = {**LAYERS, "early": RSM(IDS, planted)}
    best = {name: spearmanr(rsm.take(test).upper, HUMAN.take(test).upper).statistic for name, rsm in layers.items()}
    assert max(best, key=best.get) == "early"
    after = choose_layer(HUMAN.take(train), layers)
    assert (after.layer, after.curve) == (before.layer, before.curve)
    assert after.layer != "early"


def test_too_few_stimuli_and_constant_layers():
    with pytest.raises(VidsimError, match="19 stimuli are too few for 5 folds; expected 20"):
        choose_layer(HUMAN.take(IDS[:19]), LAYERS)
    with pytest.raises(VidsimError, match="folds 1: expected 2 or more"):
        choose_layer(HUMAN, LAYERS, folds=1)
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        choose_layer(HUMAN, LAYERS, seed=-1)
    flat = RSM(IDS, np.ones((30, 30)))
    assert choose_layer(HUMAN, {"flat": flat, **LAYERS}).layer == "middle"
    with pytest.raises(VidsimError, match="no layer can be correlated"):
        choose_layer(HUMAN, {"flat": flat})
