import numpy as np
import pyarrow as pa
import pytest

from vidsim.retrieval.attributes import gather
from vidsim.store import Store
from vidsim.store.table import Entry


@pytest.fixture
def store(tmp_path):
    """Hold two stimulus sets that overlap, one that is no match, and embeddings that know durations."""
    made = Store(tmp_path, create=True)
    made.stimuli.put(
        "big",
        pa.table(
            {
                "id": ["a", "b", "c"],
                "path": ["/x/a.mp4", None, None],
                "captions": pa.array([["A dog barks", "the dog"], [], ["two dogs", "a dog"]], pa.list_(pa.string())),
                "split": ["train", "test", None],
                "valence": [0.5, float("nan"), 2.0],
                "setting": pa.array(["in", "out", None]),
                "loud": pa.array([True, None, False]),
                "year": pa.array([1999, 2000, None], pa.int32()),
                "frames": pa.array([[1], [2], [3]], pa.list_(pa.int64())),
            }
        ),
    )
    made.stimuli.put("little", pa.table({"id": ["b", "z"], "valence": [7.0, 8.0], "setting": [1.0, 2.0]}))
    made.stimuli.put("other", pa.table({"id": ["x", "a"], "words": ["no", "list"]}))
    table = made.create("colour", {"k": 1}, {"mean": 2}, default_layer="mean", versions={})
    entries = [Entry("a", "/x/a.mp4", "h", duration=1.5), Entry("c", "/x/c.mp4", "i", duration=None)]
    table.write(entries, {"mean": np.eye(2, dtype=np.float32)})
    return made


def test_what_is_known_is_gathered_in_the_order_of_the_ids(store):
    found = gather(store, ["c", "nobody", "b", "a"]).to_pydict()
    assert found == {
        "id": ["c", "nobody", "b", "a"],
        "captions": [["two dogs", "a dog"], None, None, ["A dog barks", "the dog"]],
        # the rarest first, then by the alphabet
        "words": [["dogs", "dog"], None, None, ["barks", "dog"]],
        "split": [None, None, "test", "train"],
        "duration": [None, None, None, 1.5],
        "valence": [2.0, None, 7.0, 0.5],  # the little set fills in what the big one does not know
        "setting": [None, None, "out", "in"],  # and may not change what a column holds
        "loud": [False, None, None, True],
        "year": [None, None, 2000.0, 1999.0],
    }


def test_entries_say_how_long_clips_are(store):
    entries = pa.table({"id": ["c", "a"], "duration": [9.0, 3.0]})
    assert gather(store, ["a", "b", "c"], entries)["duration"].to_pylist() == [3.0, None, 9.0]
    empty = pa.table({"id": ["a"]})  # and other tables where they do not
    assert gather(store, ["a"], empty)["duration"].to_pylist() == [1.5]


def test_nothing_known_leaves_the_ids(store, tmp_path):
    assert gather(store, ["nobody"]).to_pydict() == {"id": ["nobody"]}
    assert gather(Store(tmp_path / "new", create=True), ["a"]).to_pydict() == {"id": ["a"]}
