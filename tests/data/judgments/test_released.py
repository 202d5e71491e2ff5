import numpy as np
import pytest

from vidsim.data.judgments.released import read_release
from vidsim.data.splits import validation_split
from vidsim.errors import VidsimError

from judges import release, write_csv


def test_a_release_becomes_judgments_and_stimuli(tmp_path):
    judgments, stimuli = read_release(release(tmp_path))
    assert judgments.ids == tuple(f"clip {i}.mp4" for i in range(6))
    assert judgments.source_rows == 5
    assert judgments.catch.tolist() == [False, False, False, True, False]
    assert judgments.details["session"].to_pylist() == ["set1", "set1", "set1", "set2", "set2"]
    assert stimuli.ids == judgments.ids
    assert stimuli.train.ids == judgments.ids[:4]
    assert stimuli.test.ids == judgments.ids[4:]
    first, second, *_ = stimuli
    assert first.captions == ("first, with a comma", "second")
    assert dict(second.ratings) == {"valence": 0.1, "intimacy": 1.0}
    assert np.isnan(stimuli.stimuli[3].ratings["intimacy"])
    assert stimuli.stimuli[5].captions == ()
    assert judgments.notes == ()


def test_its_data_folder_will_do(tmp_path):
    a, b = read_release(release(tmp_path)), read_release(tmp_path / "data")
    np.testing.assert_array_equal(a[0].rows, b[0].rows)
    assert a[1].table().equals(b[1].table())


def test_files_may_be_missing(tmp_path):
    judgments, _ = read_release(release(tmp_path / "1", without={"all_triplets.csv"}))
    assert (judgments.source_rows, int(judgments.catch.sum())) == (4, 0)
    assert judgments.notes == (
        "all_triplets.csv is missing; trials come from train_triplets.csv and test_triplets.csv",
    )
    assert judgments.ids == tuple(f"clip {i}.mp4" for i in range(6))
    judgments, _ = read_release(release(tmp_path / "2", without={"all_triplets.csv", "test_triplets.csv"}))
    assert judgments.source_rows == 3
    judgments, stimuli = read_release(release(tmp_path / "3", without={"video_mapping.csv"}))
    assert judgments.ids == ("0", "1", "2", "3", "4", "5")
    assert stimuli is None
    assert "video_mapping.csv is missing" in judgments.notes[0]
    _, stimuli = read_release(release(tmp_path / "4", without={"captions.csv", "train.csv", "test.csv"}))
    assert stimuli.stimuli[1].captions == ("raw 1", "it's")
    assert len(stimuli.train) == 4
    _, stimuli = read_release(release(tmp_path / "5", without={"annotations.csv", "captions.csv"}))
    assert all(not s.captions and not s.ratings for s in stimuli)
    with pytest.raises(VidsimError, match=r"holds no trials; expected all_triplets\.csv"):
        read_release(release(tmp_path / "6", without={"all_triplets.csv", "train_triplets.csv", "test_triplets.csv"}))
    with pytest.raises(VidsimError, match="holds no data/interim/similarity"):
        read_release(tmp_path)


@pytest.mark.parametrize(
    ("name", "header", "rows", "message"),
    [
        ("video_mapping.csv", ["index", "video_name"], [["0", "a"], ["0", "b"]], "stands more than once"),
        ("video_mapping.csv", ["index", "video_name"], [["0", "a"], ["1", "a"]], "stands more than once"),
        ("video_mapping.csv", ["number", "video_name"], [["0", "a"]], "no column 'index'; the columns are 'number'"),
        ("captions.csv", ["video_name", "caption_index", "caption"], [["a", "x", "b"]], "line 2: caption_index is 'x'"),
        ("captions.csv", ["video_name", "caption_index", "caption"], [["a", "1"]], "line 2 has not the 3 cells"),
        ("annotations.csv", ["video_name", "captions"], [["a", "__import__('os')"]], "line 2: captions are no list"),
        ("annotations.csv", ["video_name", "rating-x"], [["a", "high"]], "line 2: rating-x is 'high'"),
    ],
)
def test_files_that_contradict_themselves_are_named(tmp_path, name, header, rows, message):
    release(tmp_path)
    write_csv(tmp_path / "data" / "raw" / "utils" / name, header, rows)
    with pytest.raises(VidsimError, match=message) as caught:
        read_release(tmp_path)
    assert name in str(caught.value)


def test_the_numbers_of_social_ooo(shared):
    """Every number of METHODS, section 5, that concerns judgments."""
    judgments, stimuli = read_release(shared / "data" / "social-ooo")
    assert judgments.source_rows == len(judgments) == 25_623
    assert int(judgments.catch.sum()) == 1_527
    assert int(judgments.catch_correct.sum()) == 1_526
    triplets = judgments.triplets
    assert len(triplets) == 24_096
    counts = triplets.counts()
    observed = int((counts.shown > 0).sum())
    assert (observed, len(counts.shown)) == (19_266, 19_900)
    assert counts.shown.sum() / observed == pytest.approx(3.752, abs=5e-4)
    assert len(judgments.participants[0]) == 215
    assert len(stimuli) == 250
    assert set(stimuli.train.ids) == set(judgments.ids)
    assert sum(bool(s.captions) for s in stimuli) == 200
    assert sum(len(s.captions) for s in stimuli) == 1_118
    fit, held = validation_split(stimuli.train.ids)
    assert (len(fit), len(held)) == (160, 40)
    assert (len(triplets.restrict(fit)), len(triplets.restrict(held))) == (12_239, 175)


def test_catch_trials_wrongly_kept_give_the_wrong_number_of_pairs(shared):
    """METHODS names 19,302 pairs as the mark of the mistake; so catch trials do cover pairs that real ones do not."""
    judgments, _ = read_release(shared / "data" / "social-ooo")
    pairs = {
        frozenset(pair)
        for a, b, c in judgments.rows.tolist()
        for pair in ((a, b), (a, c), (b, c))
        if len(set(pair)) == 2
    }
    assert len(pairs) == 19_302


def test_the_released_trial_files_agree(shared):
    from vidsim.data.judgments.table import read_table

    folder = shared / "data" / "social-ooo" / "data" / "interim" / "similarity"
    every, real = read_table(folder / "all_triplets.csv"), read_table(folder / "train_triplets.csv")
    assert real.ids == every.ids
    np.testing.assert_array_equal(real.rows, every.triplets.rows)
    assert real.source_rows == 24_096
