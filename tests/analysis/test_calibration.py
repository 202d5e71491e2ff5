from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from vidsim.analysis.calibration import CHANCE, LEAST_TRIALS, calibrate, fit_temperature, score
from vidsim.analysis.choice import LEAST, MOST, odd_probabilities
from vidsim.errors import VidsimError

from judges import choices, unit_points

UNIT = unit_points(30)


def loss(similarities, odd, temperature):
    """Compute the negative log-likelihood, trial by trial."""
    total = 0.0
    for (ab, ac, bc), chosen in zip(similarities, odd, strict=True):
        weights = np.exp(np.array([bc, ac, ab]) / temperature)
        total -= np.log(weights[chosen] / weights.sum())
    return total / len(odd)


def test_the_fit_is_the_minimum_that_a_search_finds():
    _, similarities, odd = choices(UNIT, 300, 0.3)
    found = minimize_scalar(
        lambda log: loss(similarities, odd, np.exp(log)), bounds=(-5, 3), method="bounded", options={"xatol": 1e-9}
    )
    assert fit_temperature(similarities, odd) == pytest.approx(np.exp(found.x), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.05, 0.3, 2.0])
def test_the_temperature_of_observers_is_recovered(temperature):
    _, similarities, odd = choices(UNIT, 20_000, temperature, seed=1)
    assert fit_temperature(similarities, odd) == pytest.approx(temperature, rel=0.08)
    assert fit_temperature(10 * similarities + 3, odd) == pytest.approx(10 * fit_temperature(similarities, odd))


def test_a_true_model_is_calibrated_on_stimuli_it_was_not_fitted_to():
    rows, similarities, odd = choices(UNIT, 4000, 0.2, seed=2)
    found = calibrate(similarities, rows, odd, resamples=100)
    assert found.interval[0] < 0.2 < found.interval[1]
    assert found.held_out[0] < found.temperature < found.held_out[1]
    assert (found.stimuli, found.trials) == (30, 4000)
    true = loss(similarities, odd, 0.2)
    assert found.calibrated.nll == pytest.approx(true, abs=0.003)
    assert found.calibrated.ece < 2 * found.calibrated.ece_noise < 0.05
    assert found.uncalibrated.ece > 0.2
    assert found.uncalibrated.nll == pytest.approx(loss(similarities, odd, 1.0))
    assert found.gain == pytest.approx(found.uncalibrated.nll - found.calibrated.nll)
    assert 0 < found.gain_interval[0] < found.gain < found.gain_interval[1]
    assert found.calibrated.nll_interval[0] < found.calibrated.nll < found.calibrated.nll_interval[1] < CHANCE
    predicted = 2 - similarities.argmax(axis=1)
    assert found.accuracy == pytest.approx((predicted == odd).mean())
    covered = sum(point.interval[0] <= point.confidence <= point.interval[1] for point in found.calibrated.curve)
    assert covered >= len(found.calibrated.curve) - 3


def test_no_trial_is_predicted_by_a_fit_to_its_stimuli():
    """Choices about some stimuli that no temperature explains do not move what is said of the others."""
    rows, similarities, odd = choices(UNIT, 1500, 0.2, seed=3)
    first = calibrate(similarities, rows, odd, resamples=0)
    fold = np.random.default_rng(0).permutation(30) % 6  # as stimuli are dealt
    touched = [set(fold[row].tolist()) for row in rows]
    spoiled = np.array([folds == {0} for folds in touched])
    assert spoiled.any()
    other = np.where(spoiled, 2 - similarities.argmin(axis=1), odd)
    second = calibrate(similarities, rows, other, resamples=0)
    assert second.temperature != first.temperature
    # trials that the only fits to fold 0 do not predict: those of fold 0, so the loss differs in these alone
    rest = np.array([0 in folds for folds in touched])

    def own(choice):
        """Predict by hand: every half of the folds, and the trials that it says nothing of."""
        logs = np.zeros(len(rows))
        halves = np.zeros(len(rows))
        for half in combinations(range(6), 3):
            inside = np.array([folds <= set(half) for folds in touched])
            apart = np.array([not folds & set(half) for folds in touched])
            logs[apart] += np.log(fit_temperature(similarities[inside], choice[inside]))
            halves[apart] += 1
        assert halves.min() >= 1
        temperatures = np.exp(logs / halves)
        chosen = odd_probabilities(similarities / temperatures[:, None], 1.0)[np.arange(len(rows)), choice]
        return -np.log(chosen)

    before, after = own(odd), own(other)
    assert first.calibrated.nll == pytest.approx(before.mean())
    assert second.calibrated.nll == pytest.approx(after.mean())
    np.testing.assert_array_equal(before[rest & ~spoiled], after[rest & ~spoiled])


def test_stimuli_are_dealt_anew_until_each_half_holds_enough_trials():
    rows, similarities, odd = choices(unit_points(40), 175, 0.2, seed=7)
    _, flat = np.unique(rows, return_inverse=True)
    shown = flat.reshape(rows.shape).tolist()
    dealt = {}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        for deal in range(100):  # by hand: which way is the first that has ten trials in every half
            dealt[seed] = deal
            fold = rng.permutation(40) % 6
            halves = [
                [number for number, row in enumerate(shown) if {fold[k] for k in row} <= set(half)]
                for half in combinations(range(6), 3)
            ]
            if min(map(len, halves)) >= LEAST_TRIALS:
                break
        fits = [fit_temperature(similarities[half], odd[half]) for half in halves]
        found = calibrate(similarities, rows, odd, resamples=0, seed=seed)
        assert found.held_out == pytest.approx((min(fits), max(fits)))
    assert {0} < set(dealt.values())  # some seeds do at once, others do not


def test_the_calibration_error_is_that_of_a_slow_loop():
    rows, similarities, odd = choices(UNIT, 600, 0.3, seed=4)
    once = np.unique(np.sort(rows, axis=1), axis=0, return_index=True)[1][:450]  # so that no two are equally sure
    rows, similarities, odd = rows[once], similarities[once], odd[once]
    found = score(odd_probabilities(similarities, 0.1), rows, odd, bins=9, resamples=0)
    confidence = odd_probabilities(similarities, 0.1).max(axis=1)
    right = 2 - similarities.argmax(axis=1) == odd
    error = 0.0
    for part in np.array_split(np.argsort(confidence), 9):
        error += len(part) / 450 * abs(right[part].mean() - confidence[part].mean())
    assert found.ece == pytest.approx(error)
    assert [point.trials for point in found.curve] == [50] * 9
    assert np.isnan(found.ece_interval).all()
    assert np.isnan(found.curve[0].interval).all()


def test_what_perfect_probabilities_have_for_an_error_is_what_they_have():
    errors, expected = [], []
    for seed in range(20):
        rows, similarities, odd = choices(UNIT, 600, 0.3, seed=seed)
        found = score(odd_probabilities(similarities, 0.3), rows, odd, resamples=0)
        errors.append(found.ece)
        expected.append(found.ece_noise)
    assert np.mean(errors) == pytest.approx(np.mean(expected), rel=0.15)


def test_equal_confidences_share_a_bin_and_ties_share_credit():
    rows = np.array([[0, 1, 2]] * 100)
    found = score(np.tile([0.4, 0.4, 0.2], (100, 1)), rows, np.repeat([0, 1, 2, 2], 25), resamples=0)
    (point,) = found.curve
    assert (point.trials, point.right, point.confidence) == (100, 0.25, pytest.approx(0.4))


def test_extremes_have_the_extreme_temperatures():
    _, similarities, _ = choices(UNIT, 100, 0.3)
    assert fit_temperature(similarities, 2 - similarities.argmax(axis=1)) == LEAST
    assert fit_temperature(similarities, 2 - similarities.argmin(axis=1)) == MOST
    assert fit_temperature(np.ones((5, 3)), np.zeros(5, np.int64)) == MOST


def test_what_cannot_be_calibrated_is_refused():
    rows, similarities, odd = choices(UNIT, 2000, 0.3)
    with pytest.raises(VidsimError, match="predict choices no better than chance"):
        calibrate(-similarities, rows, odd)
    with pytest.raises(VidsimError, match=rf"50 trials of .* are too few .* at least {LEAST_TRIALS}"):
        calibrate(similarities[:50], rows[:50], odd[:50])
    with pytest.raises(VidsimError, match="no trial to fit a temperature to"):
        fit_temperature(similarities[:0], odd[:0])
    with pytest.raises(VidsimError, match="a similarity is not finite"):
        fit_temperature(np.array([[0.1, np.nan, 0.2]]), np.array([0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"odd": lambda odd: odd + 1}, "a choice is 3; expected 0, 1 or 2"),
        ({"odd": lambda odd: odd - 1}, "a choice is -1; expected 0, 1 or 2"),
        ({"odd": lambda odd: odd.astype(float)}, "odd holds float64; expected whole numbers"),
        ({"odd": lambda odd: odd[:-1]}, r"of shape \(400, 3\) for choices of shape \(399,\)"),
        ({"rows": lambda rows: rows.astype(str)}, "rows holds <U21; expected whole numbers"),
        ({"rows": lambda rows: rows[1:]}, r"rows of shape \(399, 3\) for choices of shape \(400,\)"),
        ({"rows": lambda rows: rows[:, :2]}, r"rows of shape \(400, 2\)"),
    ],
)
def test_trials_that_do_not_fit_are_refused(unhooked, change, message):
    rows, similarities, odd = choices(UNIT, 400, 0.3)
    given = {"rows": rows, "odd": odd}
    given |= {name: spoil(given[name]) for name, spoil in change.items()}
    with pytest.raises(VidsimError, match=message):
        calibrate(similarities, **given, resamples=0)
    with pytest.raises(VidsimError, match=message):
        score(odd_probabilities(similarities, 0.1), **given, resamples=0)
    if "odd" in change:
        with pytest.raises(VidsimError, match=message):
            fit_temperature(similarities, given["odd"])


@pytest.mark.parametrize("row", [[0.5, 0.3, 0.3], [1.2, -0.2, 0.0], [np.nan, 0.5, 0.5]])
def test_what_are_no_probabilities_is_refused(row):
    probabilities = np.array([[0.5, 0.3, 0.2], row])
    with pytest.raises(VidsimError, match=r"of trial 1: expected three of 0 or more that sum to 1"):
        score(probabilities, np.array([[0, 1, 2]] * 2), np.array([0, 0]))


def test_probabilities_of_half_precision_are_taken():
    rows, similarities, odd = choices(UNIT, 400, 0.3)
    found = score(odd_probabilities(similarities, 0.3).astype(np.float16), rows, odd, resamples=0)
    assert found.nll == pytest.approx(loss(similarities, odd, 0.3), rel=1e-2)


def test_numbers_of_calibration_out_of_range_are_refused():
    rows, similarities, odd = choices(UNIT, 400, 0.3)
    for name, low in {"resamples": 0, "seed": 0, "bins": 1}.items():
        with pytest.raises(VidsimError, match=f"{name} {low - 1}: expected {low} or more"):
            score(odd_probabilities(similarities, 0.1), rows, odd, **{name: low - 1})
    for name in ("resamples", "seed"):
        with pytest.raises(VidsimError, match=f"{name} -1: expected 0 or more"):
            calibrate(similarities, rows, odd, **{name: -1})
