import numpy as np
import pytest
from scipy.stats import pearsonr

from vidsim.analysis.predictions import Predictions


def test_resamples_are_as_if_written_out():
    rng = np.random.default_rng(1)
    fold = rng.integers(-1, 3, size=40)
    p, y = rng.normal(size=(2, 40, 2))
    y += p
    times = rng.multinomial(40, np.full(40, 1 / 40), size=6).astype(float)
    for k in range(3):
        p[fold == k] -= p[fold == k].mean(axis=0)
        y[fold == k] -= y[fold == k].mean(axis=0)
    found = Predictions(np.arange(2), fold, p, y).correlate(times)
    for row, drawn in zip(found, times.astype(int), strict=True):
        for k in range(2):
            predicted, rated = [], []
            for part in range(3):
                rows = np.repeat(np.arange(40), drawn * (fold == part))
                predicted += list(p[rows, k] - p[rows, k].mean())
                rated += list(y[rows, k] - y[rows, k].mean())
            assert row[k] == pytest.approx(pearsonr(predicted, rated).statistic)
