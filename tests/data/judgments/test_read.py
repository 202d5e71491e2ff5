from dataclasses import replace

import numpy as np
import pytest

from vidsim.data.judgments.read import Reading, read, read_ids
from vidsim.errors import VidsimError

from judges import release, write_csv


def test_kinds_are_told_by_structure(tmp_path):
    found = read(release(tmp_path / "release"))
    assert (found.judgments.order, len(found.stimuli), found.rsms) == ("choice-column", 6, None)
    found = read(write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x", "y", "z"]]))
    assert (found.judgments.order, found.stimuli) == ("odd-last", None)
    assert found.judgments.source == (tmp_path / "t.csv").resolve().as_posix()
    found = read(write_csv(tmp_path / "m.csv", ["x", "y"], [[1, 0.5], [0.5, 1]]))
    assert found.judgments is None
    assert list(found.rsms) == [""]


def test_a_square_table_of_trials_is_a_table_of_trials(tmp_path):
    rows = [["x", "y", "z"], ["x", "z", "y"], ["y", "z", "x"]]
    assert len(read(write_csv(tmp_path / "t.csv", ["a", "b", "odd"], rows)).judgments) == 3


def test_bare_arrays_must_be_said(tmp_path):
    path = tmp_path / "t.npy"
    np.save(path, np.array([[2, 0, 1]]))
    with pytest.raises(VidsimError, match="bare array, which does not say which item is the odd one: --format things"):
        read(path)
    with pytest.raises(VidsimError, match="say which, --order odd-first or --order comparisons"):
        read(path, Reading(format="cblearn"))
    with pytest.raises(VidsimError, match="read as 'things', which takes no --order"):
        read(path, Reading(format="things", order="odd-first"))
    assert read(path, Reading(format="things")).judgments.rows.tolist() == [[2, 0, 1]]
    assert read(path, Reading(order="odd-first")).judgments.rows.tolist() == [[0, 1, 2]]
    assert read(path, Reading(format="cblearn", order="odd-first")).judgments.rows.tolist() == [[0, 1, 2]]
    ids = tmp_path / "ids.txt"
    ids.write_text("zebra\nape\nfox\n")
    assert read(path, Reading(format="things", ids=ids)).judgments.ids == ("zebra", "ape", "fox")


def test_cblearn_odd_one_out_queries_and_their_triplets_are_the_same(tmp_path):
    """As cblearn turns odd-one-out queries (odd first) into list-order triplets (anchor, near, far)."""
    queries = np.array([[3, 0, 1], [2, 4, 0], [3, 0, 1]])
    odd, x, y = queries.T
    np.save(tmp_path / "q.npy", queries)
    np.save(tmp_path / "t.npy", np.concatenate([np.c_[x, y, odd], np.c_[y, x, odd]]))
    first = read(tmp_path / "q.npy", Reading(format="cblearn", order="odd-first")).judgments.triplets.rsm()
    second = read(tmp_path / "t.npy", Reading(format="cblearn", order="comparisons")).judgments.triplets.rsm()
    np.testing.assert_array_equal(first.similarities, second.similarities)
    np.testing.assert_array_equal(first.counts, second.counts)


def test_legal_ids_of_tables(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["0", "1", "2"], ["0", "1", "3"]])
    ids = write_csv(tmp_path / "ids.csv", ["index", "id"], [["0", "zero"], ["2", "two"], ["1", "one"]])
    judgments = read(path, Reading(ids=ids)).judgments
    assert judgments.ids == ("zero", "two", "one")
    assert [d.kind for d in judgments.defects] == ["unknown-id"]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("id\na\na\n", "ids.csv", "line 3: id 'a' is empty or stands more than once"),
        ("index,id\n0,a\n0,b\n", "ids.csv", "line 3: index '0' is empty or stands more than once"),
        ("x,y\n0,a\n", "ids.csv", "no column 'id'"),
        ("", "ids.txt", "is empty"),
    ],
)
def test_other_lists_of_ids_are_refused(tmp_path, content, name, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(VidsimError, match=message):
        read_ids(tmp_path / name)


@pytest.mark.parametrize(
    ("how", "option"),
    [
        (Reading(format="released", order="odd-last"), "--order"),
        (Reading(format="released", columns={"a": "b"}), "--columns"),
        (Reading(format="rsm", unit="ms"), "--rt-unit"),
        (Reading(format="rsm", unit="s"), "--rt-unit"),
        (Reading(format="meadows", columns={"a": "b"}), "--columns"),
    ],
)
def test_options_without_use_are_refused(tmp_path, how, option):
    path = write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x", "y", "z"]])
    with pytest.raises(VidsimError, match=f"takes no {option}"):
        read(path, how)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"format": "foo"}, r"no format 'foo': expected 'released', 'table', .* or 'predicted'"),
        ({"order": "first"}, "no order 'first': expected 'odd-last', 'odd-first', 'choice-column' or 'comparisons'"),
        ({"zero": "missing"}, "no meaning of zero 'missing': expected 'unseen' or 'similarity'"),
        ({"unit": "min"}, "no unit 'min': expected 's' or 'ms'"),
    ],
)
def test_words_that_are_not_known_are_refused(unhooked, how, message):
    with pytest.raises(VidsimError, match=message):
        Reading(**how)


@pytest.mark.parametrize(
    ("how", "option"), [(Reading(unit="ms"), "--rt-unit"), (Reading(columns={"a": "b"}), "--columns")]
)
def test_a_bare_array_has_neither_times_nor_columns(tmp_path, how, option):
    np.save(tmp_path / "t.npy", np.array([[0, 1, 2]]))
    with pytest.raises(VidsimError, match=f"takes no {option}"):
        read(tmp_path / "t.npy", replace(how, order="odd-last"))


def test_places_of_no_kind(tmp_path):
    with pytest.raises(VidsimError, match="no file or folder"):
        read(tmp_path / "none")
    with pytest.raises(VidsimError, match="is a folder without data/interim/similarity"):
        read(tmp_path)


def test_ids_that_differ_in_unicode_form_alone_are_refused(tmp_path):
    path = write_csv(tmp_path / "t.csv", ["a", "b", "odd"], [["x", "y", "caf\u00e9"], ["x", "y", "cafe\u0301"]])
    with pytest.raises(VidsimError) as caught:
        read(path)
    told = r"ids 'cafe\u0301' and 'caf\xe9' differ in Unicode form alone; write both alike"
    assert str(caught.value) == f"'{path}': {told}"
