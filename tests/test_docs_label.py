"""Every command and snippet of the guide to labels runs, and its tables are complete."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from fenced import blocks, commands
from pyarrow import parquet

from vidsim.data.judgments.judgments import Judgments
from vidsim.data.judgments.predicted import TRIPLETS
from vidsim.data.stimuli import Stimulus, StimulusSet
from vidsim.store import Store
from vidsim.store.table import Entry
from vidsim.triplets import Triplets

GUIDE = (Path(__file__).resolve().parents[1] / "docs" / "label.md").read_text()


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Work in a folder with judged stimuli, and an encoder that sees them as their judges do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIDSIM_ROOT", raising=False)
    rng = np.random.default_rng(0)
    ids = tuple(f"clip {k}.mp4" for k in range(70))
    points = rng.normal(size=(70, 5)).astype(np.float32)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    rows = np.array(list(combinations(range(70), 3)))  # a calibration on the validation fifth needs many
    common = np.stack([(unit[rows[:, i]] * unit[rows[:, j]]).sum(axis=1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=1)
    odd = (common / 0.2 + rng.gumbel(size=common.shape)).argmax(axis=1)
    rest = np.array([[1, 2], [0, 2], [0, 1]])[odd]
    trials = np.column_stack([np.take_along_axis(rows, rest, 1), rows[np.arange(len(rows)), odd]]).astype(np.int32)
    store = Store("indexes", create=True)
    store.judgments.put("social", Judgments.of(Triplets(ids, trials), ["p"] * len(trials)).table())
    stimuli = tuple(Stimulus(name, split="train" if k < 60 else "test") for k, name in enumerate(ids))
    store.stimuli.put("social", StimulusSet(stimuli).table())
    table = store.create("timesformer-social", {"family": "image"}, {"x": 5}, default_layer="x", versions={})
    table.write([Entry(name, "", "x") for name in ids], {"x": points})
    return tmp_path


def test_the_commands_run(vidsim, study):
    for command in commands(GUIDE):
        if command[0] == "train":  # tests/cli/test_label.py trains a student
            continue
        status, out, err = vidsim(*command)
        assert status == 0, (command, err)
        assert out.strip(), command
        assert ("no person judged" in err) == (command[:2] == ["judgments", "inspect"]), command
    ran = [command[0] for command in commands(GUIDE)]
    assert ran == ["calibrate", *["label"] * 4, "judgments", "judgments", "train"]
    for name in ("labels", "cover", "open"):
        assert parquet.read_schema(study / name / "triplets.parquet").names == TRIPLETS.names
        assert "timesformer-social" in (study / name / "README.md").read_text()
    assert (study / "similarities" / "rsm.parquet").stat().st_size > 0


def test_the_code_runs(capsys):
    (code,) = blocks(GUIDE, "python")
    scope = {}
    exec(code, scope)
    assert sum(map(len, scope["parts"])) == 1000


def test_files_and_columns_are_documented():
    rows = re.findall(r"^\| (`[^|]*) \|", GUIDE, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]*)`", row)]
    assert named == ["triplets.parquet", "provenance.json", "README.md", *TRIPLETS.names]
