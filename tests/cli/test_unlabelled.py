import pytest

from vidsim.cli.unlabelled import find_unlabelled
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.errors import VidsimError
from vidsim.store import Store


@pytest.fixture
def root(tmp_path):
    """Keep a set of four stimuli, one without a caption."""
    some = StimulusSet(
        tuple(Stimulus(name, captions=() if name == "d" else (f"caption of {name}",)) for name in "abcd")
    )
    Store(tmp_path, create=True).stimuli.put("more", some.table())
    return str(tmp_path)


def test_judged_stimuli_and_those_that_cannot_be_read_are_left_out(root):
    assert find_unlabelled("more", root, {"a"}, captions=True).ids == ("b", "c")
    assert find_unlabelled("more", root, {"a"}, captions=False).ids == ("b", "c", "d")


def test_a_table_and_a_folder(root, tmp_path):
    (tmp_path / "few.csv").write_text("id,caption\nx,a dog\ny,a cat\nz,\n")
    assert find_unlabelled(str(tmp_path / "few.csv"), root, {"y2"}, captions=True).ids == ("x", "y")
    (tmp_path / "videos").mkdir()
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / "videos" / name).write_bytes(b"x")
    found = find_unlabelled(str(tmp_path / "videos"), root, set(), captions=False)
    assert found.ids == ("one.mp4", "two.mp4")


def test_judged_files_are_left_out_whatever_their_unicode_form(root, tmp_path):
    (tmp_path / "videos").mkdir()
    for name in ("cafe\u0301.mp4", "one.mp4", "two.mp4"):
        (tmp_path / "videos" / name).write_bytes(b"x")
    found = find_unlabelled(str(tmp_path / "videos"), root, {"caf\u00e9.mp4"}, captions=False)
    assert found.ids == ("one.mp4", "two.mp4")


@pytest.mark.parametrize(
    ("source", "judged", "told"),
    [
        ("more", "abc", "0 of 4 stimuli can be used, expected 2 or more (none of these has a caption)"),
        ("more", "abcd", "0 of 4 stimuli can be used, expected 2 or more (the others were judged)"),
        ("nowhere", "", "'nowhere' is neither a stimulus set in"),
    ],
)
def test_bad_sources(source, judged, told, root):
    with pytest.raises(VidsimError) as refused:
        find_unlabelled(source, root, set(judged), captions=True)
    assert told in str(refused.value)
