import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsim.errors import VidsimError
from vidsim.retrieval.calibration import FORMAT, Calibration, advice, find, read

MADE = Calibration(
    encoder="net/a b",
    layer="blocks.4",
    temperature=0.2,
    judgments="lab",
    identity={"weights": "ff", "features": {"dims": None}},
    trials=900,
    nll=0.9,
    ece=0.01,
    created="2030-01-01T00:00:00+00:00",
    versions={"vidsim": "1"},
    split="val",
)


def test_what_was_written_is_read_and_replaced(tmp_path):
    root = str(tmp_path)
    assert read(root, MADE.encoder, MADE.layer) is None
    place = MADE.write(root)
    assert place == str(tmp_path / "calibration" / "net%2Fa%20b" / "blocks.4.json")
    assert read(root, MADE.encoder, MADE.layer) == MADE
    newer = replace(MADE, temperature=0.3)
    assert newer.write(root) == place
    assert read(root, MADE.encoder, MADE.layer) == newer
    assert [path.name for path in (tmp_path / "calibration" / "net%2Fa%20b").iterdir()] == ["blocks.4.json"]
    assert read(root, MADE.encoder, "head") is None


@pytest.mark.usefixtures("unhooked")
def test_a_root_may_be_a_path(tmp_path):
    assert MADE.write(tmp_path) == MADE.write(str(tmp_path))
    assert read(tmp_path, MADE.encoder, MADE.layer) == MADE


def test_other_embeddings_are_refused_with_what_to_do():
    MADE.check({"features": {"dims": None}, "weights": "ff"}, "indexes")
    command = "vidsim calibrate 'net/a b:blocks.4' --judgments lab --split val"
    with pytest.raises(VidsimError, match=f"made from other embeddings .*: {command}$"):
        MADE.check({"weights": "fe", "features": {"dims": None}}, "indexes")


def test_other_captions_are_the_reason_and_stand_in_the_command():
    mean, first = (
        replace(MADE, encoder="net", identity={"features": {"captions": captions}}) for captions in ("mean", "first")
    )
    command = "vidsim calibrate net:blocks.4 --judgments lab --split val"
    with pytest.raises(
        VidsimError, match=rf"from embeddings of --captions mean, not first; .*: {command} --captions first$"
    ):
        mean.check(first.identity, "indexes")
    with pytest.raises(VidsimError, match=rf"from embeddings of --captions first, not mean; .*: {command}$"):
        first.check(mean.identity, "indexes")
    first.check(first.identity, "indexes")
    newer = {**first.identity, "weights": "fe"}
    with pytest.raises(VidsimError, match=rf"from other embeddings .*: {command} --captions first$"):
        first.check(newer, "indexes")


def test_one_is_found_for_its_own_embeddings_alone(tmp_path):
    root = str(tmp_path)
    whose = (root, MADE.encoder, MADE.layer)
    assert find(*whose, MADE.identity) is None
    MADE.write(root)
    assert find(*whose, MADE.identity) == MADE
    with pytest.raises(VidsimError, match="made from other embeddings"):
        find(*whose, {"weights": "fe"})


def test_a_summary_says_what_it_was_fitted_to():
    assert MADE.summary == {
        "judgments": "lab",
        "split": "val",
        "trials": 900,
        "nll": 0.9,
        "ece": 0.01,
        "created": "2030-01-01T00:00:00+00:00",
    }


def test_the_advice_is_a_command():
    assert advice("net", "a", "indexes", "lab") == "vidsim calibrate net:a --judgments lab"
    assert advice("net", "a", "indexes", "lab", "val") == "vidsim calibrate net:a --judgments lab --split val"
    assert advice("net", "a", "my root") == "vidsim calibrate net:a --judgments NAME --root 'my root'"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-9],
        lambda _: b"\xff\xfe",
        lambda _: b"[]",
        lambda content: content.replace(b"0.2", b'"0.2"'),
        lambda content: content.replace(b"0.2", b"-0.2"),
        lambda content: content.replace(b"0.2", b"NaN"),
        lambda content: content.replace(b"trials", b"trails"),
        lambda content: content.replace(b'"val"', b"1"),
        lambda content: content.replace(b"net/a b", b"net/a c"),
    ],
)
def test_damage_is_one_line(tmp_path, damage):
    MADE.write(str(tmp_path))
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(VidsimError, match="is damaged; make it again: vidsim calibrate"):
        read(str(tmp_path), MADE.encoder, MADE.layer)


def test_a_file_that_names_no_split_is_read(tmp_path):
    file = Path(MADE.write(str(tmp_path)))
    content = json.loads(file.read_text())
    assert content.pop("split") == "val"
    file.write_text(json.dumps(content))
    assert read(str(tmp_path), MADE.encoder, MADE.layer) == replace(MADE, split=None)


def test_a_newer_format_is_told(tmp_path):
    MADE.write(str(tmp_path))
    (file,) = tmp_path.rglob("*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": FORMAT + 1}))
    with pytest.raises(VidsimError, match="upgrade vidsim"):
        read(str(tmp_path), MADE.encoder, MADE.layer)


@pytest.mark.parametrize("value", [1, np.float32(0.5), np.float64(0.25), np.int64(2)])
def test_what_numbers_are_given_is_read_back(tmp_path, unhooked, value):
    made = replace(MADE, temperature=value, nll=value, trials=np.int64(7))
    made.write(str(tmp_path))
    found = read(str(tmp_path), MADE.encoder, MADE.layer)
    assert found == made
    assert (found.temperature, found.nll, found.trials) == (float(value), float(value), 7)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -1.0}, "temperature -1: expected a number above 0"),
        ({"temperature": 0}, "temperature 0: expected a number above 0"),
        ({"temperature": float("nan")}, "temperature nan: expected a finite number"),
        ({"temperature": float("inf")}, "temperature inf: expected a finite number"),
        ({"temperature": "0.2"}, "temperature '0.2': expected a finite number"),
        ({"nll": float("nan")}, "nll nan: expected a finite number"),
        ({"ece": None}, "ece None: expected a finite number"),
        ({"trials": -1}, "trials -1: expected 0 or more"),
        ({"trials": 2.5}, "trials 2.5: expected a whole number"),
    ],
)
def test_what_could_not_be_read_back_is_refused(unhooked, wrong, message):
    with pytest.raises(VidsimError, match=message):
        replace(MADE, **wrong)


def test_numbers_of_a_file_that_are_not_finite_are_damage(tmp_path):
    MADE.write(str(tmp_path))
    (file,) = tmp_path.rglob("*.json")
    file.write_bytes(file.read_bytes().replace(b"0.9", b"NaN"))
    with pytest.raises(VidsimError, match="is damaged; make it again: vidsim calibrate"):
        read(str(tmp_path), MADE.encoder, MADE.layer)
