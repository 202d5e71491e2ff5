import json

import numpy as np
import pyarrow as pa
import pytest

from vidsim.data.judgments.judgments import Judgments
from vidsim.rsm import RSM
from vidsim.store import Store

from judges import release, write_csv


def run(vidsim, tmp_path, *arguments):
    status, out, err = vidsim("judgments", "import", *arguments, "--root", tmp_path / "root", "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def refused(vidsim, *arguments):
    status, out, err = vidsim("judgments", "import", *arguments)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    return err


def test_a_release_goes_to_the_store(vidsim, tmp_path):
    answer = run(vidsim, tmp_path, release(tmp_path / "release"), "--name", "social")
    assert {
        k: answer[k] for k in ("rows", "trials", "catch_trials", "participants", "stimuli", "captions", "splits")
    } == {
        "rows": 5,
        "trials": 4,
        "catch_trials": 1,
        "participants": 2,
        "stimuli": 6,
        "captions": 2,
        "splits": {"train": 4, "test": 2},
    }
    store = Store(tmp_path / "root")
    judgments = Judgments.from_table(store.judgments["social"])
    assert len(judgments) == 5
    assert judgments.details["participant"].to_pylist() == ["ann", "ann", "bob", "bob", "bob"]
    assert store.judgments["social"]["odd"].to_pylist() == [f"clip {i}.mp4" for i in (2, 3, 0, 2, 4)]
    kept = {row["id"]: row for row in store.stimuli["social"].to_pylist()}
    assert kept["clip 0.mp4"]["captions"] == ["first, with a comma", "second"]
    assert (kept["clip 5.mp4"]["split"], kept["clip 1.mp4"]["valence"]) == ("test", 0.1)
    info = store.info()
    assert (info["judgments"], info["stimuli"], info["rsms"]) == (["social"], ["social"], [])


def test_names_of_a_source_stay_on_their_line(vidsim, tmp_path):
    header = ["participant", "stim1", "stim2", "stim3", "choice", "response_time"]
    write_csv(tmp_path / "t.csv", header, [["a\x1b[31m\nb", "u", "v", "w", "w", 9.0], ["c", "u", "v", "w", "w", 1.0]])
    write_csv(tmp_path / "s.csv", ["id", "caption", "good\nmood"], [[name, "x", 1] for name in "uvw"])
    rules = ("--rt-range", ",5", "--repeats", "first")
    where = ("--name", "s", "--root", tmp_path / "root", "--stimuli", tmp_path / "s.csv")
    status, out, err = vidsim("judgments", "import", tmp_path / "t.csv", *where, *rules)
    assert (status, err) == (0, "")
    assert r"ratings: good\nmood" in out
    write_csv(tmp_path / "t.csv", header, [["a\x1b[31m\nb", "u", "u", "w", "u", 9.0], ["c", "u", "v", "w", "w", 1.0]])
    told = vidsim("judgments", "inspect", tmp_path / "t.csv", "--min-catch-accuracy", 0.5)[1]
    assert r"1 people: a\x1b[31m\nb" in told


def test_the_text_says_what_was_found(vidsim, tmp_path):
    release(tmp_path / "release", without={"all_triplets.csv", "test_triplets.csv"})
    status, out, err = vidsim("judgments", "import", tmp_path / "release", "--name", "s", "--root", tmp_path / "root")
    assert (status, err) == (0, "")
    assert "3 rows: 3 trials and 0 catch trials by 2 participants on 4 stimuli" in out
    assert "6 stimuli (4 train, 2 test), 2 with captions; ratings: valence, intimacy" in out
    assert "note: trials come from train_triplets.csv alone" in out
    _, out, _ = vidsim("store", "info", "--root", tmp_path / "root")
    assert "judgments: s" in out


def test_again_is_harmless_but_another_source_needs_force(vidsim, tmp_path):
    one = write_csv(tmp_path / "one.csv", ["a", "b", "odd"], [["x", "y", "z"]])
    two = write_csv(tmp_path / "two.csv", ["a", "b", "odd"], [["x", "y", "z"], ["y", "x", "z"]])
    for _ in range(2):
        assert run(vidsim, tmp_path, one, "--name", "n")["trials"] == 1
    err = refused(vidsim, two, "--name", "n", "--root", tmp_path / "root")
    assert "one.csv" in err
    assert "--force" in err
    assert len(Store(tmp_path / "root").judgments["n"]) == 1
    assert run(vidsim, tmp_path, two, "--name", "n", "--force")["trials"] == 2
    assert len(Store(tmp_path / "root").judgments["n"]) == 2


def test_other_stimuli_and_similarities_are_not_replaced_unasked(vidsim, tmp_path):
    root = ("--root", tmp_path / "root")
    Store(tmp_path / "root", create=True).stimuli.put("social", pa.table({"id": ["x"]}))
    err = refused(vidsim, release(tmp_path / "release"), "--name", "social", *root)
    assert "there are other stimuli 'social'" in err
    assert "social" not in Store(tmp_path / "root").judgments
    assert run(vidsim, tmp_path, tmp_path / "release", "--name", "social", "--force")["stimuli"] == 6
    assert run(vidsim, tmp_path, tmp_path / "release", "--name", "social")["stimuli"] == 6
    one = write_csv(tmp_path / "one.csv", ["x", "y", "z"], [[1, 0.5, ""], [0.5, 1, 0.2], ["", 0.2, 1]])
    two = write_csv(tmp_path / "two.csv", ["x", "y", "z"], [[1, 0.5, ""], [0.5, 1, 0.3], ["", 0.3, 1]])
    for _ in range(2):
        assert run(vidsim, tmp_path, one, "--name", "m")["pairs"] == 2
    assert "there are other similarities 'm'" in refused(vidsim, two, "--name", "m", *root)
    assert RSM.from_table(Store(tmp_path / "root").rsms["m"]).similarities[1, 2] == 0.2
    run(vidsim, tmp_path, two, "--name", "m", "--force")
    assert RSM.from_table(Store(tmp_path / "root").rsms["m"]).similarities[1, 2] == 0.3


def test_exclusions_are_recorded(vidsim, tmp_path):
    header = ["participant", "stim1", "stim2", "stim3", "choice", "response_time"]
    rows = [
        ["good", "a", "a", "b", "b", 1.0],
        ["good", "a", "b", "c", "c", 1.0],
        ["good", "a", "b", "c", "c", 1.2],
        ["good", "a", "b", "d", "d", 0.1],
        ["poor", "a", "a", "b", "a", 1.0],
        ["poor", "a", "b", "c", "a", 1.0],
    ]
    path = write_csv(tmp_path / "t.csv", header, rows)
    rules = ("--min-catch-accuracy", "0.6", "--rt-range", "0.2,60", "--repeats", "first")
    answer = run(vidsim, tmp_path, path, "--name", "n", *rules)
    assert (answer["rows"], answer["trials"], answer["catch_trials"], answer["participants"]) == (6, 1, 1, 1)
    removed = {e["rule"]: (e["rows"], list(e["participants"])) for e in answer["exclusions"]}
    assert removed == {"min_catch_accuracy": (2, ["poor"]), "rt_range": (1, []), "repeats": (1, [])}
    judgments = Judgments.from_table(Store(tmp_path / "root").judgments["n"])
    assert [e.rule for e in judgments.exclusions] == list(removed)


def test_matrices_become_rsms(vidsim, tmp_path):
    path = write_csv(tmp_path / "m.csv", ["x", "y"], [[1, 0.5], [0.5, 1]])
    counts = write_csv(tmp_path / "c.csv", ["x", "y"], [[0, 4], [4, 0]])
    answer = run(vidsim, tmp_path, path, "--counts", counts, "--name", "m")
    assert answer.pop("root") == str(tmp_path / "root")
    assert answer == {"name": "m", "rsms": ["m"], "stimuli": 2, "pairs": 1, "pairs_total": 1, "counts": True}
    rsm = RSM.from_table(Store(tmp_path / "root").rsms["m"])
    assert (rsm.similarities[0, 1], rsm.counts[0, 1]) == (0.5, 4)


def test_never_judged_stays_never_judged_in_the_store(vidsim, tmp_path):
    zeros = write_csv(tmp_path / "m.csv", ["x", "y", "z"], [[1, 0, 0.5], [0, 1, 0.2], [0.5, 0.2, 1]])
    err = refused(vidsim, zeros, "--name", "m", "--root", tmp_path / "root")
    assert "--zero unseen" in err
    assert not (tmp_path / "root").exists()
    assert run(vidsim, tmp_path, zeros, "--name", "m", "--zero", "unseen")["pairs"] == 2
    rsm = RSM.from_table(Store(tmp_path / "root").rsms["m"])
    assert np.isnan(rsm.similarities[0, 1])


def test_stimuli_of_a_matrix_may_be_called_as_columns_of_trials(vidsim, tmp_path):
    path = write_csv(tmp_path / "m.csv", ["", "a", "b", "odd"], [["a", 1, 0, 0.2], ["b", 0, 1, 0], ["odd", 0.2, 0, 1]])
    assert run(vidsim, tmp_path, path, "--zero", "unseen", "--name", "m")["pairs"] == 1


@pytest.mark.parametrize("with_counts", [True, False])
def test_ten_stimuli_or_more_may_have_pairs_that_were_never_judged(vidsim, tmp_path, with_counts):
    ids = [f"clip {i}" for i in range(12)]
    counts = np.ones((12, 12), int) - np.eye(12, dtype=int)
    counts[3, 5] = counts[5, 3] = 0
    similarities = np.where(counts == 0, 0, 0.25) + np.eye(12)
    path = write_csv(tmp_path / "m.csv", ids, similarities.tolist())
    told = ("--counts", write_csv(tmp_path / "c.csv", ids, counts.tolist())) if with_counts else ("--zero", "unseen")
    assert run(vidsim, tmp_path, path, "--name", "m", *told)["pairs"] == 65
    again = RSM.from_table(Store(tmp_path / "root").rsms["m"])
    unseen = (counts == 0) & ~np.eye(12, dtype=bool)
    np.testing.assert_array_equal(again.similarities, np.where(unseen, np.nan, similarities))


def test_meadows_exports(vidsim, shared, tmp_path):
    folder = shared / "data" / "meadows"
    answer = run(vidsim, tmp_path, folder / "Meadows_myExp_v_v1_arrangement_1D.mat", "--name", "shapes")
    assert answer["rsms"] == ["shapes/able-fly", "shapes/clean-koi", "shapes/cuddly-bunny", "shapes"]
    assert (answer["stimuli"], answer["pairs"]) == (118, 6903)


def test_files_are_matched_to_judgments_whatever_their_unicode_form(vidsim, tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("cafe\u0301.mp4", "x.mp4", "y.mp4"):
        (tmp_path / "clips" / name).write_bytes(b"x")
    trials = write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x.mp4", "y.mp4", "caf\u00e9.mp4"]])
    assert run(vidsim, tmp_path, trials, "--name", "n", "--stimuli", tmp_path / "clips")["stimuli"] == 3
    kept = {row["id"]: row["path"] for row in Store(tmp_path / "root").stimuli["n"].to_pylist()}
    assert kept["caf\u00e9.mp4"] == f"{tmp_path}/clips/cafe\u0301.mp4"


def test_social_ooo_as_a_user_types_it(vidsim, shared, tmp_path):
    answer = run(vidsim, tmp_path, shared / "data" / "social-ooo", "--name", "social")
    assert (answer["rows"], answer["trials"], answer["catch_trials"]) == (25_623, 24_096, 1_527)
    assert (answer["stimuli"], answer["captions"], answer["participants"]) == (250, 200, 215)
    assert {"intimacy", "valence", "arousal", "dominance", "communication"} <= set(answer["ratings"])
    judgments = Judgments.from_table(Store(tmp_path / "root").judgments["social"])
    assert len(judgments.triplets) == 24_096


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.csv", "--name", "x"), "no file or folder 'none.csv'"),
        (("t.csv", "--name", " "), "--name is empty"),
        (("t.csv", "--name", "x", "--rt-range", "3"), "expected LOW,HIGH in seconds"),
        (("t.csv", "--name", "x", "--rt-range", "5,3"), "rt"),
        (("t.csv", "--name", "x", "--min-catch-accuracy", "2"), "min-catch-accuracy"),
        (("t.csv", "--name", "x", "--columns", "who=x"), "expected pairs such as"),
        (("t.csv", "--name", "x", "--order", "odd-first"), "so --order odd-first cannot be"),
        (("t.npy", "--name", "x"), "--format things (odd last)"),
        (("m.csv", "--name", "x", "--repeats", "first"), "exclusion rules do not apply"),
        (
            ("u.csv", "--name", "x", "--zero", "unseen"),
            "'u.csv' has columns of trials (a, b, odd), and --zero is for a",
        ),
        (("u.csv", "--name", "x", "--counts", "m.csv"), "and --counts is for a similarity matrix; leave it out"),
        (("u.csv", "--name", "x", "--counts", "nix"), "and --counts is for a similarity matrix; leave it out"),
        (("t.csv", "--name", "x", "--format", "table", "--counts", "nix"), "'table', which takes no --counts"),
        (("m.csv", "--name", "x", "--counts", "nix"), "no file 'nix': expected the counts of 'm.csv' there"),
        (("t.csv", "--name", "x", "--format", "rsm", "--zero", "unseen"), "is no number"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(vidsim, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x", "y", "z"]] * 3)
    write_csv(tmp_path / "u.csv", ["a", "b", "odd"], [["x", "y", "z"]] * 4)
    write_csv(tmp_path / "m.csv", ["x", "y"], [[1, 0.5], [0.5, 1]])
    np.save(tmp_path / "t.npy", np.array([[0, 1, 2]]))
    assert message in refused(vidsim, *arguments)
    assert not (tmp_path / "indexes").exists()
