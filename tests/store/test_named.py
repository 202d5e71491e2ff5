import numpy as np
import pyarrow as pa
import pytest

from vidsim.errors import StoreError
from vidsim.rsm import RSM
from vidsim.store import NotStored, Store

CAPTIONS = pa.table(
    {
        "id": ["a", "b", None],
        "rating.valence": [0.5, float("inf"), None],
        "100%2E.": pa.array([1, None, 3], pa.int8()),
        "captions": [["one", "two"], [], None],
        "when": pa.array([0, 1, None], pa.timestamp("us")),
        "train": [True, False, None],
        "q'\"`\n": [1, 2, 3],
        "_rowid": [4, 5, 6],
        "ID": ["x", "y", "z"],
        "ünï 日": [1.5, 2.5, 3.5],
    }
).replace_schema_metadata({"source": "social-ooo"})


@pytest.mark.parametrize("name", ["social-ooo", "x' OR 1=1 --", "../ü\n", "", "k" * 500])
def test_tables_come_back_exactly(store: Store, name: str) -> None:
    store.stimuli.put(name, CAPTIONS)
    again = Store(store.root).stimuli
    assert again[name].equals(CAPTIONS, check_metadata=True)
    assert list(again) == [name]
    assert name in again
    assert len(again) == 1


def test_a_table_is_replaced_whole_even_by_other_columns(store: Store) -> None:
    store.stimuli.put("a", CAPTIONS)
    other = pa.table({"x": pa.array([], pa.string())})
    store.stimuli.put("a", other)
    store.stimuli.put("b", CAPTIONS.slice(1, 1))
    assert store.stimuli["a"].equals(other)
    assert store.stimuli["b"].equals(CAPTIONS.slice(1, 1))
    store.optimize()
    assert dict(store.stimuli) == {"a": other, "b": CAPTIONS.slice(1, 1)}
    assert store.info()["stimuli"] == ["a", "b"]


def test_what_is_missing_or_makes_no_table_is_refused(store: Store) -> None:
    store.stimuli.put("social", CAPTIONS)
    with pytest.raises(NotStored, match=r"no stimuli 'socal' in .*did you mean 'social'"):
        store.stimuli["socal"]
    assert store.stimuli.get("none") is None
    assert 3 not in store.stimuli
    for columns in ([], ["a", "a"], [""]):
        with pytest.raises(StoreError, match="distinct names"):
            store.stimuli.put("x", pa.Table.from_arrays([pa.array([1])] * len(columns), columns))


@pytest.mark.parametrize("n", [9, 12])
def test_similarity_matrices_with_pairs_never_judged_come_back_exactly(store: Store, n: int) -> None:
    counts = np.random.default_rng(0).integers(0, 3, (n, n))
    counts += counts.T
    rsm = RSM(tuple(map(str, range(n))), np.where(counts == 0, np.nan, counts / 7), counts)
    whole = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(n * n)), n)
    store.rsms.put("human", pa.table({"id": list(rsm.ids), "similarity": whole}))
    assert (RSM.from_table(store.rsms["human"]).similarities == 1).all()
    store.rsms.put("human", rsm.table())
    again = RSM.from_table(store.rsms["human"])
    assert tuple(again.ids) == rsm.ids
    np.testing.assert_array_equal(again.similarities, rsm.similarities, strict=True)
    np.testing.assert_array_equal(again.counts, counts, strict=True)
