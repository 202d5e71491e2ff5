import numpy as np
import pytest

from vidsim.data.judgments.arrays import read_array
from vidsim.errors import VidsimError

from judges import random_rows


def trials(judgments):
    return [tuple(judgments.ids[i] for i in row) for row in judgments.rows.tolist()]


def save(tmp_path, array, suffix):
    path = tmp_path / f"t{suffix}"
    if suffix == ".npy":
        np.save(path, array)
    else:
        np.savetxt(path, array, fmt="%g", delimiter={".txt": " ", ".csv.txt": ","}.get(suffix, " "))
    return path


@pytest.mark.parametrize("suffix", [".npy", ".txt", ".csv.txt"])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint8])
def test_orders_are_those_said(tmp_path, suffix, dtype):
    path = save(tmp_path, np.array([[5, 0, 3], [10, 3, 5]], dtype), suffix)
    assert trials(read_array(path, order="odd-last")) == [("5", "0", "3"), ("10", "3", "5")]
    assert trials(read_array(path, order="things")) == [("5", "0", "3"), ("10", "3", "5")]
    assert trials(read_array(path, order="odd-first")) == [("0", "3", "5"), ("3", "5", "10")]
    wide = save(tmp_path, np.array([[5, 0, 3, 5], [5, 0, 3, 0], [5, 0, 3, 2]], dtype), suffix)
    for order in ("choice-column", "things"):
        judgments = read_array(wide, order=order)
        assert trials(judgments) == [("0", "3", "5"), ("5", "3", "0")]
        assert judgments.position.tolist() == [1, 2]
        assert [(d.kind, d.count, d.lines) for d in judgments.defects] == [("choice-not-shown", 1, (3,))]
        assert judgments.source_rows == 3


def test_ids_may_be_given_by_item_number(tmp_path):
    path = save(tmp_path, np.array([[2, 0, 1], [0, 1, 3]]), ".npy")
    judgments = read_array(path, order="odd-last", names=["zebra", "ape", "fox"])
    assert judgments.ids == ("zebra", "ape", "fox")
    assert trials(judgments) == [("fox", "zebra", "ape")]
    assert [(d.kind, d.count, d.lines) for d in judgments.defects] == [("unknown-id", 1, (2,))]


@pytest.mark.parametrize("suffix", [".npy", ".txt"])
@pytest.mark.parametrize("rows", [[[0, 1, 2], [1, 2, 3]], [[0, 1, 2, 1], [1, 2, 3, 3]]])
def test_columns_of_an_array_are_not_to_be_named(tmp_path, suffix, rows):
    path = save(tmp_path, np.array(rows), suffix)
    with pytest.raises(VidsimError, match=r"no usable trial: 2 rows: a stimulus is not in the list of ids$"):
        read_array(path, order="things", names=["a", "b"])


def test_what_is_no_item_number_is_counted(tmp_path):
    path = save(tmp_path, np.array([[0, 1, 2], [0, -1, 2], [0, 1.5, 2], [np.nan, 1, 2], [1, 1, 0]]), ".npy")
    judgments = read_array(path, order="odd-last")
    assert trials(judgments) == [("0", "1", "2"), ("1", "1", "0")]
    assert [(d.kind, d.count, d.lines) for d in judgments.defects] == [
        ("item-number", 2, (2, 3)),
        ("missing-cell", 1, (4,)),
    ]
    assert (judgments.catch.tolist(), judgments.source_rows) == ([False, True], 5)


@pytest.mark.parametrize("value", [2.5, -2, np.inf, 2.0**60])
@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_where_no_value_is_an_item_number_the_reason_says_so(tmp_path, value, suffix):
    path = save(tmp_path, np.array([[0, 1, value]]), suffix)
    with pytest.raises(VidsimError, match=r"1 rows: a value is no item number: a whole number from 0$"):
        read_array(path, order="odd-last")


def test_a_comparison_with_another_value_leaves_its_partner_alone(tmp_path):
    rows = [[0, 1.5, 2], [0, 1, 2], [1, 0, 2], [1, 2, 0], [2.5, 1, 0]]
    judgments = read_array(save(tmp_path, np.array(rows), ".npy"), order="comparisons")
    assert [tuple(sorted(row[:2])) + row[2:] for row in trials(judgments)] == [("0", "1", "2")]
    assert [(d.kind, d.lines) for d in judgments.defects] == [("unpaired-comparison", (4,)), ("item-number", (1, 5))]
    assert judgments.details["line"].to_pylist() == [2]


def slow_pairs(rows):
    """Join (a, b, odd) with the next unused (b, a, odd), by loops."""
    used, found = set(), []
    for i, (a, b, odd) in enumerate(rows):
        for j in range(len(rows)):
            if i not in used and j not in used and i != j and tuple(rows[j]) == (b, a, odd):
                used |= {i, j}
                found.append((frozenset((int(a), int(b))), int(odd)))
    return sorted(found, key=str), len(rows) - len(used)


def test_comparisons_are_joined_two_by_two(tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(20):
        rows = random_rows(4, 12, seed)
        both = np.concatenate([rows, rows[:, [1, 0, 2]], random_rows(4, 5, seed + 100)])
        rng.shuffle(both)
        expected, alone = slow_pairs(both)
        judgments = read_array(save(tmp_path, both, ".npy"), order="comparisons")
        found = [(frozenset(map(int, (a, b))), int(odd)) for a, b, odd in trials(judgments)]
        assert sorted(found, key=str) == expected
        assert sum(d.count for d in judgments.defects) == alone
        assert judgments.source_rows == len(both)


@pytest.mark.parametrize(
    ("array", "order", "message"),
    [
        (np.zeros((2, 3), int), None, "has 3 columns and no order was given: --order must say"),
        (np.zeros((2, 4), int), "odd-last", "has 4 columns and 'odd-last' does not fit"),
        (np.zeros((2, 3), int), "choice-column", "'choice-column' does not fit"),
        (np.zeros((2, 2), int), "odd-last", r"shape \(2, 2\); expected \(trials, 3\)"),
        (np.zeros((0, 3), int), "odd-last", r"shape \(0, 3\)"),
        (np.zeros(3, int), "odd-last", r"shape \(3,\)"),
        (np.array([["a", "b", "c"]]), "odd-last", "values of type <U1; expected item numbers"),
        (np.array([[{}, 1, 2]], object), "odd-last", "is not an array file"),
    ],
)
def test_other_arrays_are_refused(tmp_path, array, order, message):
    np.save(tmp_path / "t.npy", array, allow_pickle=True)
    with pytest.raises(VidsimError, match=message) as caught:
        read_array(tmp_path / "t.npy", order=order)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("1 2 3\n4 5\n", "line 2 has 2 numbers, line 1 has 3"),
        ("a b c\n", "line 1: 'a b c' is no row of item numbers"),
        ("\ufffd\x00", "is no row of item numbers"),
    ],
)
def test_other_texts_are_refused(tmp_path, content, message):
    (tmp_path / "t.txt").write_text(content, encoding="utf-8")
    with pytest.raises(VidsimError, match=message):
        read_array(tmp_path / "t.txt", order="odd-last")


def test_any_damage_to_a_header_is_one_line(tmp_path):
    """Overwrite each byte of the header by what trips Python's parser: a bracket, a quote, a NUL."""
    from vidsim.data.judgments.matrix import read_matrix

    path = tmp_path / "t.npy"
    np.save(path, np.array([[0, 1, 2], [2, 1, 0]]))
    content = path.read_bytes()
    refused = 0
    for at in range(128):
        for byte in b"('\0":
            path.write_bytes(content[:at] + bytes([byte]) + content[at + 1 :])
            for read in (lambda: read_array(path, order="odd-last"), lambda: read_matrix(path, zero="unseen")):
                try:
                    read()
                except VidsimError as error:
                    refused += str(error).count("\n") == 0
    assert refused > 300


def test_damaged_files_are_refused(tmp_path):
    for name in ("t.npy", "t.txt"):
        path = tmp_path / name
        with pytest.raises(VidsimError, match="no file"):
            read_array(path, order="odd-last")
        path.write_bytes(b"\x93NUMPY\x01\x00\xff\xff garbage")
        with pytest.raises(VidsimError, match=r"not an array file|not text"):
            read_array(path, order="odd-last")
