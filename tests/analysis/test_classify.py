import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score
from sklearn.preprocessing import StandardScaler

from vidsim.analysis.classify import PENALTIES, Classification, Labelled, classify, compare, deal
from vidsim.errors import VidsimError


def videos(k=6, groups=8, clips=4, d=12, noise=1.0, seed=0, dtype=np.float64):
    """Make clips of k classes; those of a group share more than their class."""
    rng = np.random.default_rng([seed, 1])
    centres = np.random.default_rng([seed, 0]).normal(size=(k, d))
    labels = np.repeat(np.arange(k), groups * clips)
    group = np.repeat(np.arange(k * groups), clips)
    scale = np.logspace(0, 1.5, d)
    points = centres[labels] + noise * (rng.normal(size=(k * groups, d))[group] + rng.normal(size=(len(labels), d)))
    return Labelled((3 + points * scale).astype(dtype), labels, group)


def halves(data):
    """Take the first two groups of each class for the test."""
    groups = len(np.unique(data.groups)) // len(np.unique(data.labels))
    test = data.groups % groups < 2
    return tuple(Labelled(data.matrix[part], data.labels[part], data.groups[part]) for part in (~test, test))


def slow(train, test, seed):
    """Do the same with scikit-learn, in the space as it is and without a shortcut."""
    scaler = StandardScaler().fit(train.matrix)
    x, other = (scaler.transform(part.matrix) / np.sqrt(train.matrix.shape[1]) for part in (train, test))
    held = deal(train.labels, train.groups, np.random.default_rng(seed))

    def fit(rows, penalty):
        c = 1 / (len(rows) * penalty)
        return LogisticRegression(C=c, tol=1e-9, max_iter=20_000).fit(x[rows], train.labels[rows])

    merits = []
    for penalty in PENALTIES:
        found = fit(np.flatnonzero(~held), penalty)
        p = found.predict_proba(x[held])
        right = (p.argmax(axis=1) == train.labels[held]).mean()
        merits.append((right, np.log(p[np.arange(len(p)), train.labels[held]]).mean()))
        if len(merits) > 3 and max(merits[-3:]) < max(merits[:-3]):
            break
    penalty = PENALTIES[max(range(len(merits)), key=merits.__getitem__)]
    return penalty, fit(np.arange(len(x)), penalty).predict_proba(other)


@pytest.mark.parametrize(("d", "noise"), [(12, 0.7), (150, 2.5)])
def test_answers_are_scikit_learns(d, noise):
    train, test = halves(videos(d=d, noise=noise, clips=2))
    found = classify(train, test, 6, seeds=[0, 1])
    assert 0.4 < found.accuracies().mean() < 0.99
    for seed in range(2):
        penalty, probabilities = slow(train, test, seed)
        assert found.penalties[seed] == penalty
        own = probabilities[np.arange(len(test.labels)), test.labels]
        np.testing.assert_array_equal(found.ranks[seed], (probabilities > own[:, None]).sum(axis=1))
        for k in (1, 2, 5):
            assert found.accuracies(k)[seed] == top_k_accuracy_score(test.labels, probabilities, k=k)


def test_units_and_rotations_change_nothing():
    train, test = halves(videos(noise=1.3, clips=2, dtype=np.float32))
    found = classify(train, test, 6)
    rng = np.random.default_rng(0)
    stretch, shift = np.exp(rng.normal(size=12)), rng.normal(size=12)
    parts = [
        Labelled((part.matrix * stretch + shift).astype(np.float32), part.labels, part.groups) for part in (train, test)
    ]
    again = classify(*parts, 6)
    assert again.penalties == found.penalties
    assert (again.ranks == found.ranks).mean() > 0.99
    wide = [
        Labelled(np.hstack([part.matrix, np.full((len(part.labels), 2), 7.3, np.float32)]), part.labels, part.groups)
        for part in (train, test)
    ]
    np.testing.assert_array_equal(classify(*wide, 6).ranks, found.ranks)


def test_seeds_differ_by_their_dealing_alone():
    train, test = halves(videos(noise=1.6, seed=3))
    told = []
    found = classify(train, test, 6, seeds=range(6), progress=lambda done, total: told.append((done, total)))
    assert told == [(k, 6) for k in range(1, 7)]
    assert len(set(found.penalties)) > 1
    np.testing.assert_array_equal(classify(train, test, 6, seeds=[4]).ranks[0], found.ranks[4])
    for a in range(6):
        for b in range(a):
            if found.penalties[a] == found.penalties[b]:
                np.testing.assert_array_equal(found.ranks[a], found.ranks[b])


def test_a_classifier_of_nothing_is_right_by_chance():
    data = videos(k=10, groups=12, noise=1.0, seed=5)
    blind = np.random.default_rng(9).normal(size=data.matrix.shape)
    train, test = halves(Labelled(blind, data.labels, data.groups))
    found = classify(train, test, 10)
    low, high = found.interval()
    assert low < 0.1 < high


def test_groups_are_dealt_whole_and_within_classes():
    data = videos(groups=18)
    held = deal(data.labels, data.groups, np.random.default_rng(1))
    for group in np.unique(data.groups):
        assert len(set(held[data.groups == group])) == 1
    for label in range(6):
        assert len(set(data.groups[held & (data.labels == label)])) == 4  # a fifth of 18, rounded
    assert (deal(data.labels, data.groups, np.random.default_rng(2)) != held).any()
    shuffled = np.random.default_rng(0).permutation(len(held))
    again = deal(data.labels[shuffled], data.groups[shuffled], np.random.default_rng(1))
    np.testing.assert_array_equal(again, held[shuffled])


def test_clips_of_a_group_cannot_help_to_choose_their_own_penalty():
    """Clips of a group are alike but groups of a class are not: dealt by clip, validation would be near perfect."""
    rng = np.random.default_rng(0)
    labels, groups = np.repeat(np.arange(4), 60), np.repeat(np.arange(48), 5)
    points = rng.normal(size=(48, 40))[groups] + 0.01 * rng.normal(size=(240, 40))
    held = deal(labels, groups, np.random.default_rng(0))
    fitted = LogisticRegression(C=10).fit(points[~held], labels[~held])
    assert fitted.score(points[held], labels[held]) < 0.6
    apart = np.arange(240) % 5 == 0
    assert LogisticRegression(C=10).fit(points[~apart], labels[~apart]).score(points[apart], labels[apart]) > 0.95


def test_accuracy_of_classes_and_the_interval():
    labels = np.array([0, 0, 1, 1, 1, 3])
    groups = np.array([0, 0, 1, 1, 2, 3])
    ranks = np.array([[0, 1, 0, 0, 2, 0], [0, 0, 0, 0, 7, 9]])
    found = Classification(ranks, (1.0, 1.0), labels, groups)
    np.testing.assert_allclose(found.accuracies(), [4 / 6, 4 / 6])
    np.testing.assert_allclose(found.accuracies(5), [1, 4 / 6])
    np.testing.assert_allclose(found.of_classes(4), [0.75, 2 / 3, np.nan, 0.5])
    right = (ranks == 0).mean(axis=0)
    rng = np.random.default_rng(2)
    means = []
    for _ in range(4000):
        drawn = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(4, size=4)])
        means.append(right[drawn].mean())
    interval = found.interval(resamples=4000)
    np.testing.assert_allclose(interval, np.percentile(means, [2.5, 97.5]), atol=0.03)
    alone = Classification(ranks, (1.0, 1.0), labels, np.zeros(6, np.int64))
    assert np.isnan(alone.interval()).all()
    assert np.isnan(found.interval(resamples=0)).all()


def test_two_models_are_compared_on_the_same_videos():
    good, poor = (halves(videos(noise=noise, clips=3)) for noise in (0.8, 2.5))
    a, b = classify(*poor, 6), classify(*good, 6)
    found = compare(a, b)
    assert found.difference == pytest.approx(b.accuracies().mean() - a.accuracies().mean())
    assert 0 < found.interval[0] < found.difference < found.interval[1]
    right_a, right_b = a.ranks[0] == 0, b.ranks[0] == 0
    assert (found.only_first, found.only_second) == ((right_a & ~right_b).sum(), (right_b & ~right_a).sum())
    uneven = binomtest(found.only_first, found.only_first + found.only_second)
    assert found.p_value == pytest.approx(uneven.pvalue)
    same = compare(a, a)
    assert (same.difference, same.interval, same.p_value) == (0, (0, 0), 1)
    for name in ("resamples", "seed"):
        with pytest.raises(VidsimError, match=f"{name} -1: expected 0 or more"):
            a.interval(**{name: -1})
        with pytest.raises(VidsimError, match=f"{name} -1: expected 0 or more"):
            compare(a, b, **{name: -1})
    with pytest.raises(VidsimError, match="tested on different videos"):
        compare(a, Classification(b.ranks, b.penalties, b.labels[::-1], b.groups))


def test_what_cannot_be_learnt_is_refused():
    train, test = halves(videos(k=3))
    one = Labelled(train.matrix, np.zeros_like(train.labels), train.groups)
    flat = Labelled(np.ones_like(train.matrix), train.labels, train.groups)
    broken = Labelled(np.where(np.arange(12) == 3, np.nan, train.matrix), train.labels, train.groups)
    lonely = Labelled(train.matrix, train.labels, train.labels)
    few = Labelled(train.matrix[:0], train.labels[:0], train.groups[:0])
    for arguments, message in [
        ((one, one, 1), "all of one class"),
        ((flat, test, 3), "are equal; choose another layer"),
        ((broken, test, 3), "embeddings of training videos are not finite"),
        ((train, broken, 3), "embeddings of test videos are not finite"),
        ((lonely, test, 3), "every class has a single group"),
        ((train, few, 3), "0 test videos"),
        ((train, test, 4), "a class has no training videos"),
    ]:
        with pytest.raises(VidsimError, match=message):
            classify(*arguments)
    with pytest.raises(VidsimError, match="seed -1: expected 0 or more"):
        classify(train, test, 3, seeds=(0, -1))
