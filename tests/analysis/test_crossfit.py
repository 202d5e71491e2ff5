import numpy as np
from scipy.stats import pearsonr

from vidsim.analysis.crossfit import cross_fit
from vidsim.analysis.ridge import fit_ridge


def test_the_part_of_fits_is_what_leaving_a_stimulus_out_changes():
    """To first order: with folds and penalties given, a small step towards the predictions without the stimulus."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8))
    y = 0.8 * x[:, :1] + 0.6 * rng.normal(size=(60, 1))
    plain = cross_fit(x, y, np.zeros(60, bool), [rng.permutation(60)], 5)
    fold = plain.deals[0].fold
    step = 1e-5

    def r_towards(gone):
        each = []
        for k in range(5):
            test, train = fold == k, fold != k
            rest = train & (np.arange(60) != gone)
            fit = fit_ridge(x[train], y[train])
            # the same penalty, though the mean squared length of embeddings differs
            units = [((x[part] - x[part].mean(axis=0)) ** 2).sum() / part.sum() for part in (train, rest)]
            without = fit_ridge(x[rest], y[rest], fit.penalties * units[0] / units[1]).predict(x[test])
            whole = fit.predict(x[test])
            each.append(pearsonr((whole + step * (without - whole))[:, 0], y[test, 0]).statistic)
        return np.mean(each)

    slow = [(plain.r[0] - r_towards(gone)) / step for gone in range(60)]
    np.testing.assert_allclose(plain.pull[:, 0], slow, atol=1e-6)
