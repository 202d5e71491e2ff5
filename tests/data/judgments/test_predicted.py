import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.predicted import KEY, TRIPLETS, metadata, note, read_predicted, similarity_schema
from vidsim.data.judgments.read import Reading, read
from vidsim.errors import VidsimError

PROVENANCE = {"encoder": "net", "layer": "x", "temperature": 0.2}
IDS = [f"clip {k}" for k in range(6)]
ROWS = np.array([[0, 1, 2], [4, 2, 1], [1, 0, 4], [2, 4, 0]], np.int32)


def write(path, rows=ROWS, ids=IDS, facts=PROVENANCE, groups=2):
    names = pa.array(ids, pa.string())
    columns = [pa.DictionaryArray.from_arrays(pa.array(column), names) for column in np.asarray(rows).T]
    numbers = [pa.array(np.full(len(rows), value, np.float32)) for value in (0.5, 1.0)]
    parquet.write_table(
        pa.table([*columns, *numbers], schema=TRIPLETS.with_metadata(metadata(facts))), path, row_group_size=groups
    )
    return path


def trials(judgments):
    return [tuple(judgments.ids[i] for i in row) for row in judgments.rows]


def test_labels_are_judgments_of_no_person(tmp_path):
    path = write(tmp_path / "labels.parquet")
    found = read(path).judgments
    assert trials(found) == [tuple(IDS[i] for i in row) for row in ROWS.tolist()]
    assert found.ids == tuple(IDS[i] for i in (0, 1, 2, 4))  # those that occur, in the order of the file
    assert found.predicted == PROVENANCE
    assert found.participants == ((), pytest.approx([-1] * 4))
    assert found.details["line"].to_pylist() == [1, 2, 3, 4]
    assert (found.order, found.source, found.source_rows) == ("odd-last", path.as_posix(), 4)
    assert found.notes == (note(PROVENANCE),)
    assert "net:x: no person judged" in found.notes[0]
    assert not found.catch.any()


def test_that_they_are_predicted_survives_the_store_and_every_selection(tmp_path):
    found = read_predicted(write(tmp_path / "labels.parquet"))
    again = Judgments.from_table(found.table())
    assert again.predicted == PROVENANCE
    assert again.select(np.array([True, False, True, False])).predicted == PROVENANCE
    # tables from before there were predictions
    table = found.table()
    facts = json.loads(table.schema.metadata[b"judgments"])
    del facts["predicted"]
    assert Judgments.from_table(table.replace_schema_metadata({"judgments": json.dumps(facts)})).predicted is None


def test_parts_that_other_programs_write_are_still_predictions(tmp_path):
    frame = pd.read_parquet(write(tmp_path / "labels.parquet"))
    frame = frame[frame["odd"] != "clip 2"].astype({"a": str, "b": str, "odd": str})
    frame.to_parquet(tmp_path / "part.parquet")
    with parquet.ParquetFile(tmp_path / "part.parquet") as file:
        assert KEY.encode() not in file.schema_arrow.metadata
    found = read(tmp_path / "part.parquet").judgments
    assert trials(found) == [tuple(IDS[i] for i in row) for row in ROWS[1:].tolist()]
    assert found.predicted == {"encoder": None, "layer": None}
    assert "a model that the file does not name: no person judged" in found.notes[0]


def test_row_groups_may_have_dictionaries_of_their_own(tmp_path):
    path = tmp_path / "labels.parquet"
    with parquet.ParquetWriter(path, TRIPLETS.with_metadata(metadata(PROVENANCE))) as writer:
        for order in (["x", "y", "z"], ["z", "x", "w"]):
            columns = [pa.array([name]).dictionary_encode().cast(TRIPLETS.field("a").type) for name in order]
            numbers = [pa.array([0.5], pa.float32())] * 2
            writer.write_table(pa.table([*columns, *numbers], schema=writer.schema))
    assert trials(read_predicted(path)) == [("x", "y", "z"), ("z", "x", "w")]


def test_similarities_become_an_rsm(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    values = x @ x.T
    values[0, 1] += 1e-7  # rounding of another block
    array = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=similarity_schema(5).field(1).type)
    table = pa.table([pa.array(IDS[:5]), array], schema=similarity_schema(5).with_metadata(metadata(PROVENANCE)))
    parquet.write_table(table, tmp_path / "rsm.parquet", row_group_size=2)
    rsm = read(tmp_path / "rsm.parquet").rsms[""]
    assert tuple(rsm.ids) == tuple(IDS[:5])
    np.testing.assert_allclose(rsm.similarities, values, atol=1e-6)
    assert rsm.counts is None
    parquet.write_table(table.slice(1), tmp_path / "part.parquet")
    with pytest.raises(VidsimError, match="4 rows and 20 similarities; expected a square matrix"):
        read_predicted(tmp_path / "part.parquet")


def test_other_files_are_refused_in_one_line(tmp_path):
    (tmp_path / "text.parquet").write_text("a,b,odd\n")
    whole = write(tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    write(tmp_path / "none.parquet", ROWS[:0])
    write(tmp_path / "twice.parquet", [[0, 1, 2], [3, 4, 3]])
    frame = pd.read_parquet(tmp_path / "whole.parquet").astype({"a": object})
    frame.loc[2, "a"] = None
    frame.to_parquet(tmp_path / "gap.parquet")
    table = parquet.read_table(tmp_path / "whole.parquet")
    for name, value in (("newer", '{"format": 99}'), ("damaged", "{")):
        parquet.write_table(table.replace_schema_metadata({KEY: value}), tmp_path / f"{name}.parquet")
    for name, said in {
        "missing": "no file",
        "text": "cannot be read",
        "cut": "cannot be read",
        "other": "holds no labels of `vidsim label`, whose columns are a, b, odd, probability, entropy; it has 'x'",
        "none": "holds no triplets",
        "twice": "row 2 shows 'clip 3' more than once",
        "gap": "row 3: no id in column 'a'",
        "newer": "written by a newer vidsim",
        "damaged": "the metadata of .* is damaged",
    }.items():
        with pytest.raises(VidsimError, match=said) as error:
            read_predicted(tmp_path / f"{name}.parquet")
        assert "\n" not in str(error.value)


def test_options_for_other_sources_are_refused(tmp_path):
    path = write(tmp_path / "labels.parquet")
    assert read(path, Reading(format="predicted")).judgments is not None
    with pytest.raises(VidsimError, match="read as 'predicted', which takes no --order"):
        read(path, Reading(order="odd-first"))
