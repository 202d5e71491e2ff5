import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.errors import VidsimError


def test_repeated_ids_are_refused():
    with pytest.raises(VidsimError, match="'a' stands more than once"):
        StimulusSet((Stimulus("a"), Stimulus("a")))


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=40), st.integers(1, 5))
def test_shards_are_a_partition(ids, parts):
    whole = StimulusSet(tuple(Stimulus(i) for i in sorted(ids)))
    shards = [whole.shard(number, parts).ids for number in range(1, parts + 1)]
    assert sorted(i for shard in shards for i in shard) == sorted(ids)
