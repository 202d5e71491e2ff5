from dataclasses import replace

import numpy as np
import pytest
from numpy import ndarray
from planted import DIMS, judged, planted, space
from scipy.special import log_softmax

from vidsim.adapt.linear_fit import fit_linear, loss_and_slope
from vidsim.analysis.odd_one_out import credits
from vidsim.analysis.ordinal.likelihood import pair_keys
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError
from vidsim.rsm import cosine_rsm
from vidsim.triplets import Triplets


def test_recovers_a_planted_metric_for_stimuli_it_has_not_seen():
    everything = space(90)
    seen, unseen = everything.ids[:60], everything.ids[60:]
    fitted = fit_linear(everything, judged(everything.take(seen)), penalty=0.01, temperature=0.2, centre=0.0)
    human = cosine_rsm(planted().apply(everything.take(unseen)))
    before = np.corrcoef(cosine_rsm(everything.take(unseen)).upper, human.upper)[0, 1]
    after = np.corrcoef(cosine_rsm(fitted.apply(everything.take(unseen))).upper, human.upper)[0, 1]
    assert before < 0.6
    assert after > 0.97
    axes = np.linalg.svd(fitted.weight)[0][:, :3]  # the three directions that were stretched most
    wanted = np.linalg.svd(planted().weight, full_matrices=False)[0]
    assert np.linalg.svd(axes.T @ wanted)[1].min() > 0.9


def test_predicts_choices_nearly_as_well_as_the_truth():
    everything = space(90)
    fitted = fit_linear(everything, judged(everything.take(everything.ids[:60])), penalty=0.01, temperature=0.2)
    unseen = everything.take(everything.ids[60:])
    new = judged(unseen, 4000, seed=9)
    raw, found, truth = (
        credits(cosine_rsm(e), new).accuracies()["three_way"]
        for e in (unseen, fitted.apply(unseen), planted().apply(unseen))
    )
    assert found > truth - 0.05 > raw + 0.1


def slow_loss(weight: ndarray, features: ndarray, rows: ndarray, penalty: float, temperature: float) -> float:
    z = features @ weight
    total = 0.0
    for a, b, odd in rows:
        cosines = [z[i] @ z[j] / (np.linalg.norm(z[i]) * np.linalg.norm(z[j])) for i, j in ((a, b), (a, odd), (b, odd))]
        total -= log_softmax(np.array(cosines) / temperature)[0]
    off = weight - np.eye(*weight.shape)
    return total / len(rows) + penalty / 2 * np.sum(off * off)


def test_loss_equals_a_slow_loop_and_slope_equals_finite_differences():
    rng = np.random.default_rng(3)
    features, rows = space(10, 4).matrix, judged(space(10, 4), 40).rows
    weight = rng.normal(size=(4, 4))
    value, slope = loss_and_slope(weight, features, pair_keys(rows, 10), 0.3, 0.4)
    assert value == pytest.approx(slow_loss(weight, features, rows, 0.3, 0.4), rel=1e-12)
    numeric = np.zeros(16)
    for place in range(16):
        step = np.zeros(16)
        step[place] = 1e-5
        up, down = (slow_loss(weight + sign * step.reshape(4, 4), features, rows, 0.3, 0.4) for sign in (1, -1))
        numeric[place] = (up - down) / 2e-5
    np.testing.assert_allclose(slope, numeric, atol=1e-8)


def test_the_search_ends_where_the_loss_is_flat_in_all_of_the_space():
    # it searches the span of the stimuli alone: with more dimensions than stimuli the full slope must vanish as well
    embeddings = space(14, 20)
    trials = judged(embeddings, 200)
    fitted = fit_linear(embeddings, trials, penalty=1.0, centre=1.0)
    features = embeddings.matrix - embeddings.matrix.mean(axis=0)
    _, slope = loss_and_slope(fitted.weight.astype(float), features, pair_keys(trials.rows, 14), 1.0, 0.4)
    _, start = loss_and_slope(np.eye(20), features, pair_keys(trials.rows, 14), 1.0, 0.4)
    assert np.abs(slope).max() < 0.01 * np.abs(start).max()


def test_a_large_penalty_leaves_the_similarities_as_they_are():
    embeddings = space()
    fitted = fit_linear(embeddings, judged(embeddings), penalty=1e6, centre=0.0)
    np.testing.assert_allclose(fitted.weight, np.eye(DIMS), atol=1e-5)
    np.testing.assert_allclose(cosine_rsm(fitted.apply(embeddings)).upper, cosine_rsm(embeddings).upper, atol=1e-5)
    centred = fit_linear(embeddings, judged(embeddings), penalty=1e6, centre=1.0)
    wanted = Embeddings(embeddings.ids, embeddings.matrix - embeddings.matrix.mean(axis=0))
    np.testing.assert_allclose(cosine_rsm(centred.apply(embeddings)).upper, cosine_rsm(wanted).upper, atol=1e-5)


def test_what_stimuli_do_not_span_passes_unchanged():
    embeddings = space(8, 20)
    fitted = fit_linear(embeddings, judged(embeddings, 300), penalty=0.01, centre=1.0)
    directions = np.linalg.svd(embeddings.matrix - embeddings.matrix.mean(axis=0))[2]
    outside = directions[7:]  # eight centred stimuli span seven dimensions
    np.testing.assert_allclose(outside @ fitted.weight, outside, atol=1e-5)
    assert np.abs(directions[:7] @ fitted.weight - directions[:7]).max() > 0.1


@pytest.mark.parametrize("rank", [None, 5])
def test_rotation_unit_and_order_do_not_matter(rank: int | None):
    embeddings = space()
    trials = judged(embeddings)
    base = fit_linear(embeddings, trials, penalty=0.05, rank=rank)
    wanted = cosine_rsm(base.apply(embeddings)).upper
    turn = np.linalg.qr(np.random.default_rng(8).normal(size=(DIMS, DIMS)))[0]
    for matrix in (embeddings.matrix @ turn, 1000 * embeddings.matrix):
        other = Embeddings(embeddings.ids, matrix)
        fitted = fit_linear(other, trials, penalty=0.05, rank=rank)
        np.testing.assert_allclose(cosine_rsm(fitted.apply(other)).upper, wanted, atol=2e-3)
    order = np.random.default_rng(4).permutation(len(embeddings))
    shuffled = embeddings.take([embeddings.ids[int(i)] for i in order])
    fitted = fit_linear(shuffled, trials, penalty=0.05, rank=rank)
    np.testing.assert_array_equal(fitted.weight, base.weight)  # rows are looked up by id
    swapped = replace(trials, rows=trials.rows[::-1][:, [1, 0, 2]])
    again = fit_linear(embeddings, swapped, penalty=0.05, rank=rank)
    np.testing.assert_allclose(cosine_rsm(again.apply(embeddings)).upper, wanted, atol=2e-3)


def test_rank_projects_on_leading_axes():
    embeddings = space()
    fitted = fit_linear(embeddings, judged(embeddings), penalty=1e6, rank=4, centre=1.0)
    centred = embeddings.matrix - embeddings.matrix.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    wanted = Embeddings(embeddings.ids, left[:, :4] * sizes[:4])
    assert fitted.weight.shape == (DIMS, 4)
    np.testing.assert_allclose(cosine_rsm(fitted.apply(embeddings)).upper, cosine_rsm(wanted).upper, atol=1e-4)


def test_other_stimuli_and_their_judgments_are_not_looked_at():
    everything = space()
    seen = everything.ids[:40]
    trials = judged(everything).restrict(seen)
    assert len(trials.outside)
    base = fit_linear(everything, trials, penalty=0.1)
    alone = fit_linear(everything.take(seen), Triplets(trials.ids, trials.rows), penalty=0.1)
    np.testing.assert_array_equal(base.weight, alone.weight)
    np.testing.assert_array_equal(base.mean, alone.mean)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"penalty": 0.0}, "penalty is 0: expected above 0"),
        ({"penalty": float("nan")}, "penalty is nan"),
        ({"temperature": 0.0}, "temperature is 0"),
        ({"centre": 1.5}, "centre is 1.5"),
        ({"rank": 0}, "rank is 0"),
    ],
)
def test_arguments_outside_their_range(arguments: dict[str, object], says: str):
    embeddings = space(20)
    with pytest.raises(VidsimError, match=says):
        fit_linear(embeddings, judged(embeddings, 500), **arguments)  # pyright: ignore[reportArgumentType]


def test_bad_embeddings_and_trials():
    embeddings = space(10)
    trials = judged(embeddings, 100)
    with pytest.raises(VidsimError, match="'s9'"):
        fit_linear(embeddings.take(embeddings.ids[:9]), trials, penalty=0.1)
    with pytest.raises(VidsimError, match="no trial"):
        fit_linear(embeddings, trials.select(np.arange(0)), penalty=0.1)
    with pytest.raises(VidsimError, match="are the same"):
        fit_linear(Embeddings(embeddings.ids, np.ones((10, 3))), trials, penalty=0.1, centre=1.0)
    broken = embeddings.matrix.copy()
    broken[3, 0] = np.inf
    with pytest.raises(VidsimError, match="'s3'"):
        fit_linear(Embeddings(embeddings.ids, broken), trials, penalty=0.1)


def test_an_embedding_of_no_length_is_borne():
    embeddings = Embeddings(space(10).ids, np.vstack([np.zeros(DIMS), space(9).matrix]))
    fitted = fit_linear(embeddings, judged(space(10), 300), penalty=0.1, centre=0.0)
    assert np.isfinite(fitted.weight).all()
