from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.errors import VidsimError


@pytest.mark.parametrize(("number", "of"), [(0, 4), (5, 4), (-1, 4), (1, 0)])
def test_shards_that_there_are_not_are_refused(number, of):
    with pytest.raises(VidsimError, match=f"shard {number} of {of}: expected i of n with i from 1 to n"):
        StimulusSet((Stimulus("a"),)).shard(number, of)


def test_repeated_ids_are_refused():
    with pytest.raises(VidsimError, match="'a' stands more than once"):
        StimulusSet((Stimulus("a"), Stimulus("a")))


@given(st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=40), st.integers(1, 5))
def test_shards_are_a_partition(ids, parts):
    whole = StimulusSet(tuple(Stimulus(i) for i in sorted(ids)))
    shards = [whole.shard(number, parts).ids for number in range(1, parts + 1)]
    assert sorted(i for shard in shards for i in shard) == sorted(ids)


def test_files_are_found_whatever_their_unicode_form():
    composed, decomposed = "caf\u00e9.mp4", "cafe\u0301.mp4"
    named = StimulusSet((Stimulus(composed), Stimulus("b.mp4"), Stimulus("gone.mp4")))
    files = (Stimulus("b.mp4", Path("/b.mp4")), Stimulus(decomposed, Path("/d.mp4")))
    found = named.located(StimulusSet(files))
    assert [(s.id, s.path) for s in found] == [(composed, Path("/d.mp4")), ("b.mp4", Path("/b.mp4"))]
    both = StimulusSet((*files, Stimulus(composed, Path("/c.mp4"))))
    assert [s.path for s in named.located(both)] == [Path("/c.mp4"), Path("/b.mp4")]
    assert both.spelt_as([composed]) == both
