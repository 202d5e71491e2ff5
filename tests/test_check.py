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
from vidsim.check import at_least, one_of, refuse_axes, whole_numbers
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


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.uint32, np.int64, np.uint64])
def test_whole_numbers_stay_as_they_are_and_are_signed(kind):
    values = np.array([0, 3, np.iinfo(kind).max // 2], kind)
    found = whole_numbers("counts", values)
    assert found.dtype.kind == "i"
    assert found.tolist() == values.tolist()
    assert whole_numbers("counts", values[:0]).shape == (0,)


@pytest.mark.parametrize("largest", [2**63, 2**64 - 1])
def test_numbers_that_would_turn_negative_are_refused(largest):
    assert whole_numbers("counts", np.array([2**63 - 1], np.uint64)).tolist() == [2**63 - 1]
    with pytest.raises(VidsimError, match=f"^counts hold {largest}: expected numbers up to {2**63 - 1}$"):
        whole_numbers("counts", np.array([1, largest], np.uint64))


@pytest.mark.parametrize("values", [np.array([1.0]), np.array([True]), np.array(["1"])])
def test_what_is_no_integer_is_refused(values):
    with pytest.raises(VidsimError, match=r"^counts of type .* were given; expected integers$"):
        whole_numbers("counts", values)


def test_what_has_not_two_axes_is_refused():
    refuse_axes("rows", np.zeros((2, 3)), "(n, 3)")
    with pytest.raises(VidsimError, match=r"^rows came as list; expected a numpy array of shape \(n, 3\)$"):
        refuse_axes("rows", [[1, 2, 3]], "(n, 3)")
    with pytest.raises(VidsimError, match=r"^rows of shape \(3,\) were given; expected an array of shape \(n, 3\)$"):
        refuse_axes("rows", np.zeros(3), "(n, 3)")
