import pytest

from vidsim.cli.stored import stored_stimuli
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.errors import VidsimError
from vidsim.store import NotStored, Store


def test_a_set_is_read_as_it_was_stored(tmp_path):
    some = StimulusSet(tuple(Stimulus(name, split="train", captions=(f"caption of {name}",)) for name in "bac"))
    Store(tmp_path, create=True).stimuli.put("more", some.table())
    found = stored_stimuli("more", str(tmp_path))
    assert found.ids == ("b", "a", "c")
    assert [(one.split, one.captions) for one in found] == [("train", (f"caption of {name}",)) for name in "bac"]


@pytest.mark.parametrize(("made", "told"), [(True, "did you mean 'more'?"), (False, "there is no store in")])
def test_what_is_not_there_is_told(made, told, tmp_path):
    if made:
        Store(tmp_path, create=True).stimuli.put("more", StimulusSet((Stimulus("a"),)).table())
    with pytest.raises(NotStored) as refused:
        stored_stimuli("mire", str(tmp_path))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_place_that_can_hold_no_store_is_another_matter(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VidsimError, match="is a file, or lies in one") as refused:
        stored_stimuli("more", str(tmp_path / "file"))
    assert not isinstance(refused.value, NotStored)
