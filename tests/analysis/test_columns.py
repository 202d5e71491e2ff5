import numpy as np
import pytest

from vidsim.analysis import columns
from vidsim.analysis.columns import RankedColumns, resample
from vidsim.analysis.correlation import codes_of, rho_a, spearman

RNG = np.random.default_rng(0)
PAIRS, RESAMPLES = 75, 23
MODELS = np.stack([RNG.normal(size=PAIRS), RNG.integers(0, 4, PAIRS), np.zeros(PAIRS), np.arange(PAIRS)])
TIMES = RNG.integers(0, 4, (RESAMPLES, PAIRS)).astype(np.float64)
TIMES[5] = 0
TIMES[6] = np.arange(PAIRS) == 9
SHARED = RNG.integers(0, 6, PAIRS) / 6
OWN = RNG.integers(0, 6, (RESAMPLES, PAIRS)) / 6
OWN[7] = 0.5


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("block", [1, 4 * PAIRS, 1 << 16])
@pytest.mark.parametrize("people", [SHARED, OWN], ids=["shared", "own"])
def test_every_resample_is_correlated_as_on_its_own_whatever_the_blocks(monkeypatch, people, block, workers):
    monkeypatch.setattr(columns, "BLOCK", block)
    codes = np.stack([codes_of(row) for row in people]) if people.ndim > 1 else codes_of(people)

    def draw(part):
        return TIMES[part], codes[part] if codes.ndim > 1 else codes

    found = resample(RankedColumns.of(MODELS), RESAMPLES, draw, workers)
    for r in range(RESAMPLES):
        own = people[r] if people.ndim > 1 else people
        expected = [(spearman(model, own, TIMES[r]), rho_a(model, own, TIMES[r])) for model in MODELS]
        np.testing.assert_allclose(found.spearman[r], [s for s, _ in expected], atol=1e-12)
        np.testing.assert_allclose(found.rho_a[r], [a for _, a in expected], atol=1e-12)


def test_the_layout_of_the_times_makes_no_difference():
    ranked, codes = RankedColumns.of(MODELS), codes_of(SHARED)
    one, other = (ranked.correlate(times, codes) for times in (TIMES, np.asfortranarray(TIMES)))
    np.testing.assert_array_equal(one.spearman, other.spearman)
    np.testing.assert_array_equal(one.rho_a, other.rho_a)


@pytest.mark.parametrize("pairs", [0, 1, 15, 16, 17])
def test_few_pairs(pairs):
    times = np.ones((2, pairs))
    found = RankedColumns.of(np.arange(pairs, dtype=float)[None]).correlate(times, np.arange(pairs))
    np.testing.assert_allclose(found.spearman, 1 if pairs > 1 else np.nan)
