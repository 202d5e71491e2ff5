import numpy as np
import pytest
from scipy.stats import chisquare, spearmanr

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.simulate import expected_rsm, planted_rsm, shown, simulate
from vidsim.errors import VidsimError
from vidsim.rsm import RSM

ONE = np.array([[0, 1, 2]])


def rsm3(ab: float, ac: float, bc: float) -> RSM:
    return RSM(("a", "b", "c"), np.array([[1, ab, ac], [ab, 1, bc], [ac, bc, 1.0]]))


def softmax(values: list[float]) -> np.ndarray:
    return np.exp(values) / np.exp(values).sum()


def odd_ones(judgments: Judgments) -> np.ndarray:
    return np.bincount(judgments.rows[:, 2], minlength=3)


@pytest.mark.parametrize(("temperature", "lapse"), [(1.0, 0.0), (0.25, 0.0), (0.25, 0.4), (0.1, 1.0)])
def test_choices_are_as_frequent_as_the_softmax_says(temperature, lapse):
    judgments = simulate(
        rsm3(0.3, 0.1, -0.2), trials=np.repeat(ONE, 50_000, axis=0), temperature=temperature, lapse=lapse, seed=1
    )
    odd_a_b_c = softmax([-0.2 / temperature, 0.1 / temperature, 0.3 / temperature])
    expected = 50_000 * ((1 - lapse) * odd_a_b_c + lapse / 3)
    assert chisquare(odd_ones(judgments), expected).pvalue > 1e-3
    assert chisquare(np.bincount(judgments.position)[1:]).pvalue > 1e-3


def test_random_triplets_are_all_equally_frequent_in_every_order():
    rows = shown(simulate(planted_rsm(5, 2), trials=60_000, temperature=0.3, seed=2))
    codes, counts = np.unique(rows @ [25, 5, 1], return_counts=True)
    assert len(codes) == 5 * 4 * 3
    assert chisquare(counts).pvalue > 1e-3


def test_what_was_shown_comes_back_in_a_random_order():
    triplets = np.array([[0, 1, 2], [1, 3, 2], [4, 0, 3]] * 4000)
    judgments = simulate(planted_rsm(5, 2), trials=triplets, temperature=0.3)
    assert np.array_equal(np.sort(shown(judgments)), np.sort(triplets))
    assert np.array_equal(shown(judgments)[np.arange(12_000), judgments.position - 1], judgments.rows[:, 2])
    ranks = shown(judgments).argsort(axis=1) @ [9, 3, 1]
    assert chisquare(np.unique(ranks, return_counts=True)[1]).pvalue > 1e-3


def test_without_noise_the_most_similar_pair_stays_and_ties_are_broken_at_random():
    rsm = planted_rsm(12, 3)
    a, b, odd = simulate(rsm, trials=5000, temperature=0.0).rows.T
    s = rsm.similarities
    assert (s[a, b] >= np.maximum(s[a, odd], s[b, odd])).all()
    ties = simulate(rsm3(0.5, 0.5, 0.2), trials=20_000, temperature=0.0, seed=3)
    assert odd_ones(ties)[0] == 0
    assert chisquare(odd_ones(ties)[1:]).pvalue > 1e-3
    nearly = simulate(rsm3(0.5, 0.4, 0.2), trials=1000, temperature=1e-310)
    assert odd_ones(nearly).tolist() == [0, 0, 1000]


def test_each_participant_has_a_taste_for_places():
    judgments = simulate(
        rsm3(0.2, 0.2, 0.2), trials=200_000, temperature=1.0, participants=40, participant_bias=0.7, seed=4
    )
    _, who = judgments.participants
    counts = np.array([np.bincount(judgments.position[who == p], minlength=4)[1:] for p in range(40)])
    logits = np.log(counts)
    logits -= logits.mean(axis=1, keepdims=True)
    # centring a triple of independent normals leaves 2/3 of their variance
    assert logits.std() == pytest.approx(0.7 * np.sqrt(2 / 3), rel=0.2)
    assert counts.sum(axis=0) / 200_000 == pytest.approx(np.full(3, 1 / 3), abs=0.1)
    calm = simulate(rsm3(0.2, 0.2, 0.2), trials=200_000, temperature=1.0, participants=40, seed=4)
    assert chisquare(np.bincount(calm.position)[1:]).pvalue > 1e-3


def test_people_of_their_own_mind_agree_with_themselves_more_than_with_others():
    n = 12
    judgments = simulate(planted_rsm(n, 3), trials=120_000, temperature=0.2, participants=4, individual=0.5, seed=5)
    _, who = judgments.participants
    halves = np.arange(len(judgments)) % 2
    upper = [[judgments.select((who == p) & (halves == h)).triplets.rsm().upper for h in (0, 1)] for p in range(4)]
    same = np.mean([spearmanr(*upper[p]).statistic for p in range(4)])
    other = np.mean([spearmanr(upper[p][0], upper[q][1]).statistic for p in range(4) for q in range(4) if p != q])
    assert same > 0.95
    assert other < same - 0.1


def test_participants_judge_blocks_of_equal_size():
    judgments = simulate(planted_rsm(6, 2), trials=107, temperature=0.3, participants=10)
    names, who = judgments.participants
    assert names == tuple(f"p{i:02}" for i in range(1, 11))
    assert sorted(np.bincount(who)) == [10] * 3 + [11] * 7
    assert (np.diff(who) >= 0).all()
    trials = judgments.details["trial"].to_numpy()
    assert all(np.array_equal(trials[who == p], np.arange(1, (who == p).sum() + 1)) for p in range(10))
    assert np.isnan(judgments.response_time).all()
    assert len(judgments.triplets) == 107
    assert Judgments.from_table(judgments.table()).details.equals(judgments.details)


def test_the_seed_decides():
    first, again, other = (simulate(planted_rsm(9, 2), trials=500, temperature=0.3, seed=s) for s in (0, 0, 1))
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)


@pytest.mark.parametrize(("temperature", "lapse"), [(0.4, 0.0), (0.05, 0.2), (1e-4, 0.0), (0.0, 0.1)])
def test_expected_rsm_equals_a_slow_loop(temperature, lapse):
    s = np.round(planted_rsm(9, 3).similarities, 1)  # rounded, so that some are equal
    expected = np.ones((9, 9))
    for i in range(9):
        for j in range(9):
            together = []
            for k in set(range(9)) - {i, j}:
                trio = np.array([s[i, j], s[i, k], s[j, k]])
                best = trio == trio.max()
                p = np.exp((trio - trio.max()) / temperature) if temperature else best.astype(float)
                together.append((1 - lapse) * p[0] / p.sum() + lapse / 3)
            if i != j:
                expected[i, j] = np.mean(together)
    actual = expected_rsm(RSM(tuple("abcdefghi"), s), temperature=temperature, lapse=lapse)
    np.testing.assert_allclose(actual.similarities, expected, rtol=1e-12)


def test_human_rsm_converges_to_the_expected_one():
    rsm = planted_rsm(20, 4, seed=1)
    truth = expected_rsm(rsm, temperature=0.3, lapse=0.1)
    human = simulate(rsm, trials=400_000, temperature=0.3, lapse=0.1, seed=6).triplets.rsm()
    errors = (human.upper - truth.upper) / np.sqrt(truth.upper * (1 - truth.upper) / human.upper_counts)
    assert np.sqrt((errors**2).mean()) == pytest.approx(1, abs=0.2)  # as far off as binomial counts are
    assert spearmanr(human.upper, truth.upper).statistic > 0.99


def test_a_planted_geometry_is_recovered():
    rsm = planted_rsm(60, 5)
    truth = expected_rsm(rsm, temperature=0.2)
    few, many = (
        spearmanr(simulate(rsm, trials=t, temperature=0.2).triplets.rsm().upper, truth.upper, nan_policy="omit")
        for t in (3000, 60_000)
    )
    assert few.statistic < 0.9
    assert many.statistic >= 0.95


@pytest.mark.slow
def test_ten_million_trials():
    rsm = planted_rsm(1000, 10)
    human = simulate(rsm, trials=10_000_000, temperature=0.1, participants=100, seed=7).triplets.rsm()
    truth = expected_rsm(rsm, temperature=0.1)
    errors = (human.upper - truth.upper) / np.sqrt(truth.upper * (1 - truth.upper) / human.upper_counts)
    assert np.sqrt((errors**2).mean()) == pytest.approx(1, abs=0.02)


def test_what_cannot_be_simulated_is_refused():
    rsm = planted_rsm(5, 2)
    holed = rsm.similarities.copy()
    holed[1, 3] = holed[3, 1] = np.nan
    with pytest.raises(VidsimError, match=r"1 of 10 pairs have no similarity, the first is 's2' with 's4'"):
        simulate(RSM(rsm.ids, holed), trials=10, temperature=1.0)
    for wrong in (
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"lapse": 1.1},
        {"trials": 0},
        {"participants": 11},
        {"participants": 0},
        {"participant_bias": -1.0},
        {"individual": -1.0},
    ):
        with pytest.raises(VidsimError, match=f"{next(iter(wrong))} is .*expected"):
            simulate(rsm, **{"trials": 10, "temperature": 1.0, **wrong})
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        simulate(rsm, trials=10, temperature=1.0, seed=-1)
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        planted_rsm(5, 2, seed=-1)
    with pytest.raises(VidsimError, match="more than once"):
        simulate(rsm, trials=np.array([[0, 0, 1]]), temperature=1.0)
    with pytest.raises(VidsimError, match="stimuli is 2"):
        expected_rsm(planted_rsm(3, 2).take(["s1", "s2"]), temperature=1.0)
