import numpy as np
import pytest

from vidsim.adapt.batches.stimuli import StimulusBatches
from vidsim.adapt.batches.trials import TrialBatches
from vidsim.analysis import ordinal
from vidsim.analysis.active import fit_temperature, next_triplets
from vidsim.analysis.agreement import agreement
from vidsim.analysis.neighbours import neighbours
from vidsim.analysis.ordinal.validation import folds_of
from vidsim.analysis.partition import partition
from vidsim.analysis.power import power
from vidsim.analysis.probe import probe
from vidsim.analysis.reliability import reliability
from vidsim.check import at_least, one_of
from vidsim.data.design.layout import Layout, plan
from vidsim.data.design.pairs import cover, fill
from vidsim.data.ratings import Ratings
from vidsim.data.simulate import planted_rsm, simulate
from vidsim.data.splits import validation_split
from vidsim.embeddings import Embeddings
from vidsim.errors import VidsimError

RSM = planted_rsm(12, 3)
TRIPLETS = simulate(RSM, trials=60, temperature=0.3).triplets
SPACES = {"a": planted_rsm(12, 3, 1), "b": planted_rsm(12, 3, 2)}
RATED = ({"a": Embeddings(RSM.ids, RSM.similarities)}, Ratings(RSM.ids, ("x",), np.arange(12.0)[:, None], (None,) * 12))
TRIALS = {"rsa_steps": 1, "rsa_stimuli": 6, "rsa_gradients": 2}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "splits 0: expected 1 or more"),
        (np.int64(-1), "splits -1: expected 1 or more"),
        (1.5, "1.5: expected a whole"),
    ],
)
def test_numbers_out_of_range_are_refused_by_name(value, message):
    at_least(1, splits=np.int64(1))
    with pytest.raises(VidsimError, match=message):
        at_least(1, seed=3, splits=value)


def test_the_legal_words_are_named():
    one_of("kind", "flat", ("auto", "flat", "hnsw"))
    with pytest.raises(VidsimError, match=r"^no kind 'foo': expected 'auto', 'flat' or 'hnsw'$"):
        one_of("kind", "foo", ("auto", "flat", "hnsw"))


@pytest.mark.parametrize("value", [0.5, 2.5, None])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("seed", lambda x: agreement(TRIPLETS, seed=x)),
        ("resamples", lambda x: agreement(TRIPLETS, resamples=x)),
        ("seed", lambda x: reliability(TRIPLETS, seed=x)),
        ("resamples", lambda x: reliability(TRIPLETS, resamples=x)),
        ("splits", lambda x: reliability(TRIPLETS, splits=x)),
        ("seed", lambda x: partition(RSM, SPACES, seed=x)),
        ("resamples", lambda x: partition(RSM, SPACES, resamples=x)),
        ("folds", lambda x: partition(RSM, SPACES, folds=x)),
        ("repeats", lambda x: partition(RSM, SPACES, folds=2, repeats=x)),
        ("seed", lambda x: probe(*RATED, seed=x)),
        ("resamples", lambda x: probe(*RATED, resamples=x)),
        ("folds", lambda x: probe(*RATED, folds=x)),
        ("repeats", lambda x: probe(*RATED, repeats=x)),
        ("k", lambda x: neighbours(RSM, SPACES, k=x)),
        ("trials", lambda x: power(RSM, trials=[x], temperature=0.3)),
        ("simulations", lambda x: power(RSM, trials=[9], temperature=0.3, simulations=x)),
        ("dims", lambda x: ordinal.fit(TRIPLETS, x)),
        ("seed", lambda x: ordinal.fit(TRIPLETS, 2, seed=x)),
        ("folds", lambda x: ordinal.cross_validate(TRIPLETS, ordinal.candidates(2, l2=1.0), folds=x)),
        ("folds", lambda x: folds_of(TRIPLETS, x, 0)),
        ("seed", lambda x: fit_temperature(RSM, TRIPLETS, seed=x)),
        ("seed", lambda x: next_triplets(RSM, TRIPLETS, 2, seed=x)),
        ("pool", lambda x: next_triplets(RSM, TRIPLETS, 2, pool=x)),
        ("seed", lambda x: validation_split(RSM.ids, seed=x)),
        ("seed", lambda x: cover(9, x)),
        ("seed", lambda x: fill(cover(9), 9, 13, x)),
        ("seed", lambda x: plan(cover(9), RSM.ids[:9], Layout(), x)),
        ("seed", lambda x: TrialBatches(TRIPLETS, seed=x, **TRIALS)),
        ("stimuli", lambda x: StimulusBatches(TRIPLETS, stimuli=x, seed=0)),
    ],
)
def test_what_is_no_whole_number_is_refused_by_name(unhooked, name, call, value):
    with pytest.raises(VidsimError, match=rf"^{name} {value}: expected a whole number, \d or more$"):
        call(value)
