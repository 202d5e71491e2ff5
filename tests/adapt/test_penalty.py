import numpy as np
import pytest
from planted import judged, space
from scipy.stats import spearmanr

from vidsim.adapt.linear_fit import PENALTY, fit_linear
from vidsim.adapt.penalty import best_penalty, fit_any, held_out
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets


def test_cross_validation_is_over_stimuli():
    embeddings = space()
    trials = judged(embeddings)
    rho = held_out(embeddings, trials, [1e-6, 0.01, 1e6], folds=3, seed=7)
    assert list(rho) == [1e-6, 0.01, 1e6]
    assert best_penalty(rho) == 0.01
    fold = np.random.default_rng(7).permutation(60) % 3
    # the second fold by hand
    ids = [[i for i, f in zip(embeddings.ids, fold, strict=True) if (f == 1) == out] for out in (False, True)]
    fitted = fit_linear(embeddings, trials.restrict(ids[0]), penalty=0.01)
    model = cosine_rsm(fitted.apply(embeddings.take(ids[1]))).upper
    human = trials.restrict(ids[1]).rsm("any").upper
    known = np.isfinite(human)
    assert rho[0.01][1] == pytest.approx(spearmanr(model[known], human[known])[0])
    best = best_penalty(held_out(embeddings, trials))
    assert best != PENALTY  # what is taken where nothing chooses
    expected = fit_linear(embeddings, trials, penalty=best).weight
    np.testing.assert_array_equal(fit_any(embeddings, trials).weight, expected)


def test_other_stimuli_and_their_judgments_are_not_looked_at():
    everything = space()
    trials = judged(everything).restrict(everything.ids[:40])
    assert len(trials.outside)
    first, second = (held_out(everything, t, [0.1], folds=4)[0.1] for t in (trials, Triplets(trials.ids, trials.rows)))
    np.testing.assert_array_equal(first, second)


def test_of_equal_penalties_the_larger_is_chosen():
    same = np.array([0.2, 0.4])
    assert best_penalty({0.1: same, 0.3: same[::-1], 0.2: same, 0.4: same - 0.1}) == 0.3


@pytest.mark.parametrize(("penalties", "folds", "says"), [([], 5, "0 penalties"), ([0.1], 1, "1 folds")])
def test_folds_and_penalties_outside_their_range(penalties: list[float], folds: int, says: str):
    embeddings = space(20)
    with pytest.raises(VidsimError, match=says):
        held_out(embeddings, judged(embeddings, 500), penalties, folds=folds)


def test_too_few_stimuli_for_so_many_folds():
    embeddings = space(10)
    trials = judged(embeddings, 100)
    with pytest.raises(VidsimError, match="too few"):
        held_out(embeddings, trials, folds=8)
