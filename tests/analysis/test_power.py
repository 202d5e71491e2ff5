from itertools import permutations

import numpy as np
import pytest
from scipy.stats import spearmanr

from vidsim.analysis.mantel import mantel_z
from vidsim.analysis.pilot import pilot
from vidsim.analysis.power import aligned_model, power
from vidsim.analysis.reliability import reliability
from vidsim.data.simulate import expected_rsm, planted_rsm, simulate
from vidsim.errors import VidsimError
from vidsim.rsm import RSM
from vidsim.triplets import Triplets


def test_mantel_z_equals_all_permutations():
    rng = np.random.default_rng(0)
    first, second = (m + m.T for m in rng.normal(1, 1, (2, 6, 6)))
    np.fill_diagonal(first, 0)
    np.fill_diagonal(second, 0)
    sums = [(first * second[np.ix_(order, order)]).sum() for order in permutations(range(6))]
    expected = ((first * second).sum() - np.mean(sums)) / np.std(sums)
    assert mantel_z(first, second) == pytest.approx(expected)
    assert mantel_z(first, first) > 2
    assert np.isnan(mantel_z(first, np.ones((6, 6)) - np.eye(6)))


@pytest.mark.parametrize("alignment", [0.0, 0.3, 0.9, 1.0])
def test_models_align_as_asked_and_err_by_stimulus(alignment):
    truth = expected_rsm(planted_rsm(40, 4), temperature=0.3)
    model = aligned_model(truth, alignment, seed=3)
    assert spearmanr(model.upper, truth.upper).statistic == pytest.approx(alignment, abs=1e-3)
    assert model.ids == truth.ids
    if alignment < 1:
        other = aligned_model(truth, alignment, seed=4)
        assert not np.allclose(model.upper, other.upper)


@pytest.fixture(scope="module")
def analysis():
    return power(
        planted_rsm(30, 3),
        trials=[4000, 200, 1000],
        temperature=0.3,
        lapse=0.1,
        alignments=(0.0, 0.5),
        simulations=30,
        seed=1,
    )


def test_more_trials_show_more(analysis):
    assert [outlook.trials for outlook in analysis.outlooks] == [200, 1000, 4000]
    for what in ("reliability", "perfect"):
        means = [getattr(outlook, what).mean for outlook in analysis.outlooks]
        assert means == sorted(means)
    few, _, many = analysis.outlooks
    assert few.perfect.high - few.perfect.low > many.perfect.high - many.perfect.low
    assert all(o.perfect.low <= o.perfect.mean <= o.perfect.high for o in analysis.outlooks)
    assert many.pairs == 435
    assert many.judgments_per_pair == pytest.approx(3 * 4000 / 435)


def test_pairs_seen_are_as_many_as_random_triplets_show(analysis):
    few = analysis.outlooks[0]
    expected = 435 * (1 - (1 - 3 / 435) ** 200)
    assert few.pairs == pytest.approx(expected, rel=0.02)
    assert few.judgments_per_pair == pytest.approx(600 / expected, rel=0.02)


def test_reliability_and_alignment_agree_with_the_known_truth(analysis):
    many = analysis.outlooks[-1]
    # a perfect model's rho squared is the reliability, and other models' rho are its share of it
    assert many.perfect.mean**2 == pytest.approx(many.reliability.mean, abs=0.03)
    none, half = many.alignments
    assert half.measured.mean == pytest.approx(0.5 * many.perfect.mean, abs=0.02)
    assert half.significant == 1
    assert none.measured.mean == pytest.approx(0, abs=0.02)
    assert none.significant <= 0.1


def test_a_simulation_equals_one_made_by_hand():
    rsm = planted_rsm(12, 2)
    found = power(rsm, trials=[300], temperature=0.3, alignments=(0.4,), simulations=1, splits=7, seed=5).outlooks[0]
    draw, halve, noise = (int(s) for s in np.random.SeedSequence([5, 0]).generate_state(3))
    triplets = simulate(rsm, trials=300, temperature=0.3, seed=draw).triplets
    human, truth = triplets.rsm(), expected_rsm(rsm, temperature=0.3)
    model = aligned_model(truth, 0.4, noise)
    assert found.perfect.mean == pytest.approx(spearmanr(human.upper, truth.upper, nan_policy="omit").statistic)
    measured = spearmanr(human.upper, model.upper, nan_policy="omit").statistic
    assert found.alignments[0].measured.mean == pytest.approx(measured)
    halves = reliability(triplets, splits=7, resamples=0, seed=halve).spearman_brown
    assert found.reliability.mean == pytest.approx(halves)


def test_few_trials_leave_what_cannot_be_known_undefined():
    outlook = power(planted_rsm(50, 3), trials=[2], temperature=0.3, simulations=2, alignments=()).outlooks[0]
    assert np.isnan(outlook.reliability.mean)
    assert outlook.alignments == ()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"trials": []}, "at least one number"),
        ({"trials": [0]}, "trials 0: expected 1 or more"),
        ({"simulations": 0}, "simulations 0: expected 1 or more"),
        ({"alignments": (1.2,)}, "from 0 to 1"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"lapse": 1.0}, "all pairs are equally similar"),
        ({"rsm": planted_rsm(4, 2)}, "4 stimuli are too few"),
        ({"splits": 0}, "splits 0: expected 1 or more"),
        ({"seed": -1}, "seed -1: expected 0 or more"),
    ],
)
def test_what_cannot_be_analysed_is_refused(wrong, message):
    arguments = {"rsm": planted_rsm(8, 2), "trials": [100], "temperature": 0.3, **wrong}
    with pytest.raises(VidsimError, match=message):
        power(arguments.pop("rsm"), **arguments)


def test_a_plan_from_a_pilot_foretells_the_reliability_of_more_trials():
    rsm = planted_rsm(50, 4, seed=2)
    first = simulate(rsm, trials=2000, temperature=0.35, lapse=0.1, seed=1).triplets
    planned = pilot(first, 5)
    assert planned.matched
    foretold = power(planned.rsm, trials=[8000], temperature=planned.temperature, simulations=3, alignments=())
    more = simulate(rsm, trials=8000, temperature=0.35, lapse=0.1, seed=2).triplets
    actual = reliability(more, splits=50, resamples=0).spearman_brown
    assert foretold.outlooks[0].reliability.mean == pytest.approx(actual, abs=0.06)


def test_a_pilot_of_guesses_or_too_few_trials_is_told():
    rng = np.random.default_rng(1)
    rows = rng.permuted(np.tile(np.arange(20), (400, 1)), axis=1)[:, :3]
    guesses = Triplets(tuple(f"{i}" for i in range(20)), rows)
    while reliability(guesses, splits=40, resamples=0).spearman_brown > 0:
        guesses = guesses.select(np.arange(len(guesses) - 10))
    planned = pilot(guesses, 3)
    assert (planned.matched, planned.temperature) == (False, 1.0)
    with pytest.raises(VidsimError, match="2 trials of 20 stimuli are too few to plan from"):
        pilot(guesses.select(np.arange(2)), 3)


def test_social_ooo(shared):
    from vidsim.data.judgments.read import read

    triplets = read(shared / "data" / "social-ooo").judgments.triplets
    half = np.random.default_rng(0).permutation(len(triplets)) < len(triplets) // 2
    planned = pilot(triplets.select(half), 5)
    found = power(planned.rsm, trials=[len(triplets)], temperature=planned.temperature, simulations=3, alignments=())
    assert found.outlooks[0].reliability.mean == pytest.approx(0.49, abs=0.03)


def test_a_constant_model_is_no_model():
    flat = RSM(tuple("abcdef"), np.full((6, 6), 0.5))
    with pytest.raises(VidsimError, match="equally similar"):
        power(flat, trials=[100], temperature=0.3)
