import numpy as np
import pytest
from scipy.stats import spearmanr

from vidsim.analysis.reliability import restrict_people
from vidsim.analysis.sample import Sample
from vidsim.analysis.scatter import Scatter
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets

from judges import random_rows

IDS = tuple(f"s{i}" for i in range(20))
RNG = np.random.default_rng(0)
TRIALS = Triplets(IDS, random_rows(20, 240))
PEOPLE = np.arange(240) // 30
MODELS = {name: cosine_rsm(Embeddings(IDS, RNG.normal(size=(20, 5)))) for name in ("one", "two")}
ONE = np.array([1.0, 0.0])


def scatter(over, people=PEOPLE, triplets=TRIALS, context="split", resamples=200):
    return Scatter(Sample.of(triplets, MODELS, context, people), over, resamples, 5)


def shape(deviations):
    """Deviations up to their scale, which is not that of the resamples."""
    return (deviations - deviations.mean()) / deviations.std()


def test_resampled_participants_are_those_of_studies_written_out():
    found = {name: scatter("participants").deviations(name, ONE) for name in ("rho", "three_way")}
    sample = Sample.of(TRIALS, MODELS, "split", PEOPLE)
    rng = np.random.default_rng(np.random.SeedSequence(5).spawn(2)[1])
    rhos, accuracies = [], []
    for times in rng.multinomial(8, np.full(8, 1 / 8), size=200):
        rows = np.concatenate([TRIALS.rows[person == PEOPLE] for person in np.repeat(np.arange(8), times)])
        human = Triplets(IDS, rows).rsm().upper
        known = ~np.isnan(human)
        rhos.append(spearmanr(MODELS["one"].upper[known], human[known]).statistic)
        weights = times[PEOPLE]
        accuracies.append((sample.credits["three_way"][0] * weights).sum() / weights.sum())
    assert shape(found["rho"]) == pytest.approx(shape(np.array(rhos)), abs=1e-9)
    assert shape(found["three_way"]) == pytest.approx(shape(np.array(accuracies)), abs=1e-9)


def test_resampled_stimuli_are_those_of_studies_written_out():
    found = {name: scatter("stimuli").deviations(name, ONE) for name in ("rho", "two_way")}
    sample = Sample.of(TRIALS, MODELS, "split", None)
    human = TRIALS.rsm()
    rng = np.random.default_rng(np.random.SeedSequence(5).spawn(2)[0])
    rhos, accuracies = [], []
    for times in rng.multinomial(20, np.full(20, 1 / 20), size=200):
        drawn = np.repeat(np.arange(20), times)
        pairs = [(i, j) for k, i in enumerate(drawn) for j in drawn[k + 1 :] if i != j]
        x, y = np.array([(MODELS["one"].similarities[pair], human.similarities[pair]) for pair in pairs]).T
        known = ~np.isnan(y)
        rhos.append(spearmanr(x[known], y[known]).statistic)
        weights = times[TRIALS.rows].prod(axis=1)
        accuracies.append((sample.credits["two_way"][0] * weights).sum() / weights.sum())
    assert shape(found["rho"]) == pytest.approx(shape(np.array(rhos)), abs=1e-9)
    assert shape(found["two_way"]) == pytest.approx(shape(np.array(accuracies)), abs=1e-9)


def test_a_model_does_not_differ_from_itself_and_a_difference_turns_round():
    found = scatter("both")
    assert (found.deviations("rho", np.zeros(2)) == 0).all()
    forth, back = (found.deviations("rho", sign * np.array([1.0, -1.0])) for sign in (1, -1))
    assert forth == pytest.approx(-back)


def test_people_who_judge_a_trial_each_add_nothing_to_stimuli():
    alone = np.arange(240)
    both, stimuli = (scatter(over, alone, resamples=400).deviations("three_way", ONE) for over in ("both", "stimuli"))
    assert both.std() == pytest.approx(stimuli.std(), rel=0.02)


def test_trials_with_an_outside_stimulus_are_judged_by_people_too():
    ids = IDS[:14]
    part, people = restrict_people(TRIALS, PEOPLE, ids)
    found = scatter("participants", people, part, "any")
    assert found.deviations("rho", ONE).std() > 0


def test_who_cannot_be_resampled_is_told():
    with pytest.raises(VidsimError, match="the trials name no participants, so they cannot be resampled"):
        scatter("participants", None)
    with pytest.raises(VidsimError, match="3 of 240 trials name none"):
        scatter("both", np.where(np.arange(240) < 3, -1, PEOPLE))
    with pytest.raises(VidsimError, match="all trials are of one participant"):
        scatter("both", np.zeros(240, np.int64))
    with pytest.raises(VidsimError, match="no way to resample 'pairs': expected 'stimuli', 'participants' or 'both'"):
        scatter("pairs")
