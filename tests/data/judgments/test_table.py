import json

import numpy as np
import pytest

from vidsim.data.judgments.table import MEADOWS, read_table
from vidsim.errors import VidsimError

from judges import write_csv

HEADER = ["participant", "session", "trial", "stim1", "stim2", "stim3", "choice", "response_time"]


def table(tmp_path, *rows, header=HEADER, **more):
    return read_table(write_csv(tmp_path / "t.csv", header, rows), **more)


def trials(judgments):
    return [tuple(judgments.ids[i] for i in row) for row in judgments.rows.tolist()]


def kinds(judgments):
    return {d.kind: (d.count, d.lines, d.kept) for d in judgments.defects}


def test_rows_become_a_b_odd_in_the_order_of_the_source(tmp_path):
    judgments = table(
        tmp_path,
        ["ann", "s1", "1", "z", "y", "x", "x", "1.5"],
        ["bob", "s1", "2", "z", "y", "x", "y", "2,5"],
        ["eve", "s1", "3", "z", "y", "x", "z", ""],
    )
    assert judgments.ids == ("x", "y", "z")
    assert trials(judgments) == [("z", "y", "x"), ("z", "x", "y"), ("y", "x", "z")]
    assert judgments.position.tolist() == [3, 2, 1]
    assert judgments.details["participant"].to_pylist() == ["ann", "bob", "eve"]
    assert judgments.details["trial"].to_pylist() == [1, 2, 3]
    assert judgments.details["response_time"].to_pylist() == [1.5, 2.5, None]
    assert judgments.details["line"].to_pylist() == [2, 3, 4]
    assert judgments.participants[0] == ("ann", "bob", "eve")
    assert judgments.participants[1].tolist() == [0, 1, 2]
    assert (judgments.source_rows, judgments.order, judgments.defects) == (3, "choice-column", ())


def test_every_kind_of_dirt_is_counted_and_nothing_else_is_lost(tmp_path):
    rows = [
        ["ann", "s", "1", "a", "b", "c", "c", "1"],
        ["ann", "s", "2", "a", "b", "c", "d", "1"],  # choice not shown
        ["ann", "s", "3", "a", "", "c", "c", "1"],  # missing
        ["ann", "s", "4", "a", "b", "c", "", "1"],  # missing choice
        ["ann", "s", "5", "a", "a", "b", "b", "1"],  # catch, passed
        ["ann", "s", "6", "a", "b", "a", "a", "1"],  # catch, failed
        ["ann", "s", "7", "b", "b", "b", "b", "1"],  # identical
        ["ann", "s", "8", "c", "a", "b", "c", "1"],  # the first again
        ["ann", "s", "x", "a", "b", "d", "d", "soon"],  # no number
        ["bob", "s", "9", "c", "a", "b", "c", "-1"],  # negative time
        ["bob", "s", "1.5", "d", "a", "b", "a", "inf"],
        ["bob", "s", "9"],
    ]
    judgments = table(tmp_path, *rows)
    assert trials(judgments) == [
        ("a", "b", "c"),
        ("a", "a", "b"),
        ("b", "a", "a"),
        ("b", "b", "b"),
        ("a", "b", "c"),
        ("a", "b", "d"),
        ("a", "b", "c"),
        ("d", "b", "a"),
    ]
    assert judgments.catch.tolist() == [False, True, True, True, False, False, False, False]
    assert judgments.catch_correct.tolist() == [False, True, False, False, False, False, False, False]
    assert judgments.details["position"].to_pylist() == [3, 3, None, None, 1, 3, 1, 2]
    assert kinds(judgments) == {
        "ragged": (1, (13,), False),
        "missing-cell": (2, (4, 5), False),
        "choice-not-shown": (1, (3,), False),
        "identical": (1, (8,), True),
        "response-time": (3, (10, 11, 12), True),
        "trial-number": (2, (10, 12), True),
        "repeated": (1, (9,), True),
    }
    lost = sum(d.count for d in judgments.defects if not d.kept)
    assert len(judgments) + lost == judgments.source_rows == 12
    assert len(judgments.triplets) == 5


def test_decimal_ids_are_mended_where_all_are_numbers(tmp_path):
    rows = [["", "", "", "6.0", "7", "10", "6", ""], ["", "", "", "6", "7.", "11", "7.0", ""]]
    judgments = table(tmp_path, *rows)
    assert judgments.ids == ("6", "7", "10", "11")
    assert kinds(judgments) == {"decimal-id": (2, (2, 3), True)}
    names = ["", "", "", "v6.0", "7.0", "x", "7.0", ""]
    assert table(tmp_path, names).ids == ("7.0", "v6.0", "x")


def test_names_stand_for_labels_and_others_are_unknown(tmp_path):
    names = {"2": "two.mp4", "10": "ten.mp4", "1": "one.mp4"}
    rows = [
        ["", "", "", "10.0", "2", "1", "1", ""],
        ["", "", "", "10", "2", "3", "2", ""],
        ["", "", "", "10", "2", "-1", "2", ""],
        ["", "", "", "10", "2", "1.5", "2", ""],
        ["", "", "", "10", "2", "1", "3", ""],
    ]
    judgments = table(tmp_path, *rows, names=names)
    assert judgments.ids == ("two.mp4", "ten.mp4", "one.mp4")
    assert trials(judgments) == [("ten.mp4", "two.mp4", "one.mp4")]
    assert kinds(judgments) == {
        "unknown-id": (3, (3, 4, 5), False),
        "choice-not-shown": (1, (6,), False),
        "decimal-id": (1, (2,), True),
    }


def test_odd_ids_are_ids(tmp_path):
    odd = ["'; DROP TABLE x; --", 'quo"te', "日本 語", "-1", "a,b", "NULL", "nan"]
    judgments = table(tmp_path, *[["p", "", "", *odd[i : i + 3], odd[i], ""] for i in range(5)])
    assert set(judgments.ids) == set(odd)
    assert judgments.defects == ()
    assert len(judgments) == 5


def test_participants_unknown_are_none(tmp_path):
    judgments = table(tmp_path, ["", "", "", "a", "b", "c", "c", ""], ["z", "", "", "a", "b", "c", "c", ""])
    assert judgments.participants[0] == ("z",)
    assert judgments.participants[1].tolist() == [-1, 0]


def test_three_named_columns_and_places(tmp_path):
    judgments = table(tmp_path, ["x", "y", "z"], header=["a", "b", "odd"])
    assert (trials(judgments), judgments.order) == ([("x", "y", "z")], "odd-last")
    assert judgments.details["position"].to_pylist() == [None]
    header = ["stim1", "stim2", "stim3", "choice_position"]
    judgments = table(tmp_path, ["x", "y", "z", "2"], ["x", "y", "z", "1.0"], ["x", "y", "z", "4"], header=header)
    assert trials(judgments) == [("x", "z", "y"), ("y", "z", "x")]
    assert kinds(judgments) == {"choice-not-shown": (1, (4,), False)}


def test_columns_may_have_names_of_their_own(tmp_path):
    header = ["left", "middle", "right", "odd one", "who"]
    named = {"stim1": "left", "stim2": "middle", "stim3": "right", "choice": "odd one", "participant": "who"}
    judgments = table(tmp_path, ["x", "y", "z", "x", "ann"], header=header, columns=named)
    assert (trials(judgments), judgments.participants[0]) == ([("y", "z", "x")], ("ann",))


def test_capitals_do_not_matter_in_column_names(tmp_path):
    assert trials(table(tmp_path, ["x", "y", "z", "y"], header=["Stim1", "STIM2", "stim3", "Choice"])) == [
        ("x", "z", "y")
    ]


def test_places_in_a_column_of_ids_are_pointed_at(tmp_path):
    with pytest.raises(VidsimError, match=r"no usable trial.*--columns choice_position=NAME"):
        table(tmp_path, ["x", "y", "z", "2"], header=["stim1", "stim2", "stim3", "choice"])


def test_the_odd_one_among_three_must_be_said(tmp_path):
    header = ["stim1", "stim2", "stim3"]
    with pytest.raises(VidsimError, match="no column says which stimulus was chosen"):
        table(tmp_path, ["x", "y", "z"], header=header)
    with pytest.raises(VidsimError, match="no column says which stimulus was chosen"):
        table(tmp_path, ["x", "y", "z"], header=header, order="choice-column")
    assert trials(table(tmp_path, ["x", "y", "z"], header=header, order="odd-last")) == [("x", "y", "z")]
    assert trials(table(tmp_path, ["x", "y", "z"], header=header, order="odd-first")) == [("y", "z", "x")]
    with pytest.raises(VidsimError, match=r"csv' is a table; --order comparisons is for arrays"):
        table(tmp_path, ["x", "y", "z"], header=header, order="comparisons")


@pytest.mark.parametrize(
    ("header", "row", "more", "message"),
    [
        (["s1", "s2", "s3", "choice"], "xyzx", {}, "no column 'stim1'.*the columns are 's1', 's2'"),
        (["stim1", "stim_2", "stim3", "choice"], "xyzx", {}, "no column 'stim2'.*--columns stim2=stim_2 if that is it"),
        (["stim1", "stim2", "stim3", "choice", "a", "b", "odd"], "xyzxxyz", {}, "in two ways"),
        (["stim1", "stim2", "stim3", "choice", "choice_position"], "xyzx1", {}, "in two ways"),
        (["a", "b", "odd"], "xyz", {"order": "odd-first"}, "so --order odd-first cannot be"),
        (["a", "b", "odd"], "xyz", {"columns": {"odd": "od"}}, "no column 'od' for 'odd'"),
        (["a", "b", "odd"], ["x", "y", ""], {}, "has no usable trial: 1 rows: a stimulus or the choice is missing"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, header, row, more, message):
    with pytest.raises(VidsimError, match=message) as caught:
        table(tmp_path, list(row), header=header, **more)
    assert "t.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_a_unit_without_response_times_is_refused(tmp_path, unit):
    for header in (["a", "b", "odd"], list(MEADOWS)):
        with pytest.raises(VidsimError) as told:
            table(tmp_path, ["x"] * len(header), header=header, unit=unit)
        assert str(told.value) == (
            f"{str(tmp_path / 't.csv')!r} has no column of response times, so --rt-unit {unit} has no effect; leave it "
            "out, or name the column with --columns response_time=NAME"
        )


def test_milliseconds_become_seconds(tmp_path):
    rows = [["", "", "", "a", "b", "c", "c", text] for text in ("1500", "2500,5", "soon", "")]
    judgments = table(tmp_path, *rows, unit="ms")
    assert judgments.details["response_time"].to_pylist() == [1.5, pytest.approx(2.5005), None, None]
    assert kinds(judgments) == {"response-time": (1, (4,), True)}


def test_meadows_annotations(tmp_path):
    header = [
        "task",
        "participation",
        *(f"stim{i}_{w}" for w in ("id", "name") for i in (1, 2, 3)),
        "start",
        "resp",
        "label",
    ]
    moments = "2020-09-14T18:18:43.196Z", "2020-09-14T18:18:45.696Z"
    rows = [
        ["trip1", "able-fly", "6f", "e4", "3c", "rain", "fire", "beach", *moments, "fire"],
        ["trip1", "able-fly", "6f", "e4", "3c", "rain", "fire", "beach", *moments, "3c"],
        ["trip1", "able-fly", "6f", "e4", "3c", "rain", "fire", "beach", "", moments[1], "sea"],
        ["lbl1", "able-fly", "6f", "", "", "rain", "", "", *moments, "wet"],
    ]
    judgments = table(tmp_path, *rows, header=header)
    assert trials(judgments) == [("rain", "beach", "fire"), ("rain", "fire", "beach")]
    assert judgments.details["response_time"].to_pylist() == [2.5, 2.5]
    assert judgments.details["participant"].to_pylist() == ["able-fly"] * 2
    assert judgments.details["session"].to_pylist() == ["trip1"] * 2
    assert kinds(judgments) == {"choice-not-shown": (1, (4,), False), "repeated": (1, (3,), True)}
    assert judgments.notes == ("1 rows annotate fewer than three stimuli and belong to other tasks",)


def test_judgments_come_back_from_their_table(tmp_path):
    from vidsim.data.judgments.judgments import Exclusion, Judgments

    judgments = table(tmp_path, ["p", "s", "1", "a", "b", "c", "c", "1"], ["", "", "", "c", "c", "a", "x", ""])
    judgments = judgments.select(np.array([True]), Exclusion("rule", [0.3, None], 0, ("z",)))
    again = Judgments.from_table(judgments.table())
    assert again.ids == judgments.ids
    np.testing.assert_array_equal(again.rows, judgments.rows)
    assert again.details.equals(judgments.details)
    for name in ("source_rows", "source", "order", "defects", "exclusions", "notes"):
        assert getattr(again, name) == getattr(judgments, name)
    facts = json.loads(judgments.table().schema.metadata[b"judgments"])
    newer = judgments.table().replace_schema_metadata({"judgments": json.dumps({**facts, "format": 99})})
    with pytest.raises(VidsimError, match="newer vidsim"):
        Judgments.from_table(newer)
    with pytest.raises(VidsimError, match="does not hold judgments"):
        Judgments.from_table(judgments.table().replace_schema_metadata(None))
