import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from vidsim.analysis.ranking import Ideal, discounted

RNG = np.random.default_rng(0)
GAINS = np.round(RNG.random(40), 1)  # so that some tie
SCORES = {"all different": RNG.normal(size=40), "ties": RNG.integers(0, 4, size=40) / 4, "constant": np.ones(40)}
TIMES = RNG.multinomial(40, np.full(40, 1 / 40), size=6).T


@pytest.mark.parametrize("k", [1, 5, 10])
@pytest.mark.parametrize("name", SCORES)
def test_ndcg_of_repeated_candidates_is_scikit_learns(name, k):
    ideal = Ideal.of(GAINS, TIMES, k)
    assert ideal.known.all()
    for found, times in zip(ideal.score(SCORES[name])[0], TIMES.T, strict=True):
        gains, scores = np.repeat(GAINS, times)[None], np.repeat(SCORES[name], times)[None]
        assert found == pytest.approx(ndcg_score(gains, scores, k=k))


def test_an_order_at_random_is_one_where_all_tie_and_the_best_is_perfect():
    ideal = Ideal.of(GAINS, TIMES, 5)
    np.testing.assert_allclose(ideal.random(), ideal.score(SCORES["constant"]))
    np.testing.assert_allclose(ideal.random()[1], 5 / 40)
    np.testing.assert_allclose(ideal.score(GAINS)[0], 1)


def test_recall_counts_those_in_common():
    gains = RNG.permutation(40) / 40
    (found,) = Ideal.of(gains, np.ones((40, 1), np.int64), 7).score(SCORES["all different"])[1]
    first = [set(np.argsort(-values)[:7].tolist()) for values in (gains, SCORES["all different"])]
    assert found == pytest.approx(len(first[0] & first[1]) / 7)


@pytest.mark.parametrize(("gains", "drawn"), [(np.zeros(4), 1), (np.ones(4), 0)])
def test_where_all_orders_are_as_good_nothing_is_known(gains, drawn):
    ideal = Ideal.of(gains, np.full((4, 1), drawn), 2)
    assert not ideal.known.any()
    assert not ideal.score(np.arange(4.0)).any()
    assert not ideal.random().any()


def test_discounts_are_added():
    assert discounted(9)[9] == pytest.approx(sum(1 / np.log2(1 + place) for place in range(1, 10)))
